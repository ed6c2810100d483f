"""The fact `calibration` of a bundle, measured on patients that never trained, and what it is worth on others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from model import Bundle
from model.calibration import FEW, Distance, encoded, patients_needed, read_calibration
from model.personal.pfm import UNKNOWN
from training.archive import Case
from training.calibrate.distance import MARGIN, fit_distance, threshold_of
from training.calibrate.intervals import coverage, empirical, guaranteed
from training.calibrate.left_out import LeftOut, in_words, left_out
from training.calibrate.measure import Ratios, decoded, measure
from training.errors import TrainingError

Floats = npt.NDArray[np.float64]
Key = tuple[str, tuple[str, ...], str]  # target, sources, site
Progress = Callable[[str, float], None]

#: Share of brain voxels that may lie outside an interval, and chance that a guarantee is broken.
ALPHA, DELTA = 0.1, 0.1
#: Slices of a case that are measured, and that a distance is fitted on.
SLICES, SLICES_LEARNED = 8, 4
#: Patients that a limit (of the distance, of the expected error) needs: fewer do not say what is too much.
LEAST_PATIENTS = 5
#: Cases that a distance is fitted on at most; more of them change it little.
LEARNED = 80


@dataclass(frozen=True, kw_only=True)
class Covered:
    """Share of voxels inside the interval, mean over patients, unscaled and scaled; lesions apart, None without any."""

    target: str
    sources: tuple[str, ...]
    patients: int
    factor: float
    calibrated: bool
    unscaled: float
    scaled: float
    lesion: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain values, rounded."""
        return {
            "target": self.target, "sources": list(self.sources), "patients": self.patients,
            "factor": round(self.factor, 4), "calibrated": self.calibrated, "unscaled": round(self.unscaled, 4),
            "scaled": round(self.scaled, 4), "lesion": None if self.lesion is None else round(self.lesion, 4),
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """What a calibration found.

    Attributes:
        fact: for the bundle's manifest. covered: on patients that took no part in it, empty where there are none.
        left_out: each patient that the fact was made of, by the factors of the others.
        words: what a person should know of it. rows: the measurements that the fact was made of.
    """

    fact: dict[str, Any]
    covered: tuple[Covered, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    words: tuple[str, ...] = field(default_factory=tuple)
    rows: tuple[Ratios, ...] = ()

    def mean_coverage(self, scaled: bool = True) -> float | None:
        """Mean over the rows of `covered`."""
        values = [one.scaled if scaled else one.unscaled for one in self.covered]
        return float(np.mean(values)) if values else None

    def to_json(self) -> dict[str, Any]:
        """Plain values; the fact without its matrices."""
        fact = dict(self.fact)
        if fact["distance"] is not None:
            fact["distance"] = {k: v for k, v in fact["distance"].items() if k not in ("means", "whitening")}
        return {
            "calibration": fact, "covered": [one.to_json() for one in self.covered],
            "left_out": [one.to_json() for one in self.left_out], "mean_coverage": self.mean_coverage(),
            "words": list(self.words),
        }  # fmt: skip


def source_sets(case: Case, known: Sequence[str]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Every set of sources of a case with what else it shows as targets."""
    have = [c for c in known if c in case.contrasts]
    return [
        (sources, tuple(c for c in have if c not in sources))
        for count in range(1, len(have))
        for sources in combinations(have, count)
    ]


def calibrate(
    bundle: Bundle,
    *,
    learned: Sequence[Case],
    calibration: Sequence[Case],
    checked: Sequence[Case] = (),
    exchangeable: bool = True,
    alpha: float = ALPHA,
    delta: float = DELTA,
    slices: int = SLICES,
    progress: Progress = lambda stage, share: None,
) -> Calibrated:
    """Measure the fact.

    Args:
        learned: cases that the network was trained on: the distance is fitted on them.
        calibration: cases of other patients: the factors and limits come from them.
        checked: cases of still other patients: whether the factors hold is measured on them.
        exchangeable: False where the patients of `calibration` took part in a choice (of a model, of a step): then
            nothing is guaranteed, however many they are.
        slices: of each case, evenly spread.

    Raises:
        TrainingError: no case of `calibration` shows two contrasts that the network knows.
    """
    rows = measured(bundle, calibration, slices, progress, "calibration")
    if not rows:
        raise TrainingError(
            code="no_calibration",
            subject=f"{len(calibration)} calibration cases",
            reason="none of them shows two contrasts that the network knows",
            cure="Prepare studies of more patients: those of the split `calibration` are the ones that count",
        )
    fact: dict[str, Any] = {
        "alpha": alpha,
        "delta": delta,
        "entries": entries_of(rows, alpha, delta, exchangeable),
        "distance": _distance(bundle, learned, [*calibration, *checked], progress),
        "quality": _floors(rows),
    }
    unseen = [row for row in measured(bundle, checked, slices, progress, "check") if row.site == UNKNOWN]
    of_unknown = [row for row in rows if row.site == UNKNOWN]
    each = left_out(fact, of_unknown, lambda others: entries_of(others, alpha, delta, exchangeable))
    words = _words(fact, exchangeable)
    return Calibrated(
        fact=fact,
        covered=covered_by(fact, unseen),
        left_out=each,
        words=(*words, in_words(each)) if each else words,
        rows=tuple(rows),
    )


def measured(
    bundle: Bundle, cases: Sequence[Case], slices: int, progress: Progress, stage: str
) -> list[Ratios]:
    """Every set of sources of every case, as of the unknown site and as of its own where the bundle knows it."""
    rows: list[Ratios] = []
    for number, case in enumerate(cases):
        progress(stage, number / len(cases))
        for sources, targets in source_sets(case, bundle.contrasts):
            for site in _told(bundle, case):
                rows.extend(measure(bundle, case, sources, targets, most=slices, site=site))
    progress(stage, 1.0)
    return rows


def _told(bundle: Bundle, case: Case) -> tuple[str, ...]:
    """What the network may be told of a case's site."""
    return (UNKNOWN,) if not bundle.sites.get(case.site, 0) else (UNKNOWN, case.site)


def _by_patient(rows: Sequence[Ratios]) -> list[Floats]:
    """All voxels of each patient, over cases and sets of sources."""
    whose: dict[str, list[Floats]] = defaultdict(list)
    for row in rows:
        whose[row.patient].append(row.ratios)
    return [np.concatenate(parts) for parts in whose.values()]


def entries_of(
    rows: Sequence[Ratios], alpha: float, delta: float, exchangeable: bool
) -> list[dict[str, Any]]:
    """One entry per (target, sources, site), and one per (target, any sources, site)."""
    groups: dict[Key, list[Ratios]] = defaultdict(list)
    for row in rows:
        groups[row.target, row.sources, row.site].append(row)
        groups[row.target, (), row.site].append(row)
    out = []
    for (target, sources, site), members in sorted(groups.items()):
        patients = _by_patient(members)
        sure = guaranteed(patients, alpha, delta) if exchangeable else None
        likely = empirical(patients, alpha)
        out.append(
            {
                "target": target,
                "sources": list(sources),
                "site": site,
                "patients": len(patients),
                "factor": None if sure is None else round(sure, 4),
                "empirical": None if likely is None else round(likely, 4),
            }
        )
    return out


def _floors(rows: Sequence[Ratios]) -> dict[str, Any]:
    """Target -> the expected error above which it abstains: a margin above the worst of LEAST_PATIENTS or more."""
    out = {}
    for target in sorted({row.target for row in rows}):
        worst: dict[str, float] = {}
        for row in rows:
            if row.target == target:
                worst[row.patient] = max(worst.get(row.patient, 0.0), row.expected)
        if len(worst) < LEAST_PATIENTS:
            continue
        out[target] = {"worst": round(MARGIN * max(worst.values()), 4), "patients": len(worst)}
    return out


def _distance(
    bundle: Bundle, learned: Sequence[Case], others: Sequence[Case], progress: Progress
) -> dict[str, Any] | None:
    """Fitted on cases that were trained on, its limit from patients that were not; None where either is too few."""
    if len({case.patient_key for case in others}) < LEAST_PATIENTS:
        return None
    every = max(1, -(-len(learned) // LEARNED))
    seen: dict[str, list[Floats]] = defaultdict(list)
    for number, case in enumerate(learned[::every]):
        progress("distance", number / len(learned[::every]))
        for contrast, features in _features(bundle, case):
            seen[contrast].append(features)
    fitted = fit_distance(seen)
    if fitted is None:
        return None
    largest: dict[str, float] = {}
    for case in others:
        for contrast, features in _features(bundle, case):
            value = fitted(contrast, features)
            if value is not None:
                largest[case.patient_key] = max(largest.get(case.patient_key, 0.0), value)
    progress("distance", 1.0)
    return None if not largest else distance_fact(fitted, largest)


def distance_fact(fitted: Distance, largest: dict[str, float]) -> dict[str, Any]:
    """The form of a distance in a manifest; `largest` is patient -> distance of its strangest source."""
    return {
        "means": {name: encoded(mean) for name, mean in fitted.means.items()},
        "whitening": encoded(fitted.whitening),
        "threshold": round(threshold_of(largest), 4),
        "largest": round(max(largest.values()), 4),
        "patients": len(largest),
    }


def _features(bundle: Bundle, case: Case) -> Iterator[tuple[str, Floats]]:
    """Pooled features of each contrast of a case, alone, as of every site that the network may be told."""
    for contrast in (c for c in bundle.contrasts if c in case.contrasts):
        other = next(c for c in bundle.contrasts if c != contrast)
        for site in _told(bundle, case):
            run, _ = decoded(
                bundle, case, (contrast,), (other,), most=SLICES_LEARNED, site=bundle.sites[site]
            )
            yield contrast, run.features[0]


def covered_by(fact: dict[str, Any], rows: Sequence[Ratios]) -> tuple[Covered, ...]:
    """Coverage of the intervals of a fact on measurements of patients that it was not made of."""
    known = read_calibration(fact)
    assert known is not None  # the fact was made here
    groups: dict[tuple[str, tuple[str, ...]], list[Ratios]] = defaultdict(list)
    for row in rows:
        groups[row.target, row.sources].append(row)
    out = []
    for (target, sources), members in sorted(groups.items()):
        patients = _by_patient(members)
        interval = known.interval(target, sources)
        lesions = [row.lesion for row in members if row.lesion.size]
        out.append(
            Covered(
                target=target,
                sources=sources,
                patients=len(patients),
                factor=interval.factor,
                calibrated=interval.calibrated,
                unscaled=coverage(patients, 1.0),
                scaled=coverage(patients, interval.factor),
                lesion=coverage(lesions, interval.factor) if lesions else None,
            )
        )
    return tuple(out)


def _words(fact: dict[str, Any], exchangeable: bool) -> tuple[str, ...]:
    entries = [one for one in fact["entries"] if one["sources"]]
    sure = sum(one["factor"] is not None for one in entries)
    most, need = max(one["patients"] for one in entries), patients_needed(fact["alpha"], fact["delta"])
    words = [f"Calibrated: {sure} of {len(entries)} combinations of target, sources and site."]
    if not exchangeable:
        words.append(
            "Nothing is guaranteed: the patients took part in choosing the model; factors are empirical only."
        )
    elif sure < len(entries):
        words.append(
            f"The others are uncalibrated: a guarantee needs {need} patients, at most {most} were at hand;"
            f" their factors are what these patients showed, without a guarantee; fewer than {FEW} widen an interval"
            " and never narrow it."
        )
    if fact["distance"] is None:
        words.append(
            "No distance to the training images was fitted: too few cases of any contrast, or fewer than"
            f" {LEAST_PATIENTS} patients that never trained."
        )
    return tuple(words)

"""Every method on every case in every pattern, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from training.archive import Case
from training.errors import TrainingError
from training.evaluate.figures import figures
from training.evaluate.patterns import Pattern, pattern_of
from training.evaluate.statistics import Comparison, Estimate, by_patient, estimate, holm, wilcoxon_p
from training.peers import Method, brain_slices

#: The reading that a row is ranked and compared by.
READINGS = ("raw", "fit")
#: Slices that an evaluation of a case keeps at least, whatever the stride.
LEAST_SLICES = 6


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method, one case, one set of sources, one target.

    `figures` are those of `training.evaluate.figures`; seed is None for methods without chance.
    """

    method: str
    seed: int | None
    case: str
    patient: str
    site: str
    sources: tuple[str, ...]
    target: str
    slices: int
    figures: Mapping[str, Mapping[str, float | None] | None]

    @property
    def key(self) -> tuple[str, tuple[str, ...], str]:
        """What two methods must share to be compared."""
        return self.case, self.sources, self.target

    def figure(self, reading: str, name: str = "psnr") -> float | None:
        """One figure; None where it could not be taken."""
        part = self.figures[reading]
        return None if part is None else part[name]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "method": self.method, "seed": self.seed, "case": self.case, "patient": self.patient, "site": self.site,
            "sources": list(self.sources), "target": self.target, "slices": self.slices, **self.figures,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One slice of a row: what went in, what came out, what was true; (H, W) in 0..1."""

    row: Row
    z: int
    sources: dict[str, npt.NDArray[np.float32]]
    synthetic: npt.NDArray[np.float32]
    truth: npt.NDArray[np.float32]
    brain: npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The rows of all methods; the first method is the one that the report is about.

    Attributes:
        methods: names in order. rows: all of them. pictures: the worst rows of the first method, the worst first.
        not_checked: sentences on what these figures do not cover.
        facts: versions, hashes, seeds, budgets: whatever a reader needs to repeat it.
    """

    methods: tuple[str, ...]
    rows: tuple[Row, ...]
    pictures: tuple[Picture, ...] = ()
    not_checked: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def patients(self) -> int:
        """How many patients were evaluated."""
        return len({row.patient for row in self.rows})

    def of(self, method: str, target: str | None = None, sources: tuple[str, ...] | None = None) -> list[Row]:
        """The rows of a method, for one target or one set of sources where named."""
        return [
            row
            for row in self.rows
            if row.method == method
            and (target is None or row.target == target)
            and (sources is None or row.sources == sources)
        ]

    def shared(self, method: str) -> list[Row]:
        """The rows of a method that every method could make, so that their means compare; all where there is none."""
        keys = [made for one in self.methods if (made := {row.key for row in self.of(one)})]
        common = set.intersection(*keys) if keys else set()
        own = self.of(method)
        return [row for row in own if row.key in common] or own

    def estimate(self, rows: Sequence[Row], reading: str = "raw", name: str = "psnr") -> Estimate | None:
        """Mean of a figure over patients; None where no row has it."""
        found = [(row.patient, value) for row in rows if (value := row.figure(reading, name)) is not None]
        found = [(patient, value) for patient, value in found if np.isfinite(value)]
        return estimate(by_patient(found)) if found else None

    @property
    def targets(self) -> tuple[str, ...]:
        """Targets in the order in which they came up."""
        return tuple(dict.fromkeys(row.target for row in self.rows))

    def worst(self, method: str, count: int = 10) -> list[Row]:
        """The rows of a method with the lowest PSNR as it comes, the worst first."""
        return sorted(self.of(method), key=lambda row: row.figure("raw") or 0.0)[:count]

    def comparisons(self) -> list[Comparison]:
        """The first method against every other, over all rows and per target, in both readings; Holm over all."""
        ours, *others = self.methods
        found = [
            one
            for theirs in others
            for reading in READINGS
            for target in (None, *self.targets)
            if (one := self._compare(ours, theirs, target, reading)) is not None
        ]
        corrected = holm([one.p for one in found])
        return [replace(one, p_holm=p) for one, p in zip(found, corrected, strict=True)]

    def _compare(self, ours: str, theirs: str, target: str | None, reading: str) -> Comparison | None:
        mine, other = (_over_seeds(self.of(m, target), reading) for m in (ours, theirs))
        shared = [key for key in mine if key in other]
        if not shared:
            return None
        patient = {row.key: row.patient for row in self.of(ours, target)}
        apart = [(patient[key], mine[key] - other[key]) for key in shared]
        patients = by_patient(apart)
        return Comparison(
            ours=ours,
            theirs=theirs,
            scope=target or "all",
            reading=reading,
            difference=estimate(patients),
            p=wilcoxon_p(list(patients.values())),
            p_holm=None,
            won=sum(d > 0 for _, d in apart),
            rows=len(apart),
        )

    def to_json(self) -> dict[str, Any]:
        """Everything but the pictures: per target and source set, comparisons, rows."""
        sets = list(dict.fromkeys((row.sources, row.target) for row in self.rows))
        summary = [
            {"method": method, **self._summary(self.shared(method)), "seeds": self.seeds(method)}
            for method in self.methods
        ]
        per_set = [
            {"sources": list(sources), "target": target, "method": method, **self._summary(rows)}
            for sources, target in sets
            for method in self.methods
            if (rows := self.of(method, target, sources))
        ]
        per_target = [
            {"target": target, "method": method, **self._summary(rows)}
            for target in self.targets
            for method in self.methods
            if (rows := self.of(method, target))
        ]
        return {
            "methods": list(self.methods),
            "patients": self.patients,
            "summary": summary,
            "per_target": per_target,
            "per_source_set": per_set,
            "comparisons": [one.to_json() for one in self.comparisons()],
            "worst": [row.to_json() for row in self.worst(self.methods[0])],
            "not_checked": list(self.not_checked),
            "facts": dict(self.facts),
            "rows": [row.to_json() for row in self.rows],
        }

    def _summary(self, rows: Sequence[Row]) -> dict[str, Any]:
        wanted = [(reading, name) for reading in READINGS for name in ("psnr", "ssim", "mae", "hfen", "nmi")]
        wanted += [("raw", "z_ratio"), ("legacy", "psnr"), ("legacy", "ssim")]
        wanted += [
            (part, name) for part in ("lesion", "rest") for name in ("psnr", "psnr_fit", "mae", "bias")
        ]
        out: dict[str, Any] = {"n": len(rows)}
        for reading, name in wanted:
            value = self.estimate(rows, reading, name)
            out.setdefault(reading, {})[name] = None if value is None else value.to_json()
        return out

    def seeds(self, method: str) -> dict[str, float]:
        """Mean PSNR of each seed over the shared rows: how far chance alone carries."""
        seeds = sorted({row.seed for row in self.of(method) if row.seed is not None})
        return {
            str(seed): float(
                np.mean([row.figure("raw") or 0.0 for row in self.shared(method) if row.seed == seed])
            )
            for seed in seeds
        }


def _over_seeds(rows: Sequence[Row], reading: str) -> dict[tuple[str, tuple[str, ...], str], float]:
    """PSNR of each row, averaged over the seeds of its method."""
    found: dict[tuple[str, tuple[str, ...], str], list[float]] = {}
    for row in rows:
        if (value := row.figure(reading)) is not None:
            found.setdefault(row.key, []).append(value)
    return {key: float(np.mean(values)) for key, values in found.items()}


def stride(case: Case, every: int) -> int:
    """`every`, but so that no fewer than LEAST_SLICES are left of a case that has them."""
    return max(1, min(every, len(brain_slices(case)) // LEAST_SLICES))


def evaluate(
    methods: Sequence[Method],
    cases: Sequence[Case],
    patterns: Sequence[Pattern],
    *,
    every: int = 1,
    report: Callable[[str], None] = lambda line: None,
    progress: Callable[[int, int], None] = lambda done, of: None,
    pictures: int = 6,
    facts: Mapping[str, Any] | None = None,
    not_checked: Sequence[str] = (),
) -> Evaluation:
    """Every method on every case in every pattern that the case can answer.

    Args:
        methods: the first is the one that the others are compared with; methods of one name are its seeds.
        every: take every n-th slice, but never fewer than LEAST_SLICES of a case.
        report: a line per method and case. progress: calls done, of how many.
        pictures: how many of the first method's worst rows are kept as pictures.

    Raises:
        TrainingError: nothing_to_evaluate: no method, or no case has the sources and a target of any pattern.
    """
    rows: list[Row] = []
    kept: list[Picture] = []
    jobs = [
        (method, case, asked)
        for method in methods
        for case in cases
        for pattern in patterns
        if (asked := pattern_of(case, pattern, getattr(method, "contrasts", None))) is not None
    ]
    if not jobs:
        raise TrainingError(
            code="nothing_to_evaluate",
            subject=f"{len(cases)} cases, {len(patterns)} patterns",
            reason="no case holds the sources and a target of any pattern",
            cure="Evaluate on cases with at least two contrasts that the model knows.",
        )
    for done, (method, case, (sources, targets)) in enumerate(jobs):
        images, z = method.predict(case, sources, targets, stride(case, every))
        for j, target in enumerate(targets):
            row, picture = _measure(method, case, sources, target, images[:, j], z)
            rows.append(row)
            if method.name == methods[0].name:
                kept = sorted([*kept, picture], key=lambda one: one.row.figure("raw") or 0.0)[:pictures]
        progress(done + 1, len(jobs))
        if done + 1 == len(jobs) or jobs[done + 1][:2] != (method, case):
            own = [r.figure("raw") or 0.0 for r in rows if r.method == method.name and r.case == case.name]
            report(f"{method.name} on {case.name}: {np.mean(own):.2f} dB over {len(own)} rows")
    return Evaluation(
        methods=tuple(dict.fromkeys(method.name for method in methods)),
        rows=tuple(rows),
        pictures=tuple(kept),
        not_checked=(*not_checked, *_not_shared(rows), *_not_checked(rows, every)),
        facts={"every": every, **(facts or {})},
    )


def _measure(
    method: Method,
    case: Case,
    sources: tuple[str, ...],
    target: str,
    image: npt.NDArray[np.float32],
    z: npt.NDArray[np.intp],
) -> tuple[Row, Picture]:
    whole = case.contrasts[target].astype(np.float32)
    # A prepared contrast is in this unit already; ADC, which keeps its own, is not.
    whole = whole / max(float(np.percentile(whole[case.brain], 99.5)), 1e-6)
    truth, brain = whole[z], case.brain[z]
    row = Row(
        method=method.name,
        seed=getattr(method, "seed", None),
        case=case.name,
        patient=case.patient_key,
        site=case.site,
        sources=sources,
        target=target,
        slices=len(z),
        figures=figures(image, truth, brain, case.lesion[z], z),
    )
    error = np.abs(np.clip(image, 0, 1) - np.clip(truth, 0, 1)) * brain
    area = brain.sum(axis=(1, 2))
    # The worst slice among those that hold much brain: a rim slice with ten voxels shows nothing.
    solid = np.flatnonzero(area >= 0.3 * area.max())
    at = int(solid[np.argmax(error.sum(axis=(1, 2))[solid] / area[solid])])
    picture = Picture(
        row=row,
        z=int(z[at]),
        sources={c: np.clip(case.contrasts[c][z[at]].astype(np.float32), 0, 1) for c in sources},
        synthetic=np.clip(image[at], 0, 1).astype(np.float32),
        truth=np.clip(truth[at], 0, 1).astype(np.float32),
        brain=brain[at],
    )
    return row, picture


def _not_shared(rows: Sequence[Row]) -> list[str]:
    """What the mean over all rows leaves out, because some method cannot make it."""
    keys: dict[str, set[object]] = {}
    for row in rows:
        keys.setdefault(row.method, set()).add(row.key)
    most = set.union(*keys.values())
    less = sorted(method for method, own in keys.items() if own < most)
    if not less:
        return []
    common = len(set.intersection(*keys.values()))
    return [
        f"{', '.join(less)} cannot make every row: the means over all methods are of the {common} rows of {len(most)} "
        "that each of them made."
    ]


def _not_checked(rows: Sequence[Row], every: int) -> list[str]:
    out = [
        "No radiologist has looked at these images; no figure here measures diagnostic value.",
        "How often the truth lies in the stated interval is measured by `medk2n train calibrate`, not here.",
    ]
    if every > 1:
        out.append(
            f"Only every {every}th slice was computed (of thin volumes fewer were left out, at least {LEAST_SLICES} "
            "are always taken); flicker between slices (z_ratio) can then not be measured."
        )
    if not any(row.figures["lesion"] for row in rows):
        out.append("No case has a lesion mask, so nothing is said of lesions.")
    patients = len({row.patient for row in rows})
    if patients < 6:
        out.append(
            f"{patients} patient{'s' if patients != 1 else ''}: below six no difference can be significant at 0.05 "
            "(Wilcoxon), and bootstrap intervals of so few are too narrow."
        )
    return out

"""The verdict on one target: stored values, interval, figures, and the reasons to make it or to abstain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from model.bundle import Bundle
from model.calibration import Interval
from model.contrasts import FIXED_SCALE
from model.imaging.image import FloatArray
from model.imaging.normalise import PERCENTILE
from model.slices import Decoded

#: Contrasts that differ by enhancement alone: where nothing enhances, one looks like the other.
KIN = {"T1": ("T1", "T1C"), "T1C": ("T1", "T1C")}
#: Probability of its own contrast (with its kin) below which a target is a stranger.
IDENTITY_FLOOR = 0.2


@dataclass(frozen=True, kw_only=True)
class TargetResult:
    """One synthetic contrast on the reference's grid.

    Attributes:
        array: (S, R, C) uint16 stored values.
        scale: stored value that the model holds to be the target's 99.5th percentile inside the brain.
        uncertainty: (S, R, C) float32, half-width of the 90 % interval, in stored values.
        calibrated: that interval keeps what it promises, measured on `calibration_patients`; where it is not
            calibrated, the patients (0 = none) that its factor was read off without a guarantee.
        quality: expected_mae and expected_dissimilarity (1-SSIM) inside the brain, in units of `scale`; brain_ml;
            identity, where the bundle has a judge: probability that the image is its own contrast;
            distance, where the bundle knows it: of the strangest source to what the network learned from, 1 = usual.
        contributions: source -> share of the fused representation inside the brain, sums to 1; key included.
        accepted: source -> whether w_global passed its threshold (the key always).
        window: (center, width) in stored values.
        change: source -> (S, R, C) float32, what the image would lose without it, in stored values; empty unless asked.
    """

    contrast: str
    array: npt.NDArray[np.uint16]
    scale: float
    uncertainty: FloatArray
    quality: dict[str, float]
    contributions: dict[str, float]
    accepted: dict[str, bool]
    abstained: bool
    reasons: tuple[str, ...]
    window: tuple[float, float]
    change: dict[str, FloatArray] = field(default_factory=dict)
    calibrated: bool = False
    calibration_patients: int = 0


@dataclass(frozen=True, kw_only=True)
class Strangeness:
    """How far the sources lie from what the network learned from: per source, and the strangest against the limit."""

    distances: Mapping[str, float]
    unknown: tuple[str, ...]
    threshold: float
    patients: int

    @property
    def worst(self) -> float | None:
        """The largest distance; None where no source was fitted."""
        return max(self.distances.values(), default=None)

    def sentences(self) -> tuple[str, ...]:
        """Why a target of these sources is abstained from; empty where nothing speaks against them."""
        return tuple(
            f"Abstained: {name} does not look like the images that the model learned from"
            f" (distance {value:.2f}, the limit from {self.patients} patients is {self.threshold:.2f})."
            for name, value in self.distances.items()
            if value > self.threshold
        )


def strangeness(bundle: Bundle, sources: tuple[str, ...], run: Decoded) -> Strangeness | None:
    """The distance of every source; None where the bundle knows no distance."""
    measure = None if bundle.calibration is None else bundle.calibration.distance
    if measure is None:
        return None
    found = {name: measure(name, run.features[k]) for k, name in enumerate(sources)}
    return Strangeness(
        distances={name: value for name, value in found.items() if value is not None},
        unknown=tuple(name for name, value in found.items() if value is None),
        threshold=measure.threshold,
        patients=measure.patients,
    )


def interval_of(bundle: Bundle, target: str, sources: tuple[str, ...], site: str) -> Interval:
    """The interval's factor: of the fact `calibration`, else `interval_factor`, else 1 and uncalibrated."""
    factor = bundle.interval_factor
    if bundle.calibration is not None:
        found = bundle.calibration.interval(target, sources, site)
        if found.patients or factor is None:
            return found
    if factor is None:
        return Interval(
            factor=1.0, calibrated=False, patients=0, words="The uncertainty interval is uncalibrated."
        )
    return Interval(factor=factor, calibrated=True, patients=0, words="")


def _identity(target: str, looks: Mapping[str, float] | None) -> tuple[float | None, str | None]:
    """The identity score of the target, and the sentence of an abstention where it is not its own."""
    if looks is None or target not in looks:
        return None, None
    score = sum(looks[c] for c in KIN.get(target, (target,)) if c in looks)
    if score >= IDENTITY_FLOOR:
        return score, None
    other = max(looks, key=lambda c: looks[c])
    return (
        score,
        f"Abstained: the image looks like {other} ({looks[other]:.2f}), not like {target} ({score:.2f}).",
    )


def finish(
    bundle: Bundle,
    target: str,
    j: int,
    run: Decoded,
    back: Callable[[FloatArray], FloatArray],
    brain: npt.NDArray[np.bool_],
    head: npt.NDArray[np.bool_],
    key: str,
    used: tuple[str, ...],
    dropped: Mapping[str, str],
    brain_ml: float,
    looks: Mapping[str, float] | None,
    site: str,
    strange: Strangeness | None,
) -> TargetResult:
    """Stored values on the reference's grid, with the sentences a reader needs."""
    unit = FIXED_SCALE.get(target, bundle.stored_scale)
    normalised = np.clip(run.image[:, j], 0, 4) * head
    stored = np.clip(np.rint(back(normalised) * unit), 0, 65535).astype(np.uint16)
    interval = interval_of(bundle, target, used, site)
    change = {
        name: (back(array[:, j] * head) * np.float32(unit)).astype(np.float32)
        for name, array in run.change.items()
    }
    uncertainty = np.maximum(
        back(run.half_width[:, j] * head) * np.float32(unit * interval.factor), 0
    ).astype(np.float32)
    inside = normalised[brain]
    top = float(np.percentile(inside, PERCENTILE))
    scale = top * unit if target in FIXED_SCALE else unit
    mae, dissimilarity = (float(v) for v in run.error[j])
    worst = bundle.worst_expected_error
    if bundle.calibration is not None:
        worst = min(worst, bundle.calibration.worst.get(target, worst))
    abstained = mae > worst or not np.isfinite(inside).all() or top <= 0
    reasons = [
        f"{target} was made from {', '.join(used)}, key source {key}, by model {bundle.name} {bundle.version}.",
        *dropped.values(),
        *run.notes[j],
    ]
    if interval.words:
        reasons.append(interval.words)
    score, stranger = _identity(target, looks)
    if stranger is not None:
        abstained = True
        reasons.append(stranger)
    elif abstained:
        reasons.append(f"Abstained: expected error {mae:.2f} of the target's range is above {worst:.2f}.")
    if strange is not None:
        against = strange.sentences()
        abstained = abstained or bool(against)
        reasons.extend(against)
        reasons.extend(
            f"How far {name} lies from what the model learned from is not known." for name in strange.unknown
        )
    return TargetResult(
        contrast=target,
        array=stored,
        scale=scale,
        uncertainty=uncertainty,
        quality={
            "expected_mae": round(mae, 4),
            "expected_dissimilarity": round(dissimilarity, 4),
            "brain_ml": round(brain_ml, 1),
            **({} if score is None else {"identity": round(score, 4)}),
            **({} if strange is None or strange.worst is None else {"distance": round(strange.worst, 4)}),
        },
        contributions=run.share[j],
        accepted=run.accepted[j],
        abstained=abstained,
        reasons=tuple(reasons),
        change=change,
        window=(round(0.55 * top * unit, 1), round(1.1 * top * unit, 1)),
        calibrated=interval.calibrated,
        calibration_patients=interval.patients,
    )

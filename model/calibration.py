"""What a bundle knows of how far it can be trusted: the manifest's fact `calibration`, read and asked.

The factor of an interval belongs to (target, sources, site) and was measured on patients that never trained. Only a
factor asked for exactly what it was measured on is called calibrated; everything else is scaled as well as is known
and says that it is uncalibrated.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from model.personal.pfm import UNKNOWN

Floats = npt.NDArray[np.float64]

#: What fewer patients showed without a guarantee gives way to what more patients showed of other sources, and widens an
#: interval but never narrows it: one easy head says nothing of the next.
FEW = 5


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The factor of one (target, sources, site). `sources` () = over all sets of sources together.

    Attributes:
        patients: exchangeable units that it was measured on.
        factor: with the bundle's alpha and delta guaranteed; None where the patients are too few.
        empirical: factor at which the patients at hand are covered on average; no guarantee. None where not measured.
    """

    target: str
    sources: tuple[str, ...]
    site: str
    patients: int
    factor: float | None
    empirical: float | None

    @property
    def value(self) -> float | None:
        """The guaranteed factor, else the empirical one."""
        return self.empirical if self.factor is None else self.factor


@dataclass(frozen=True, kw_only=True)
class Interval:
    """What the half-width is multiplied with, on whose word, and the sentence that says so."""

    factor: float
    calibrated: bool
    patients: int
    words: str


@dataclass(frozen=True, kw_only=True)
class Distance:
    """Mahalanobis distance of a source's pooled features to those that the network learned from.

    Attributes:
        means: contrast -> (D,); whitening: (D, D), so that |whitening (f - mean)|^2 / D is about 1 for what is known.
        threshold: above it the input is a stranger; patients: whose largest distance it was derived from.
    """

    means: Mapping[str, Floats]
    whitening: Floats
    threshold: float
    patients: int

    def __call__(self, contrast: str, features: Floats) -> float | None:
        """Distance of features (D,) of one source, 1 = usual; None for a contrast that was not fitted."""
        if contrast not in self.means:
            return None
        return float(np.sqrt(np.mean((self.whitening @ (features - self.means[contrast])) ** 2)))


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The fact `calibration`, parsed. `worst` is target -> expected error above which it abstains."""

    alpha: float
    delta: float
    entries: tuple[Entry, ...] = ()
    distance: Distance | None = None
    worst: Mapping[str, float] = field(default_factory=dict)

    def interval(self, target: str, sources: Sequence[str], site: str = UNKNOWN) -> Interval:
        """The factor for a target made of these sources as of this site.

        Asked in this order, first answer taken: the same sources and site; the same sources of the unknown site; any
        sources of the site; any sources of the unknown site. An entry answers with its guaranteed factor, else with
        its empirical one; fewer than FEW patients without a guarantee answer only where no entry has more, and with no
        factor below 1. Calibrated is only the first with a guaranteed factor.
        """
        exact = tuple(sources)
        found = {(e.sources, e.site): e for e in self.entries if e.target == target}
        keys = dict.fromkeys(((exact, site), (exact, UNKNOWN), ((), site), ((), UNKNOWN)))
        asked = [(key, found[key]) for key in keys if key in found and found[key].value is not None]
        enough = [one for one in asked if one[1].factor is not None or one[1].patients >= FEW]
        for key, entry in enough or sorted(asked, key=lambda one: -one[1].patients):
            value = float(entry.value or 0.0)
            if key == (exact, site) and entry.factor is not None:
                return Interval(
                    factor=value, calibrated=True, patients=entry.patients,
                    words=f"The uncertainty interval is calibrated on {entry.patients} patients (factor {value:.2f}):"
                    f" of {1 - self.alpha:.0%} of patients at least {1 - self.alpha:.0%} of the brain lies inside it,"
                    f" with {1 - self.delta:.0%} confidence.",
                )  # fmt: skip
            lacks = self._lacks(entry, found.get((exact, site)) or found.get((exact, UNKNOWN)), exact, site)
            showed = f"what {entry.patients} patient{'s' if entry.patients != 1 else ''} showed (factor {value:.2f})"
            if value < 1 and entry.factor is None and entry.patients < FEW:
                return Interval(
                    factor=1.0, calibrated=False, patients=entry.patients,
                    words=f"The uncertainty interval is uncalibrated: {lacks}; {showed} is too little to narrow it.",
                )  # fmt: skip
            return Interval(
                factor=value, calibrated=False, patients=entry.patients,
                words=f"The uncertainty interval is uncalibrated: {lacks}; it is scaled by {showed}, without a"
                " guarantee.",
            )  # fmt: skip
        return Interval(
            factor=1.0, calibrated=False, patients=0, words="The uncertainty interval is uncalibrated."
        )

    def _lacks(self, entry: Entry, passed: Entry | None, sources: tuple[str, ...], site: str) -> str:
        need = patients_needed(self.alpha, self.delta)
        if (entry.sources, entry.site) == (sources, site):
            return f"{entry.patients} are fewer than the {need} patients that a guarantee needs"
        if entry.sources == sources:
            return f"no guarantee was measured at the site {site}"
        if passed is not None:
            few = f"{passed.patients} patients are" if passed.patients != 1 else "one patient is"
            return f"{few} too few for {' + '.join(sources)} alone"
        return f"no factor was measured for {' + '.join(sources)}"


def patients_needed(alpha: float, delta: float) -> int:
    """The fewest patients, none of them missed, that allow a guarantee: (1 - alpha)^n <= delta."""
    return math.ceil(math.log(delta) / math.log(1 - alpha) - 1e-12)


def read_calibration(fact: Mapping[str, Any] | None) -> Calibration | None:
    """The fact of a manifest that `calibration_fault` has nothing to say against; None stays None."""
    if fact is None:
        return None
    distance = fact["distance"]
    return Calibration(
        alpha=float(fact["alpha"]),
        delta=float(fact["delta"]),
        entries=tuple(
            Entry(
                target=e["target"], sources=tuple(e["sources"]), site=e["site"], patients=e["patients"],
                factor=e["factor"], empirical=e.get("empirical"),
            )
            for e in fact["entries"]
        ),
        distance=None
        if distance is None
        else Distance(
            means={name: decoded(text) for name, text in distance["means"].items()},
            whitening=_square(decoded(distance["whitening"])),
            threshold=float(distance["threshold"]),
            patients=int(distance["patients"]),
        ),
        worst={target: float(one["worst"]) for target, one in fact.get("quality", {}).items()},
    )  # fmt: skip


def encoded(values: Floats) -> str:
    """Numbers as base64 of little-endian float32: a matrix would make the manifest unreadable."""
    return base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")


def decoded(text: str) -> Floats:
    """The inverse of `encoded`, flat."""
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float64)


def _square(flat: Floats) -> Floats:
    side = math.isqrt(flat.size)
    return flat.reshape(side, side)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _share(value: Any) -> bool:
    return _number(value) and 0 < value < 1


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _optional_factor(value: Any) -> bool:
    return value is None or (_number(value) and value > 0)


_ENTRY: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("target", lambda v: isinstance(v, str), "a contrast"),
    ("sources", lambda v: isinstance(v, list) and all(isinstance(s, str) for s in v), "a list of contrasts"),
    ("site", lambda v: isinstance(v, str), "a site"),
    ("patients", _count, "a count"),
    ("factor", _optional_factor, "a positive number, or null: uncalibrated"),
)


def calibration_fault(fact: Any) -> str | None:
    """What is wrong with the form of a fact, in words; None where nothing is, and for null: uncalibrated.

    A factor that fewer patients than `patients_needed` are said to guarantee is a fault: no bundle may call itself
    calibrated by what cannot carry it.
    """
    if fact is None:
        return None
    if not isinstance(fact, dict) or not isinstance(fact.get("entries"), list):
        return "calibration must be null or an object with `entries`"
    if not (_share(fact.get("alpha")) and _share(fact.get("delta"))):
        return "calibration.alpha and .delta must lie between 0 and 1"
    need = patients_needed(fact["alpha"], fact["delta"])
    for number, entry in enumerate(fact["entries"]):
        where = f"calibration.entries[{number}]"
        if not isinstance(entry, dict):
            return f"{where} must be an object"
        for key, fits, words in _ENTRY:
            if key not in entry or not fits(entry[key]):
                return f"{where}.{key} must be {words}"
        if not _optional_factor(entry.get("empirical")):
            return f"{where}.empirical must be a positive number, or null"
        if entry["factor"] is not None and entry["patients"] < need:
            return (
                f"{where} states a guaranteed factor on {entry['patients']} patients, {need} are the fewest"
            )
    quality = fact.get("quality", {})
    if not isinstance(quality, dict) or not all(
        isinstance(one, dict) and _number(one.get("worst")) and one["worst"] > 0 for one in quality.values()
    ):
        return "calibration.quality must be target -> {worst: a positive number}"
    return _distance_fault(fact.get("distance", "absent"))


def _distance_fault(distance: Any) -> str | None:
    if distance is None:
        return None
    form = "calibration.distance must be null or an object with means, whitening, threshold and patients"
    if not isinstance(distance, dict) or not isinstance(distance.get("means"), dict):
        return form
    if not (
        _number(distance.get("threshold")) and distance["threshold"] > 0 and _count(distance.get("patients"))
    ):
        return form
    try:
        sizes = {decoded(text).size for text in distance["means"].values()}
        whitening = decoded(distance["whitening"]).size
    except (KeyError, TypeError, ValueError, binascii.Error):
        return form
    if (sizes and sizes != {math.isqrt(whitening)}) or math.isqrt(whitening) ** 2 != whitening:
        return "calibration.distance: whitening must be the square of the means' width"
    return None

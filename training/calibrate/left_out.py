"""What factors are worth on a patient whom they were not measured on: each patient by the factors of all others.

Where patients are few, setting half of them aside would measure other, worse factors than those that are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.calibration import read_calibration
from training.calibrate.measure import Ratios

Entries = Callable[[Sequence[Ratios]], list[dict[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Share of a patient's in-mask voxels inside the intervals, mean over targets and sets of sources.

    `scaled` by the factors that the other patients gave, `unscaled` as the network states them; `lesion`: of the
    lesions' voxels, scaled, None without any.
    """

    patient: str
    scaled: float
    unscaled: float
    lesion: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain values, rounded; no name: whose patients they are stays at the site."""
        lesion = None if self.lesion is None else round(self.lesion, 4)
        return {"scaled": round(self.scaled, 4), "unscaled": round(self.unscaled, 4), "lesion": lesion}


def left_out(fact: dict[str, Any], rows: Sequence[Ratios], entries: Entries) -> tuple[LeftOut, ...]:
    """Every patient of the rows, measured by what `entries` makes of the others; () of a single patient."""
    patients = sorted({row.patient for row in rows})
    if len(patients) < 2:
        return ()
    out = []
    for patient in patients:
        own = [row for row in rows if row.patient == patient]
        asked = {row.target for row in own}
        others = [row for row in rows if row.patient != patient and row.target in asked]
        known = read_calibration({**fact, "entries": entries(others)})
        assert known is not None  # the fact was made here
        factors = [known.interval(row.target, row.sources, row.site).factor for row in own]
        pairs = list(zip(own, factors, strict=True))
        lesions = [float(np.mean(row.lesion <= factor)) for row, factor in pairs if row.lesion.size]
        out.append(
            LeftOut(
                patient=patient,
                scaled=float(np.mean([np.mean(row.ratios <= factor) for row, factor in pairs])),
                unscaled=float(np.mean([np.mean(row.ratios <= 1) for row in own])),
                lesion=float(np.mean(lesions)) if lesions else None,
            )
        )
    return tuple(out)


def in_words(found: Sequence[LeftOut]) -> str:
    """The sentence of a card."""
    scaled, unscaled = (
        float(np.mean([getattr(one, name) for one in found])) for name in ("scaled", "unscaled")
    )
    lesions = [one.lesion for one in found if one.lesion is not None]
    words = (
        f"Each of {len(found)} patients by the factors of the others: {scaled:.1%} of the brain's voxels lie inside "
        f"the intervals ({unscaled:.1%} without factors), of the worst patient {min(one.scaled for one in found):.1%}"
    )
    if lesions:
        words += (
            f"; of lesions {np.mean(lesions):.1%} ({len(lesions)} patient{'s' if len(lesions) > 1 else ''})"
        )
    return words + "."

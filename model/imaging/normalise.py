"""Intensities: MR has no unit, so each volume is divided by its own 99.5th percentile inside the brain.

Never per slice (the inverse would be unknown and slices would flicker). ADC has a unit and keeps it: it is divided
by one fixed value. Every step leaves a `Record`, and `restore` is its inverse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.contrasts import FIXED_SCALE
from model.errors import ImagingError
from model.imaging.image import FloatArray

PERCENTILE = 99.5
#: Normalised values above this are clipped: vessels and fat carry no information beyond it.
CEILING = 2.0
#: The percentiles that describe a volume's histogram to the level prediction.
QUANTILES: tuple[float, ...] = (2, 10, 25, 50, 75, 90, 98)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What normalisation did: `stored = normalised * scale`.

    Attributes:
        scale: stored value of normalised 1.0 (inside the brain the 99.5th percentile; ADC: fixed).
        unit: factor that was applied to the stored values first (ADC in mm2/s to 1e-6 mm2/s), 1 otherwise.
        quantiles: normalised values at `QUANTILES` inside the brain.
    """

    contrast: str
    scale: float
    unit: float
    quantiles: tuple[float, ...]


def _adc_unit(median: float) -> float:
    """Factor to 1e-6 mm2/s: brain tissue lies near 800e-6 mm2/s, and vendors store it in three units."""
    for factor in (1.0, 1e3, 1e6):
        if 250 <= median * factor <= 3500:
            return factor
    return 1.0


def normalise(
    array: FloatArray, mask: npt.NDArray[np.bool_], contrast: str, *, subject: str
) -> tuple[FloatArray, Record]:
    """Values in 0..`CEILING`, 1.0 = the 99.5th percentile inside the mask.

    Raises:
        ImagingError: blank: nothing but one value inside the mask.
    """
    inside = array[mask]
    if inside.size == 0 or float(np.ptp(inside)) <= 0 or not np.isfinite(inside).all():
        raise ImagingError(
            code="blank",
            subject=subject,
            reason="it holds no image inside the brain",
            cure="Send the series again with its pixel data.",
        )
    unit = 1.0
    if contrast in FIXED_SCALE:
        unit = _adc_unit(float(np.median(inside)))
        scale = FIXED_SCALE[contrast]
    else:
        scale = float(np.percentile(inside, PERCENTILE))
        if scale <= 0:
            raise ImagingError(
                code="blank",
                subject=subject,
                reason="its values inside the brain are not positive",
                cure="Send the magnitude images, not phase or subtraction images.",
            )
    out = np.clip(array * np.float32(unit / scale), 0, CEILING).astype(np.float32)
    quantiles = tuple(float(v) for v in np.percentile(out[mask], QUANTILES))
    return out, Record(contrast=contrast, scale=scale, unit=unit, quantiles=quantiles)


def restore(array: FloatArray, record: Record) -> FloatArray:
    """The inverse of `normalise` (exact where nothing was clipped)."""
    return (array * np.float32(record.scale / record.unit)).astype(np.float32)

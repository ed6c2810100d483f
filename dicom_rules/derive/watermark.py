"""The word SYNTHETIC burned into the pixels, for sites whose viewers show neither descriptions nor overlays."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from dicom_rules.derive.types import SyntheticVolume

MARK = "SYNTHETIC"
_WIDTH_SHARE = 0.34
"""Of the image's width: readable on a phone, and in a corner that holds air in a head image."""


def burned(
    stored: npt.NDArray[np.uint16], window: tuple[float, float] | None, scale: float
) -> npt.NDArray[np.uint16]:
    """A copy of (S, R, C) stored values with the word at the top left of every slice.

    The letters take the value shown as white (upper end of the window), on a rim of black so that they can be
    read over bright tissue as well.
    """
    letters, rim = _stencil(stored.shape[1], stored.shape[2])
    white = window[0] + window[1] / 2 if window is not None else scale
    marked = stored.copy()
    marked[:, rim] = 0
    marked[:, letters] = np.uint16(min(max(round(white), 1), 65535))
    return marked


def labelled(result: SyntheticVolume) -> str:
    """The target as it enters the UIDs: other pixels must never come under the same UIDs."""
    return f"{result.target} watermark" if result.watermark else result.target


@functools.lru_cache(maxsize=8)
def _stencil(rows: int, columns: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Where the letters are and where their rim is, (R, C) each."""
    font = ImageFont.load_default(size=40)
    left, top, right, bottom = font.getbbox(MARK)
    word = Image.new("L", (int(right - left), int(bottom - top)))
    ImageDraw.Draw(word).text((-left, -top), MARK, fill=255, font=font)
    width = min(columns - 4, max(48, round(columns * _WIDTH_SHARE)))
    height = max(5, round(width * word.height / word.width))
    small = np.asarray(word.resize((max(width, 1), height), Image.Resampling.BOX)) > 96
    letters = np.zeros((rows, columns), dtype=np.bool_)
    place = letters[2 : 2 + small.shape[0], 2 : 2 + small.shape[1]]
    place[:] = small[: place.shape[0], : place.shape[1]]
    rim = letters.copy()
    for axis in (0, 1):
        for step in (-1, 1):
            rim |= np.roll(rim, step, axis=axis)
    return letters, rim & ~letters

"""The summary sheet: one page for viewers that show pictures and nothing else.

Sources and result side by side, what was made of what, and how far to trust it. No patient data.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset

from dicom_rules.derive import Maker, SyntheticVolume, patient_free
from dicom_rules.geometry import Volume
from medk2n_node.synthesis.views import Floats, on_grid, telling_slices, white_level

_WIDTH = 1200
_ROWS = 3
_MARGIN, _GAP = 24, 6
_WHITE, _GREY, _YELLOW = (255, 255, 255), (190, 190, 190), (255, 214, 10)
_LETTERS_PER_LINE = 118


def draw_sheet(
    result: SyntheticVolume,
    *,
    volumes: Mapping[str, Volume],
    half_width: npt.NDArray[np.float32],
    summary: Mapping[str, Any],
    maker: Maker,
    patient: Dataset,
) -> npt.NDArray[np.uint8]:
    """The page as (H, W, 3) RGB: a row per slice, a column per source, then the result and its uncertainty.

    `patient` is a header of the study: what names its patient is kept off the page.
    """
    grid = volumes[result.reference]
    made = result.array.astype(np.float32)
    slices = telling_slices(made, _ROWS)
    columns: list[tuple[str, Floats]] = []
    for contrast in result.sources:
        seen = on_grid(volumes[contrast], grid, slices, result.alignment.get(contrast))
        columns.append((f"{contrast} (acquired)", seen / white_level(seen)))
    columns.append((f"{result.target} (SYNTHETIC)", made[slices] / max(result.scale, 1.0)))
    columns.append(("uncertainty (white: 50 %)", half_width[slices] / max(0.5 * result.scale, 1.0)))

    step = np.linalg.norm(grid.affine[:3, :2], axis=0)  # column step, row step in mm
    cell_width = (_WIDTH - 2 * _MARGIN - (len(columns) - 1) * _GAP) // len(columns)
    tall = made.shape[1] * step[1] / (made.shape[2] * step[0])
    cell_height = max(16, round(cell_width * float(tall)))
    lines = _lines(result, summary, maker, patient)
    pictures_top = 110
    text_top = pictures_top + len(slices) * (cell_height + _GAP) + 18
    page = Image.new("RGB", (_WIDTH, text_top + 26 * len(lines) + _MARGIN))
    pen = ImageDraw.Draw(page)
    pen.text((_MARGIN, 18), f"SYNTHETIC {result.target} (AI) - not acquired", fill=_YELLOW, font=_font(34))
    for number, (title, pictures) in enumerate(columns):
        left = _MARGIN + number * (cell_width + _GAP)
        colour = _YELLOW if "SYNTHETIC" in title else _WHITE
        pen.text((left, pictures_top - 32), title, fill=colour, font=_font(20))
        for row, picture in enumerate(pictures):
            top = pictures_top + row * (cell_height + _GAP)
            grey = np.rint(np.clip(picture, 0.0, 1.0) * 255).astype(np.uint8)
            cell = Image.fromarray(grey).resize((cell_width, cell_height), Image.Resampling.BILINEAR)
            page.paste(cell.convert("RGB"), (left, top))
            if number == 0:
                pen.text((left + 4, top + 4), f"slice {slices[row] + 1}", fill=_GREY, font=_font(15))
    for number, (line, colour) in enumerate(lines):
        pen.text((_MARGIN, text_top + 26 * number), line, fill=colour, font=_font(18))
    return np.asarray(page, dtype=np.uint8)


def _lines(
    result: SyntheticVolume, summary: Mapping[str, Any], maker: Maker, patient: Dataset
) -> list[tuple[str, tuple[int, int, int]]]:
    quality, interval = summary["quality"], summary["interval"]
    shares = ", ".join(f"{name} {share:.0%}" for name, share in sorted(result.contributions.items()))
    trust = []
    if "expected_mae" in quality:
        trust.append(f"expected mean error {quality['expected_mae']:.1%} of the brightest brain signal")
    trust.append(f"{interval['percent']} % interval on average +/- {interval['half_width']:.1%}")
    said = "calibrated" if interval["calibrated"] else "uncalibrated: these figures are the model's own guess"
    text: Sequence[tuple[str, tuple[int, int, int]]] = [
        (f"Made from {', '.join(result.sources)} (key source {result.key}); contributions {shares}.", _WHITE),
        (f"How far to trust it: {', '.join(trust)}; {said}.", _WHITE),
        *((patient_free(reason, patient), _GREY) for reason in result.reasons),
        (f"Model {maker.model_name} {maker.model_version}, weights sha256 {maker.model_digest[:12]}.", _GREY),
        ("Made by a network, not acquired by a scanner. Never read it as if it were.", _YELLOW),
    ]
    return [
        (line, colour) for words, colour in text for line in textwrap.wrap(words, _LETTERS_PER_LINE) or [""]
    ]


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)

"""The series of a revision from disk, as the classifier wants them: headers, and what the pixels tell.

A file that cannot be read, or pixels that cannot be decoded, make their series unusable with that reason; the
rest of the study goes on.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from dicom_rules.classify import main_stack
from dicom_rules.errors import GeometryError
from dicom_rules.geometry import check
from medk2n_node.observe import message_of, words_of

SAMPLES = 3
"""How many slices are decoded before a series is looked at whole for being blank."""


UNDECODABLE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
"""What pydicom and the decoders behind it raise for pixel data that are broken or not supported."""


@dataclass(frozen=True, kw_only=True)
class SeriesOnDisk:
    """One series of a revision. `problem` says why it can be no volume; `blank` is None where not looked at."""

    series_uid: str
    paths: tuple[Path, ...]
    headers: tuple[Dataset, ...]
    problem: str | None
    blank: bool | None


def read_series(series_uid: str, paths: Sequence[Path]) -> SeriesOnDisk:
    """Read one series: every header, the geometry, and whether the pixels are blank."""
    headers: list[Dataset] = []
    problem: str | None = None
    for path in paths:
        try:
            headers.append(dcmread(path, stop_before_pixels=True))
        except (InvalidDicomError, OSError, ValueError, EOFError) as error:
            problem = f"an object of the series cannot be read ({words_of(error)})"
    readable = problem is None and bool(headers) and _is_mr(headers[0])
    if readable:
        try:
            # A series may hold several stacks (b-values, echoes); the one that speaks for it must be a volume.
            images = main_stack(headers)
            check(images.instances, only=images.only)
        except GeometryError as error:
            problem = f"{error.subject}: {error.reason}"
    blank: bool | None = None
    if readable:
        # Looked at whatever the geometry: that there is no image at all is the stronger reason.
        try:
            blank = is_blank(paths)
        except UNDECODABLE as error:
            problem = f"the pixel data cannot be decoded ({message_of(error)})"
    return SeriesOnDisk(
        series_uid=series_uid, paths=tuple(paths), headers=tuple(headers), problem=problem, blank=blank
    )


def is_blank(paths: Sequence[Path]) -> bool:
    """True when every slice is one constant value. A few slices spread over the series settle most cases."""
    samples = sorted({round(place) for place in np.linspace(0, len(paths) - 1, min(SAMPLES, len(paths)))})
    order = [*samples, *(index for index in range(len(paths)) if index not in samples)]
    return all(_is_constant(paths[index]) for index in order)


def series_numbers(series: Mapping[str, SeriesOnDisk]) -> set[int]:
    """Every Series Number (0020,0011) that the study uses."""
    used: set[int] = set()
    for one in series.values():
        for header in one.headers[:1]:
            try:
                used.add(int(header.SeriesNumber))
            except (AttributeError, TypeError, ValueError):
                continue  # absent, empty or not a number: takes no place in the numbering
    return used


def _is_mr(header: Dataset) -> bool:
    return str(header.get("Modality", "")).strip().upper() == "MR"


def _is_constant(path: Path) -> bool:
    pixels = dcmread(path).pixel_array
    return bool(pixels.min() == pixels.max())

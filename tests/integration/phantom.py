"""The computed head of `medk2n demo` as studies to send: whole, spoilt in one way, or extended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from medk2n_node.demo.maps import head
from medk2n_node.demo.phantom import axial_grid, motion, scan
from medk2n_node.demo.study import ScannedSeries, write_study

Study = dict[str, list[Dataset]]
"""The objects of a study by contrast, in slice order."""

SLICES = 20
_SEEDS = {"T1": 11, "T2": 12, "FLAIR": 13}


def write_phantom(folder: Path, *contrasts: str) -> Path:
    """Write the phantom's series to `folder` and give it; 20 slices 6 mm apart."""
    grid = axial_grid(slices=SLICES, spacing_mm=6.0)
    model = head()
    still = motion(shift_mm=(0.0, 0.0, 0.0), turn_deg=0.0)
    write_study(
        folder,
        *(
            ScannedSeries(
                contrast=contrast,
                array=scan(model, contrast, grid, still, seed=_SEEDS[contrast]),
                affine=grid.affine,
            )
            for contrast in contrasts
        ),
        key="integration",
    )
    return folder


def read_study(folder: Path) -> Study:
    """The objects below `folder` by contrast (the folders are named `<number>-<contrast>`)."""
    return {
        series.name.partition("-")[2]: [dcmread(file) for file in sorted(series.glob("*.dcm"))]
        for series in sorted(folder.iterdir())
    }


def under_new_uids(study: Study, name: str) -> tuple[str, Study]:
    """A copy of the study whose UIDs all end in a number made of `name`; gives its Study Instance UID."""
    tail = "".join(str(ord(letter)) for letter in name)[:20]
    copied: Study = {}
    study_uid = f"1.2.826.0.1.3680043.10.999.{tail}"
    for number, (contrast, objects) in enumerate(study.items(), start=1):
        copied[contrast] = []
        for index, one in enumerate(objects, start=1):
            new = deepcopy(one)
            new.StudyInstanceUID = study_uid
            new.SeriesInstanceUID = f"{study_uid}.{number}"
            new.SOPInstanceUID = new.file_meta.MediaStorageSOPInstanceUID = f"{study_uid}.{number}.{index}"
            copied[contrast].append(new)
    return study_uid, copied


def flat(study: Study) -> list[Dataset]:
    """All objects of a study."""
    return [one for objects in study.values() for one in objects]


def spoil(objects: Sequence[Dataset], change: Callable[[int, Dataset], None]) -> None:
    """Change every object in place; `change` is given its index and the object."""
    for index, one in enumerate(objects):
        change(index, one)


def blank(index: int, one: Dataset) -> None:
    """Make every pixel zero."""
    one.PixelData = np.zeros((one.Rows, one.Columns), dtype="<u2").tobytes()

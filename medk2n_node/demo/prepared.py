"""What the demo sends: a phantom computed here, or a study that lies in a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.dataset import Dataset

from medk2n_node.demo.maps import Floats, Head, head
from medk2n_node.demo.phantom import Affine, axial_grid, ideal, look, motion, scan
from medk2n_node.demo.scanner import Sendable, look_up
from medk2n_node.demo.study import ScannedSeries, write_study

_SEEDS = {"T1": 11, "T2": 12}
# The head between the two series: a person lying still moves about this much in some minutes.
_MOTIONS: Mapping[str, Affine] = {
    "T1": motion(shift_mm=(0.8, -0.6, 0.4), turn_deg=0.6),
    "T2": motion(shift_mm=(0.0, 0.0, 0.0), turn_deg=0.0),
}


class Truth(Protocol):
    """Knows what a contrast would have looked like."""

    def of(self, contrast: str, reference: str) -> tuple[Floats, npt.NDArray[np.bool_]] | None:
        """The true image on the grid of the source `reference`, and the brain; None when not known."""


@dataclass(frozen=True, kw_only=True)
class NoTruth:
    """A real study: nobody knows."""

    def of(self, contrast: str, reference: str) -> tuple[Floats, npt.NDArray[np.bool_]] | None:
        """None, always."""
        return None


@dataclass(frozen=True, kw_only=True)
class PhantomTruth:
    """The computed head, as it lay during the series that the result took its grid from."""

    head: Head

    def of(self, contrast: str, reference: str) -> tuple[Floats, npt.NDArray[np.bool_]] | None:
        """The noise-free image and the brain on the phantom's grid."""
        if reference not in _MOTIONS:
            return None
        grid, moved = axial_grid(), _MOTIONS[reference]
        brain = look(self.head, self.head.brain, grid, moved, sub_slices=1) > 0.5
        return ideal(self.head, contrast, grid, moved), brain


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A study ready to be sent; `headers` are its objects without pixels, by series UID."""

    files: tuple[Sendable, ...]
    study_uid: str
    headers: Mapping[str, Sequence[Dataset]]
    truth: Truth

    def paths(self, series_uid: str) -> list[Path]:
        """The files of one series."""
        return [one.path for one in self.files if one.series_uid == series_uid]


def phantom(folder: Path, stage: Callable[[str], None]) -> Prepared:
    """Compute the head, scan T1 and T2, write them to `folder`; `stage` is told what is being done."""
    stage("reading tissue maps and building a head")
    model = head()
    grid = axial_grid()
    scanned: list[ScannedSeries] = []
    for contrast, seed in _SEEDS.items():
        stage(f"scanning {contrast}")
        array = scan(model, contrast, grid, _MOTIONS[contrast], seed=seed)
        scanned.append(ScannedSeries(contrast=contrast, array=array, affine=grid.affine))
    stage("writing DICOM")
    write_study(folder, *scanned)
    return _prepared(look_up(folder), PhantomTruth(head=model))


def from_folder(folder: Path) -> Prepared:
    """A study of the user's own; InputError when the folder does not hold exactly one."""
    return _prepared(look_up(folder), NoTruth())


def _prepared(files: Sequence[Sendable], truth: Truth) -> Prepared:
    headers: dict[str, list[Dataset]] = {}
    for one in files:
        headers.setdefault(one.series_uid, []).append(dcmread(one.path, stop_before_pixels=True))
    return Prepared(files=tuple(files), study_uid=files[0].study_uid, headers=headers, truth=truth)

"""From image archives to prepared cases: registered, masked, normalised by the node's own preprocessing."""

from __future__ import annotations

from training.archive.case import Case, load_case, save_case
from training.archive.opened import Archive, open_archive
from training.archive.prepare import prepare_folder, prepare_slices, read_nifti
from training.archive.splits import SPLITS, Shares, Splits, assign

__all__ = [
    "SPLITS",
    "Archive",
    "Case",
    "Shares",
    "Splits",
    "assign",
    "load_case",
    "open_archive",
    "prepare_folder",
    "prepare_slices",
    "read_nifti",
    "save_case",
]

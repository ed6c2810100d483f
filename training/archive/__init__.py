"""From image folders to prepared cases: registered, masked, normalised by the node's own preprocessing."""

from __future__ import annotations

from training.archive.case import Case, load_case, save_case
from training.archive.prepare import prepare_folder, prepare_slices, read_nifti

__all__ = ["Case", "load_case", "prepare_folder", "prepare_slices", "read_nifti", "save_case"]

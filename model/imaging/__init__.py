"""From images in patient space to arrays on one grid with one meaning, and back.

In: sources as `Image`, any grids and orientations. Out: a `WorkingGrid`, registered and normalised arrays on it, the
brain mask, and a record of each step from which its inverse follows. Never: files, DICOM, a guess about what failed.
"""

from __future__ import annotations

from model.imaging.brain import BrainMask, brain_mask
from model.imaging.grid import WorkingGrid, working_grid
from model.imaging.image import Image, resample
from model.imaging.normalise import QUANTILES, Record, normalise, restore
from model.imaging.registration import Registration, register

__all__ = [
    "QUANTILES",
    "BrainMask",
    "Image",
    "Record",
    "Registration",
    "WorkingGrid",
    "brain_mask",
    "normalise",
    "register",
    "resample",
    "restore",
    "working_grid",
]

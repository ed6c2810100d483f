"""The series of a job from disk: headers for the result's references, volumes for the network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_rules.classify import main_stack
from dicom_rules.geometry import Volume, to_volume


def read_headers(paths: Sequence[Path], contrast: str | None = None) -> list[Dataset]:
    """The headers of one stack of a series, without pixel data: that of `contrast`, else the one that speaks for it."""
    return list(main_stack([dcmread(path, stop_before_pixels=True) for path in paths], contrast).instances)


def read_volume(paths: Sequence[Path], contrast: str | None = None) -> Volume:
    """The same stack as one volume; raises GeometryError when its slices do not form one."""
    images = main_stack([dcmread(path) for path in paths], contrast)
    return to_volume(images.instances, only=images.only)

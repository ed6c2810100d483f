"""Encoded objects to their files: what a file is called, and what is kept about it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from pydicom.dataset import Dataset

from dicom_rules.derive import to_part10
from medk2n_node.synthesis.job import MadeObject

FOLDER = "results"

Write = Callable[[str, bytes], str]
"""Writes bytes under a name below the results folder, durably, and gives their SHA-256."""


def write_objects(write: Write, kind: str, contrast: str, datasets: Sequence[Dataset]) -> list[MadeObject]:
    """Write the objects of one kind; their names are digests of their UIDs, so no header names a file."""
    made = []
    for dataset in datasets:
        uid = str(dataset.SOPInstanceUID)
        name = hashlib.sha256(uid.encode("ascii")).hexdigest()
        relative = f"{name[:2]}/{name}.dcm"
        made.append(
            MadeObject(
                sop_uid=uid,
                sop_class=str(dataset.SOPClassUID),
                series_uid=str(dataset.SeriesInstanceUID),
                contrast=contrast,
                kind=kind,
                path=f"{FOLDER}/{relative}",
                sha256=write(relative, to_part10(dataset)),
            )
        )
    return made

"""DICOM files on disk as studies and series, classified by their headers: one reader for commands and training.

In: folders or files. Out: headers without pixels by series, with the class that `dicom_rules` gives each. Never: the
network, torch, a database.
"""

from __future__ import annotations

from training.studies.folder import (
    UNFORESEEN,
    UNREADABLE,
    Classified,
    Folder,
    SeriesFolder,
    Skipped,
    classify_folder,
    classify_read,
    files_below,
    files_by_study,
    read_files,
    read_folder,
    unread_words,
)

__all__ = [
    "UNFORESEEN",
    "UNREADABLE",
    "Classified",
    "Folder",
    "SeriesFolder",
    "Skipped",
    "classify_folder",
    "classify_read",
    "files_below",
    "files_by_study",
    "read_files",
    "read_folder",
    "unread_words",
]

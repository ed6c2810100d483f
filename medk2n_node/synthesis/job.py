"""What the synthesis is asked for and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from medk2n_node.errors import SafetyError

Progress = Callable[[str, float], None]
"""Called with a stage's name and its share done (0 to 1); an exception it raises ends the run."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One contrast to make: from which contrasts, which of them leads, the plan's reasons, its series number."""

    contrast: str
    sources: tuple[str, ...]
    key: str
    reasons: tuple[str, ...]
    series_number: int


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything a revision's synthesis needs; the same job and bundle give the same bytes.

    `series`: the files of the series that stands for each contrast. `reference`: the contrast on whose grid the
    results lie. `revision` and `made_at` enter the UIDs and the header; they are fixed when the plan is stored,
    so a second attempt writes the same objects again.
    """

    study_uid: str
    revision: int
    made_at: datetime
    reference: str
    targets: tuple[Target, ...]
    series: Mapping[str, tuple[Path, ...]]


@dataclass(frozen=True, kw_only=True)
class MadeObject:
    """One object on disk; `path` is relative to the storage root, `sha256` that of the whole file."""

    sop_uid: str
    series_uid: str
    contrast: str
    path: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Product:
    """What came of a job. `targets`: a report per contrast, the declined ones too; `seconds`: per stage."""

    objects: tuple[MadeObject, ...]
    targets: Mapping[str, Mapping[str, Any]]
    registrations: Mapping[str, Mapping[str, Any]]
    seconds: Mapping[str, float]
    notes: tuple[str, ...]


class Refused(SafetyError):
    """The study cannot be synthesised safely; the reason is for a person to read."""

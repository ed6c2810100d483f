"""What the synthesis is asked for and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from medk2n_node.errors import SafetyError

Progress = Callable[[str, float], None]
"""Called with a stage's name and its share done (0 to 1); an exception it raises ends the run."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One contrast to make: from which contrasts, which of them leads, the plan's reasons, its series number.

    `numbers`: the Series Number of each other kind of object; `supersedes`: Series Instance UIDs of older synthetic
    series of this contrast.
    """

    contrast: str
    sources: tuple[str, ...]
    key: str
    reasons: tuple[str, ...]
    series_number: int
    numbers: Mapping[str, int] = field(default_factory=dict)
    supersedes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Forms:
    """Which objects to make of each result. `enhanced` is made where the sources are; `classic` otherwise always."""

    classic: bool = True
    enhanced: bool = False
    uncertainty: bool = False
    overlay: bool = False
    summary: bool = False
    watermark: bool = False


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
    forms: Forms = field(default_factory=Forms)


@dataclass(frozen=True, kw_only=True)
class MadeObject:
    """One object on disk; `path` is relative to the storage root, `sha256` that of the whole file.

    `kind` as the table of results has it; `contrast` is empty where the object is about the whole study.
    """

    sop_uid: str
    sop_class: str
    series_uid: str
    contrast: str
    kind: str
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
    """The study cannot be synthesised safely; the reason is for a person to read.

    `targets` is the report of what the model declined, where it came so far.
    """

    def __init__(
        self,
        *,
        code: str,
        subject: str,
        reason: str,
        cure: str,
        targets: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(code=code, subject=subject, reason=reason, cure=cure)
        self.targets = dict(targets or {})

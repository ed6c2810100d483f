"""A site's own word on its series, checked when it is loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

from dicom_rules import CONTRASTS
from dicom_rules.errors import ClassifyError
from dicom_rules.reading import text

PATTERN_KEYS = ("ae_title", "station", "description")
EXAMPLE = '{ description = "^AX FLAIR", contrast = "FLAIR" }'


@dataclass(frozen=True, kw_only=True)
class Override:
    """All patterns that are given must be found; `contrast` is None for "none of ours"."""

    contrast: str | None
    ae_title: re.Pattern[str] | None = None
    station: re.Pattern[str] | None = None
    description: re.Pattern[str] | None = None

    def matches(self, header: Dataset) -> bool:
        """Whether this override speaks about the series of this header."""
        meta = getattr(header, "file_meta", None)
        said = {
            "ae_title": text(meta, "SourceApplicationEntityTitle") if meta is not None else "",
            "station": text(header, "StationName"),
            "description": text(header, "SeriesDescription"),
        }
        patterns = [(getattr(self, key), said[key]) for key in PATTERN_KEYS]
        return all(pattern is None or pattern.search(value) for pattern, value in patterns)

    def sentence(self) -> str:
        """How the override is quoted in the evidence."""
        given = ", ".join(
            f'{key} "{getattr(self, key).pattern}"' for key in PATTERN_KEYS if getattr(self, key) is not None
        )
        return f"The site's rule for {given} says {self.contrast or 'none of the contrasts'}"


@dataclass(frozen=True, kw_only=True)
class ClassifyRules:
    """The overrides of a site, in order; the first that matches counts."""

    overrides: tuple[Override, ...] = ()

    @classmethod
    def from_mappings(cls, rows: Sequence[Mapping[str, Any]]) -> ClassifyRules:
        """Check and compile the rows of `[[classification.overrides]]`; ClassifyError names the row and key."""
        return cls(overrides=tuple(_override(number, row) for number, row in enumerate(rows, start=1)))

    def override_for(self, header: Dataset) -> Override | None:
        """The first override that speaks about this series."""
        return next((override for override in self.overrides if override.matches(header)), None)


def _override(number: int, row: Mapping[str, Any]) -> Override:
    subject = f"classification override {number}"
    unknown = sorted(set(row) - {*PATTERN_KEYS, "contrast"})
    if unknown:
        raise _refused(subject, f'the key "{unknown[0]}" is unknown')
    contrast = row.get("contrast")
    if contrast not in (*CONTRASTS, "none"):
        raise _refused(subject, f'contrast is "{contrast}", not one of {", ".join(CONTRASTS)} or none')
    patterns: dict[str, re.Pattern[str]] = {}
    for key in PATTERN_KEYS:
        value = row.get(key, "")
        if not value:
            continue
        try:
            patterns[key] = re.compile(value, re.IGNORECASE)
        except (re.error, TypeError) as error:
            raise _refused(subject, f'{key} "{value}" is no regular expression ({error})') from error
    if not patterns:
        raise _refused(subject, f"it gives none of {', '.join(PATTERN_KEYS)} and would match every series")
    return Override(contrast=None if contrast == "none" else str(contrast), **patterns)


def _refused(subject: str, reason: str) -> ClassifyError:
    return ClassifyError(
        code="bad_override", subject=subject, reason=reason, cure=f"A valid override is {EXAMPLE}"
    )

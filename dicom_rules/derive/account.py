"""What the report of a study tells: the series found, the decision on every contrast, figures, superseded results."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from dicom_rules import CONTRASTS
from dicom_rules.reading import text


@dataclass(frozen=True, kw_only=True)
class FoundSeries:
    """One series of the study. `header` is that of any of its objects; `role` and `reasons` are the plan's."""

    header: Dataset
    instances: int
    role: str
    contrast: str | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What the model says about one target. `half_width` is the mean of the interval's half-width in the head.

    `expected_error` and `half_width` are in units of the target's 99.5th percentile inside the brain,
    `expected_dissimilarity` is 1-SSIM; None where the model gave none. `contributions` are the w_ij.
    """

    expected_error: float | None = None
    expected_dissimilarity: float | None = None
    half_width: float | None = None
    calibrated: bool = False
    contributions: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What became of one contrast. `outcome`: made, abstained, skip, refuse or hold.

    `results` are headers of what was made of it: the first slice of the series, then the other kinds.
    """

    contrast: str
    outcome: str
    sources: tuple[str, ...]
    key: str | None
    reasons: tuple[str, ...]
    figures: Figures | None = None
    results: tuple[Dataset, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Superseded:
    """An older synthetic series that something better replaces.

    `by`: "real" (a real series of the contrast arrived) or "newer" (made again from more slices). `first` is the
    header of the older series' first slice. `psnr_db` and `error` are measured inside the brain against the real
    series, `error` in units of its 99.5th percentile; None with `words` saying why where they could not be.
    """

    contrast: str
    revision: int
    by: str
    by_series_uid: str
    first: Dataset
    psnr_db: float | None = None
    error: float | None = None
    words: str = ""

    @property
    def sentence(self) -> str:
        """The whole of it for a person."""
        cause = {
            "real": f"a real {self.contrast} arrived (series {self.by_series_uid})",
            "newer": f"it was made again from what arrived later (series {self.by_series_uid})",
        }[self.by]
        start = (
            f"The synthetic {self.contrast} of revision {self.revision} (series {self.first.SeriesInstanceUID}) "
            f"is superseded: {cause}."
        )
        if self.psnr_db is not None and self.error is not None:
            start += (
                f" Measured against the real series inside the brain: PSNR {self.psnr_db:.2f} dB, mean absolute "
                f"error {self.error:.4f} of the 99.5th percentile."
            )
        return f"{start} {self.words}".rstrip()


@dataclass(frozen=True, kw_only=True)
class Account:
    """One revision of a study as the report tells it. `outcome` is what a person reads first, in one word."""

    study_uid: str
    revision: int
    outcome: str
    words: str
    release: str
    series: tuple[FoundSeries, ...]
    decisions: tuple[Decision, ...]
    superseded: tuple[Superseded, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def made(self) -> tuple[str, ...]:
        """The contrasts that were made."""
        return tuple(one.contrast for one in self.decisions if one.outcome == "made")


def patient_free(words: str, header: Dataset) -> str:
    """`words` without what names the patient of `header`, on one line and without control characters.

    Sentences of the plan quote series descriptions, and some sites write names into those.
    """
    plain = "".join(character if character.isprintable() else " " for character in words)
    plain = " ".join(plain.split())
    for name in sorted(set(_names(header)), key=len, reverse=True):
        plain = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "[removed]", plain, flags=re.IGNORECASE)
    return plain


_OUR_WORDS = {*CONTRASTS, "BRAIN", "HEAD", "MR", "PHANTOM", "SERIES", "STUDY", "TEST"}
"""Test objects bear such names; without these words the sentences could not be read."""


def _names(header: Dataset) -> Iterable[str]:
    for part in re.split(r"[\^= ]+", text(header, "PatientName")):
        if len(part) > 1 and not part.isdigit() and part.upper() not in _OUR_WORDS:
            yield part
    for keyword in ("PatientID", "PatientBirthDate", "AccessionNumber"):
        value = text(header, keyword)
        if len(value) > 3:
            yield value

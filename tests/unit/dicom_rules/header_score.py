"""What a classifier makes of the rows of series-headers.csv: right, wrong, abstained, wrongly taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.config import disable_value_validation
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from tests.unit.dicom_rules.header_rows import headers_of

TARGETS: Mapping[str, str] = {
    "T1": "T1",
    "T1C": "T1C",
    "T2": "T2",
    "FLAIR": "FLAIR",
    "ADC": "ADC",
    "TRACE": "DWI",
}
"""The truths that are a contrast of ours, and which."""

T1_FAMILY = frozenset({"T1", "T1C"})
NONE = "-"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was said of one row: a contrast or None, and whether the series may be used."""

    contrast: str | None
    usable: bool = True


@dataclass(frozen=True, kw_only=True)
class Score:
    """The rows against their truth. `wrong` and `abstained` are row ids of the targets, the others are no target."""

    right: Counter[str]
    total: Counter[str]
    right_by_vendor: Counter[str]
    total_by_vendor: Counter[str]
    confusion: Counter[tuple[str, str]]
    wrong: tuple[str, ...]
    abstained: tuple[str, ...]
    others: int
    others_named: tuple[str, ...]
    """Rows that are none of the contrasts and were given one."""
    others_accepted: tuple[str, ...]
    """Those of them that were also called usable."""

    @property
    def share(self) -> float:
        """Right answers among the rows that are a contrast of ours."""
        return sum(self.right.values()) / sum(self.total.values())


def is_right(row: Mapping[str, str], contrast: str | None, *, merged: bool) -> bool:
    """T1 and T1C are told apart wherever an agent tag or the description states it, and nowhere when `merged`."""
    truth = TARGETS[row["truth"]]
    if contrast == truth:
        return True
    return (merged or row["contrast_stated"] == "no") and {contrast, truth} <= T1_FAMILY


def score(rows: Sequence[Mapping[str, str]], answers: Mapping[str, Answer], *, merged: bool) -> Score:
    """Compare the answers, by row id, with the truths."""
    right, total = Counter[str](), Counter[str]()
    right_by_vendor, total_by_vendor = Counter[str](), Counter[str]()
    confusion = Counter[tuple[str, str]]()
    wrong, abstained, named, accepted = [], [], [], []
    for row in rows:
        answer = answers[row["row_id"]]
        confusion[row["truth"], answer.contrast or NONE] += 1
        if row["truth"] not in TARGETS:
            if answer.contrast is not None:
                named.append(row["row_id"])
                if answer.usable:
                    accepted.append(row["row_id"])
            continue
        total[row["truth"]] += 1
        total_by_vendor[row["vendor"]] += 1
        if is_right(row, answer.contrast, merged=merged):
            right[row["truth"]] += 1
            right_by_vendor[row["vendor"]] += 1
        elif answer.contrast is None:
            abstained.append(row["row_id"])
        else:
            wrong.append(row["row_id"])
    return Score(
        right=right,
        total=total,
        right_by_vendor=right_by_vendor,
        total_by_vendor=total_by_vendor,
        confusion=confusion,
        wrong=tuple(wrong),
        abstained=tuple(abstained),
        others=len(rows) - sum(total.values()),
        others_named=tuple(named),
        others_accepted=tuple(accepted),
    )


def write_rows(
    rows: Sequence[Mapping[str, str]], folder: Path, *, blank_names: bool, complete: bool = False
) -> None:
    """One folder per row, named by its id, with the small series that the row stands for.

    `complete` fills attributes that another program needs to read a series at all and that tell nothing about its
    contrast: series number, pixel spacing, thickness, orientation.
    """
    for number, row in enumerate(rows, start=1):
        target = folder / row["row_id"]
        target.mkdir(parents=True)
        for place, header in enumerate(headers_of(row, blank_names=blank_names)):
            if complete:
                header.SeriesNumber = number
                for keyword, value in (
                    ("PixelSpacing", ["1", "1"]),
                    ("SliceThickness", "5"),
                    ("PixelBandwidth", "200"),
                    ("ImageOrientationPatient", ["1", "0", "0", "0", "1", "0"]),
                    ("ImagePositionPatient", ["0", "0", str(5 * place)]),
                ):
                    if keyword not in header:
                        setattr(header, keyword, value)
            header.file_meta = FileMetaDataset()
            header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            with disable_value_validation():
                header.save_as(target / f"{place:03}.dcm", enforce_file_format=True)

"""Measured on 274 real series of six vendors, through the public command: what is right, wrong and abstained.

The floors are the numbers reached when this was written; a change of the rules may raise them, never lower them.
Rules are fitted to physics and the standard, not to these rows.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medk2n_node.cli import main
from tests.unit.dicom_rules.header_rows import rows
from tests.unit.dicom_rules.header_score import Answer, Score, score, write_rows

# truth: right of all; 147 of 151 with names. The other four: a FLAIR whose row states neither sequence nor inversion
# (d147), an "AX DWI" without b-value whose source calls it ADC (d170), a T1C that says CSPINE in body part and study
# description (d184), and a sagittal T1 spin echo of which nothing says that it is no spine (d022). Without names the
# three traces whose rows state no b-value (d189 to d191) cannot be told from a b=0 image any more.
FLOOR_WITH_NAMES = {"T1": 43, "T1C": 29, "T2": 27, "FLAIR": 32, "ADC": 10, "TRACE": 6}
FLOOR_WITHOUT_NAMES = {"T1": 43, "T1C": 29, "T2": 27, "FLAIR": 32, "ADC": 10, "TRACE": 3}
FLOOR_BY_VENDOR = {"GE": (29, 29), "Philips": (56, 53), "Siemens": (58, 58), "UIH": (1, 1), "unknown": (3, 3)}
"""With names, without."""

# A fruit under a textbook T1 header that states no body part: its timing is given as what it reads, but headers alone
# do not make it usable.
READ_BUT_NOT_ACCEPTED = {"d053"}


@pytest.fixture(scope="module")
def table(shared_data: Path) -> list[dict[str, str]]:
    return list(rows(shared_data / "dicom" / "series-headers.csv"))


def measured(
    table: list[dict[str, str]], folder: Path, capsys: pytest.CaptureFixture[str], *, blank_names: bool
) -> Score:
    write_rows(table, folder, blank_names=blank_names)
    assert main(["classify", str(folder), "--headers-only", "--json"]) == 0
    found = [one for study in json.loads(capsys.readouterr().out)["studies"] for one in study["series"]]
    assert all(one["evidence"] for one in found)
    answers = {
        Path(one["path"]).name: Answer(contrast=one["contrast"], usable=one["usable"]) for one in found
    }
    return score(table, answers, merged=blank_names)


def test_with_names_97_percent_are_right_and_none_is_wrong(
    table: list[dict[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reached = measured(table, tmp_path, capsys, blank_names=False)
    assert not reached.wrong
    assert reached.share >= 0.97
    assert all(reached.right[truth] >= floor for truth, floor in FLOOR_WITH_NAMES.items()), reached.right
    assert all(reached.right_by_vendor[vendor] >= floor for vendor, (floor, _) in FLOOR_BY_VENDOR.items())
    assert not reached.others_accepted
    assert set(reached.others_named) <= READ_BUT_NOT_ACCEPTED


def test_without_names_95_percent_are_right_and_none_is_wrong(
    table: list[dict[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reached = measured(table, tmp_path, capsys, blank_names=True)
    assert not reached.wrong
    assert reached.share >= 0.95
    assert all(reached.right[truth] >= floor for truth, floor in FLOOR_WITHOUT_NAMES.items()), reached.right
    assert all(reached.right_by_vendor[vendor] >= floor for vendor, (_, floor) in FLOOR_BY_VENDOR.items())
    assert not reached.others_accepted
    assert set(reached.others_named) <= READ_BUT_NOT_ACCEPTED

"""The report: what a radiologist reads in it, that it names no patient, and that others can read it."""

from __future__ import annotations

import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import highdicom as hd
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_rules.derive import encode_report, patient_free, to_part10
from dicom_rules.errors import EncodeError
from tests import peers
from tests.unit.derive.cases import MADE_AT, make_case
from tests.unit.derive.whole import account, whole


def report(**changes: Any) -> Dataset:
    return dcmread(BytesIO(to_part10(whole(**changes)["report"][0])))


@pytest.fixture(scope="module")
def read() -> Dataset:
    return report()


def container(document: Dataset, meaning: str) -> Dataset:
    found: Dataset = next(
        item for item in document.ContentSequence if item.ConceptNameCodeSequence[0].CodeMeaning == meaning
    )
    return found


def sentences(document: Dataset) -> list[str]:
    said = container(document, "Qualitative Evaluations").ContentSequence
    return [f"{item.ConceptNameCodeSequence[0].CodeMeaning}: {item.TextValue}" for item in said]


def test_it_begins_with_the_outcome_and_tells_every_decision_and_every_series(read: Dataset) -> None:
    told = sentences(read)
    assert told[0] == "Conclusion: Synthetic (AI) FLAIR made: 6 objects of 1 series"
    assert "Conclusion: The synthetic FLAIR of revision 1 (series " in told[1]
    assert told[1].endswith(
        "is superseded: a real FLAIR arrived (series 1.2.3.4). Measured against the real series inside the "
        "brain: PSNR 22.12 dB, mean absolute error 0.0456 of the 99.5th percentile. They lie on one grid."
    )
    assert told[2:6] == [
        "Finding: FLAIR: made from T1, T2 (key source T2). FLAIR is missing.",
        "Finding: T1C: refused. A high risk, not enabled.",
        'Finding: Series 1 "T1 SE AX" (6 objects): source T1: Counts as T1. TR and TE say so.',
        'Finding: Series 2 "T2 TSE AX" (6 objects): source T2: Counts as T2. TR and TE say so.',
    ]
    assert told[6] == "Comment: T2 lies 2 mm off."
    assert "not by a physician" in told[7]


def test_the_figures_of_the_made_target_and_of_the_superseded_one_are_numbers(read: Dataset) -> None:
    groups = container(read, "Imaging Measurements").ContentSequence
    numbers = [
        {
            item.ConceptNameCodeSequence[0].CodeMeaning: (
                float(item.MeasuredValueSequence[0].NumericValue),
                item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue,
            )
            for item in group.ContentSequence
            if item.ValueType == "NUM"
        }
        for group in groups
    ]
    assert numbers == [
        {
            "Expected mean absolute error": (0.0512, "1"),
            "Expected dissimilarity (1-SSIM)": (0.11, "1"),
            "Mean half-width of the 90 % interval": (0.2, "1"),
            "Contribution of source T1 (w)": (0.25, "1"),
            "Contribution of source T2 (w)": (0.75, "1"),
        },
        {
            "Measured peak signal-to-noise ratio": (22.123, "dB"),
            "Measured mean absolute error": (0.0456, "1"),
        },
    ]
    said = [item.TextValue for item in groups[0].ContentSequence if item.ValueType == "TEXT"]
    assert said[-1] == "Synthetic (AI), not acquired. The interval and the expected errors are uncalibrated."


def test_the_inventory_holds_every_series_with_its_number_of_objects(read: Dataset) -> None:
    library = container(read, "Image Library").ContentSequence
    found = [
        (
            next(item.UID for item in group.ContentSequence if item.ValueType == "UIDREF"),
            next(
                item.MeasuredValueSequence[0].NumericValue
                for item in group.ContentSequence
                if item.ValueType == "NUM"
            ),
        )
        for group in library
    ]
    assert found == [(series[0].SeriesInstanceUID, 6) for series in make_case().sources.values()]


def test_its_references_are_listed_as_evidence_and_its_predecessor_is_named(read: Dataset) -> None:
    evidence = {
        item.ReferencedSOPInstanceUID
        for study in read.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }

    def named(item: Dataset) -> set[str]:
        own = {one.ReferencedSOPInstanceUID for one in item.get("ReferencedSOPSequence", ())}
        return own.union(*(named(one) for one in item.get("ContentSequence", ())))

    assert named(read) == evidence
    assert len(read.PredecessorDocumentsSequence) == 1


def test_highdicom_reads_it_as_a_measurement_report() -> None:
    document = hd.sr.srread(BytesIO(to_part10(whole()["report"][0])))
    assert isinstance(document, hd.sr.Comprehensive3DSR)
    assert document.content.get_image_measurement_groups()
    assert (document.CompletionFlag, document.VerificationFlag) == ("COMPLETE", "UNVERIFIED")


@pytest.mark.peer
def test_dcmtk_reads_it_without_an_error(tmp_path: Path) -> None:
    (tmp_path / "report.dcm").write_bytes(to_part10(whole()["report"][0]))
    done = subprocess.run(
        [peers.program("dsrdump"), "+Pl", str(tmp_path / "report.dcm")],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    # The one remark is about its own VR checker, which knows no UTF-8.
    assert [line for line in done.stderr.splitlines() if "VR checker" not in line] == []
    assert "Comprehensive 3D SR Document" in done.stdout
    assert "Contribution of source T2 (w)" in done.stdout


def test_what_names_the_patient_is_taken_out_of_the_sentences() -> None:
    told = sentences(
        report(
            header={"PatientName": "Doe^Jane", "PatientID": "4711-0815"},
            notes=("JANE DOE 4711-0815, Janet.",),
        )
    )
    assert "Comment: [removed] [removed] [removed], Janet." in told


def test_words_that_test_objects_bear_as_names_are_left_alone() -> None:
    header = Dataset()
    header.PatientName, header.PatientID = "Phantom^Head", "1"
    assert (
        patient_free("A T1 of the head, a phantom.\n1 slice", header)
        == "A T1 of the head, a phantom. 1 slice"
    )


def test_another_account_never_comes_under_the_same_uid() -> None:
    first = report()
    for changes in ({"words": "other words"}, {"revision": 3}, {"notes": ()}):
        other = report(**changes)
        assert other.SOPInstanceUID != first.SOPInstanceUID, changes
        assert other.SeriesInstanceUID != first.SeriesInstanceUID


def test_a_report_on_nothing_made_says_so_in_its_description_and_needs_no_figures() -> None:
    case = make_case()
    plain = account(
        case,
        case.encode(),
        outcome="Nothing was synthesised: refused",
        words="the T1 series is blank",
        release="Send the series again",
        decisions=(),
        superseded=(),
    )
    document = encode_report(
        plain, patient=case.sources["T1"][0], maker=case.maker, series_number=9014, made_at=MADE_AT
    )
    assert document.SeriesDescription == "SYNTHETIC MR (AI) report: nothing made"
    assert "SyntheticData" not in document
    assert sentences(document)[:2] == [
        "Conclusion: Nothing was synthesised: refused: the T1 series is blank",
        "Recommendation: Send the series again",
    ]


def test_an_account_without_any_series_is_refused() -> None:
    case = make_case()
    with pytest.raises(EncodeError, match="names no series"):
        encode_report(
            account(case, case.encode(), series=()),
            patient=case.sources["T1"][0],
            maker=case.maker,
            series_number=9014,
            made_at=MADE_AT,
        )

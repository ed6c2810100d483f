"""`medk2n classify` and `medk2n plan` on folders as they come: nested, mixed with other files, damaged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

import training.studies.folder
from medk2n_node.cli import main
from tests.unit.dicom_rules.slices import T1_SE, T2_TSE, enhanced, series


def write(images: list[Dataset], folder: Path, suffix: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        image.save_as(folder / f"IM{number:04d}{suffix}", enforce_file_format=True)


def study_of(*stacks: list[Dataset]) -> None:
    """Make several series one study."""
    for stack in stacks:
        for image in stack:
            image.StudyInstanceUID = stacks[0][0].StudyInstanceUID
            image.PatientID = "P1"


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == 0
    captured = capsys.readouterr()
    document: dict[str, Any] = json.loads(captured.out)
    return document


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    t1, t2 = series(attributes=T1_SE, count=8), series(attributes=T2_TSE, count=8)
    study_of(t1, t2)
    write(t1, tmp_path / "dicom" / "a" / "deep")
    write(t2, tmp_path / "dicom" / "b", ".dcm")
    return tmp_path / "dicom"


def test_files_are_found_at_any_depth_and_without_extension(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = ask(capsys, "classify", str(folder))
    (study,) = document["studies"]
    assert {(Path(one["path"]).name, one["contrast"], one["usable"]) for one in study["series"]} == {
        ("deep", "T1", True),
        ("b", "T2", True),
    }
    required = {
        "series_uid",
        "path",
        "description",
        "contrast",
        "kind",
        "plane",
        "confidence",
        "instances",
        "usable",
    }
    assert required | {"evidence"} <= set(study["series"][0])


def test_what_is_no_dicom_is_listed_with_the_reason(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "notes.txt").write_text("not an image")
    (folder / "empty").write_bytes(b"")
    (folder / "a" / "cut.dcm").write_bytes((folder / "b" / "IM0000.dcm").read_bytes()[:200])
    skipped = {
        Path(one["path"]).name: one["reason"] for one in ask(capsys, "classify", str(folder))["skipped"]
    }
    assert skipped["notes.txt"] == "it is no DICOM file"
    assert skipped["empty"] == "the file is empty"
    assert "cut.dcm" in skipped


def test_headers_only_works_on_objects_without_pixels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(series(pixels=False), tmp_path)
    (one,) = ask(capsys, "classify", str(tmp_path), "--headers-only")["studies"][0]["series"]
    assert (one["contrast"], one["usable"]) == ("T2", True)
    (one,) = ask(capsys, "classify", str(tmp_path))["studies"][0]["series"]
    assert (one["usable"], one["unusable_because"]) == (False, "geometry")


def test_an_enhanced_object_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write([enhanced()], tmp_path)
    (one,) = ask(capsys, "classify", str(tmp_path))["studies"][0]["series"]
    assert (one["contrast"], one["instances"]) == ("T1", 1)


def test_blank_pixels_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = series()
    for image in images:
        image.PixelData = bytes(len(image.PixelData))
    write(images, tmp_path)
    (one,) = ask(capsys, "classify", str(tmp_path))["studies"][0]["series"]
    assert (one["contrast"], one["unusable_because"]) == ("T2", "blank_pixels")


def test_a_gap_is_named_in_the_evidence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = series(count=8)
    del images[4]
    write(images, tmp_path)
    (one,) = ask(capsys, "classify", str(tmp_path), "--headers-only")["studies"][0]["series"]
    assert (one["usable"], one["unusable_because"]) == (False, "geometry")
    assert "1 slice is missing" in one["evidence"][-1]


def test_a_sites_override_counts(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "site.toml"
    config.write_text('[[classification.overrides]]\nstation = "^$"\ncontrast = "none"\n', encoding="utf-8")
    document = ask(capsys, "--config", str(config), "classify", str(folder))
    assert {one["contrast"] for one in document["studies"][0]["series"]} == {None}


@pytest.mark.parametrize("name", ["absent", "."])
def test_a_folder_without_dicom_is_bad_input(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["classify", str(tmp_path / name), "--json"]) == 3
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"]["code"] in ("no_such_folder", "no_dicom")
    assert captured.err.startswith("error: ")


def test_people_read_the_reasons(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", str(folder)]) == 0
    assert "makes white matter brighter than grey and CSF dark" in capsys.readouterr().out


def test_the_plan_of_a_folder_is_the_contract(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = ask(capsys, "plan", str(folder))
    assert set(document["present"]) == {"T1", "T2"}
    (flair,) = [one for one in document["targets"] if one["contrast"] == "FLAIR"]
    assert (flair["decision"], flair["sources"]) == ("make", ["T1", "T2"])
    assert document["verdict"]["state"] == "PLANNED"


def test_two_patients_under_one_study_are_held(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = series(attributes=T1_SE)
    for image in other:
        image.PatientID = "P2"
    document = ask(capsys, "classify", str(folder), "--headers-only")
    for image in other:
        image.StudyInstanceUID = document["studies"][0]["study_uid"]
    write(other, folder / "c")
    verdict = ask(capsys, "plan", str(folder))["verdict"]
    assert (verdict["state"], verdict["code"]) == ("HELD", "two_patients")


def test_a_folder_of_two_studies_asks_which(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(series(), folder / "other")
    assert main(["plan", str(folder)]) == 2
    assert "--study" in capsys.readouterr().err


def test_a_study_with_damaged_headers_costs_no_other_one(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = series(attributes=T1_SE, count=8)
    for image in other:
        image.StudyInstanceUID = "1.2.3.4"
    write(other, folder / "other")
    sound = training.studies.folder.classify

    def classify(headers: Any, **options: Any) -> Any:
        if headers[0].StudyInstanceUID == "1.2.3.4":
            raise NotImplementedError(
                "Unknown Value Representation 'ZZ'"
            )  # as pydicom does when it is looked at
        return sound(headers, **options)

    monkeypatch.setattr(training.studies.folder, "classify", classify)
    document = ask(capsys, "classify", str(folder))
    assert len(document["studies"]) == 1
    assert json.dumps(document).count("a study with damaged headers (Unknown Value") == 8
    assert ask(capsys, "plan", str(folder))["series"], "the study that is left needs no --study"


def test_a_folder_of_no_utf_8_name_is_named_in_valid_json(folder: Path, tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/M\xfcller"))
    folder.rename(odd)
    said = subprocess.run(
        [sys.executable, "-m", "medk2n_node", "classify", str(odd), "--json"], check=True, capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
    )  # fmt: skip
    (study,) = json.loads(said.stdout.decode("utf-8"))["studies"]
    assert all(one["path"].startswith(str(odd)) for one in study["series"])

"""What a scan says of DICOM and NIfTI archives, and what it never says: who the patients are."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from dicom_rules.classify import ClassifyRules
from medk2n_node.cli import main
from medk2n_node.config import Config
from medk2n_node.store import Store
from model import ImagingError
from tests.dicom_archive import identity
from tests.objects import EXPLICIT, encoded
from tests.unit.dicom_rules.slices import DWI_EPI, series
from tests.unit.training.small_archive import AFFINE, small_archive, small_head
from training.archive import Inventory, Place, new_salt, read_inventory, scan, write_inventory
from training.archive.inventory import private_file
from training.archive.nifti_tree import named, patient_of
from training.archive.pseudonyms import Pseudonyms, salt_of
from training.archive.volumes import read_row
from training.errors import TrainingError
from training.studies import classify_folder

SALT = bytes(range(32))


def scanned(*folders: Path, salt: bytes = SALT) -> Inventory:
    return scan([Place(folder=folder) for folder in folders], salt=salt)


def volume(
    path: Path, contrast: str = "T1", description: str = "", shape: tuple[int, ...] | None = None
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = small_head(1, contrast).transpose(2, 1, 0) if shape is None else np.zeros(shape, np.uint16)
    image = nibabel.Nifti1Image(array, np.diag([-1.0, -1.0, 1.0, 1.0]) @ AFFINE)
    image.header["descrip"] = description.encode()
    nibabel.save(image, path)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_archive(
        tmp_path_factory.mktemp("hospital") / "Muster_Petra",
        {1: ("T1", "T2", "FLAIR", "T1"), 2: ("T1", "T1C"), 3: ("T2",)},
    )


def test_every_series_is_what_classify_says_it_is(hospital: Path) -> None:
    inventory = scanned(hospital)
    said = classify_folder(hospital, headers_only=False, rules=ClassifyRules())
    names = Pseudonyms(salt=SALT)
    rows = {row.series: row for row in inventory.rows}
    classes = [one for series in said.studies.values() for _, one in series]
    assert len(rows) == len(classes) == 7
    for one in classes:
        row = rows[names.of("series", one.series_uid)]
        assert (row.contrast, row.confidence, row.usable) == (one.contrast, one.confidence, one.usable)
        assert row.reasons


def test_of_two_scans_of_one_contrast_one_counts_and_the_other_says_why_not(hospital: Path) -> None:
    (first,) = [rows for rows in scanned(hospital).studies().values() if len(rows) == 4]
    t1 = [row for row in first if row.contrast == "T1"]
    assert sorted(row.chosen for row in t1) == [False, True] and all(row.usable for row in t1)
    (other,) = [row for row in t1 if not row.chosen]
    assert "preferred" in other.reasons[0]


def test_the_sum_counts_patients_pairs_and_studies_of_one_contrast(hospital: Path) -> None:
    told = scanned(hospital).summary()
    assert (told["patients"], told["studies"], told["series"]) == (3, 3, 7)
    assert (told["patients_for_translation"], told["studies_of_one_contrast"]) == (2, 1)
    assert told["pairs"] == {"T1+FLAIR": 1, "T1+T1C": 1, "T1+T2": 1, "T2+FLAIR": 1}


def test_the_inventory_names_no_patient_no_object_and_no_path(hospital: Path, tmp_path: Path) -> None:
    for file in (hospital / "001").rglob("*.dcm"):
        changed = dcmread(file)
        changed.SeriesDescription = f"{changed.SeriesDescription} Muster"
        changed.save_as(file)
    inventory = scanned(hospital)
    write_inventory(inventory, tmp_path / "inventory.json")
    text = (tmp_path / "inventory.json").read_text()
    for secret in ("Muster", "Petra", "HOSP-", "2.25.", str(tmp_path), "Muster_Petra", ".dcm", SALT.hex()):
        assert secret not in text and secret not in repr(inventory)
    assert private_file(tmp_path / "inventory.json").stat().st_mode & 0o077 == 0
    assert read_inventory(tmp_path / "inventory.json") == inventory


def test_a_salt_gives_the_same_names_again_and_another_salt_gives_others(hospital: Path) -> None:
    once, again, other = scanned(hospital), scanned(hospital), scanned(hospital, salt=new_salt())
    assert once.rows == again.rows
    assert not {row.patient for row in once.rows} & {row.patient for row in other.rows}


def test_the_salt_is_made_once_readable_by_its_owner_alone_and_never_replaced(tmp_path: Path) -> None:
    made = salt_of(tmp_path / "deep" / "salt")
    assert salt_of(tmp_path / "deep" / "salt") == made and len(made) == 32
    assert (tmp_path / "deep" / "salt").stat().st_mode & 0o077 == 0
    (tmp_path / "deep" / "salt").write_text("changed")
    with pytest.raises(TrainingError, match="holds no salt"):
        salt_of(tmp_path / "deep" / "salt")


def test_a_synthetic_series_never_teaches_even_where_the_inventory_says_so(tmp_path: Path) -> None:
    small_archive(tmp_path, {1: ("T1", "T2")})
    before = {row.contrast: row for row in scanned(tmp_path).rows}
    for file in (tmp_path / "001" / "2-T2").glob("*.dcm"):
        changed = dcmread(file)
        changed.SyntheticData = "YES"
        changed.save_as(file)
    rows = {row.contrast: row for row in scanned(tmp_path).rows}
    assert rows["T1"].chosen
    assert (rows[None].because, rows[None].usable, rows[None].chosen) == ("synthetic", False, False)
    with pytest.raises(ImagingError, match="a synthetic image never teaches"):
        read_row(before["T2"], Pseudonyms(salt=SALT))


def test_two_patients_under_one_study_uid_are_not_used(tmp_path: Path) -> None:
    small_archive(tmp_path, {1: ("T1", "T2")})
    for file in (tmp_path / "001" / "2-T2").glob("*.dcm"):
        changed = dcmread(file)
        changed.PatientID = identity(2)["PatientID"]
        changed.save_as(file)
    rows = scanned(tmp_path).rows
    assert [row.because for row in rows] == ["two_patients", "two_patients"]
    assert "2 different patients" in rows[0].reasons[0]


def changed(folder: Path, **values: str | None) -> None:
    """Every object below the folder with other values; None deletes."""
    for file in folder.rglob("*.dcm"):
        header = dcmread(file)
        for keyword, value in values.items():
            if value is None:
                delattr(header, keyword)
            else:
                setattr(header, keyword, value)
        header.save_as(file)


def test_a_patient_is_one_whoever_issued_the_number_and_where_objects_lack_it(tmp_path: Path) -> None:
    for visit in ("a", "b", "c"):
        small_archive(tmp_path / visit, {1: ("T1", "T2")})
        changed(tmp_path / visit, StudyInstanceUID=f"1.2.3.{ord(visit)}")
    for at, file in enumerate(sorted(tmp_path.rglob("*.dcm"))):
        header, visit = dcmread(file), file.relative_to(tmp_path).parts[0]
        header.SOPInstanceUID = f"1.2.5.{at}"
        header.SeriesInstanceUID = f"1.2.4.{ord(visit)}.{file.parent.name[0]}"
        header.save_as(file)
    changed(tmp_path / "b", IssuerOfPatientID="NEW PACS")
    changed(tmp_path / "c" / "001" / "2-T2", PatientID="", IssuerOfPatientID="NEW PACS")
    inventory = scanned(tmp_path)
    assert inventory.summary()["studies_for_translation"] == 3, [row.reasons for row in inventory.rows]
    assert len({row.patient for row in inventory.rows}) == 1
    changed(tmp_path / "c" / "001" / "2-T2", PatientName="Somebody^Else")
    told = scanned(tmp_path / "c").rows
    assert {row.because for row in told} == {"two_patients"}


@pytest.mark.parametrize(
    ("folders", "patients"),
    [
        (("sub-01/ses-1", "sub-01/ses-2", "sub-02/ses-1"), 2),
        (("p01/2024-01-05", "p01/20250105", "p02/2024-03-01"), 2),
        (("p01/anat", "p02/anat", "p03/anat"), 3),
        (("p01/1", "p01/2", "p02/1"), 2),
        (("siteA/images/case1", "siteA/images/case2", "siteB/images/case3"), 3),
        (("01", "02", "03"), 3),
        (("scan1", "scan2"), 2),
        (("train/01", "train/02", "test/03"), 3),
        (("controls/M01", "controls/M02", "cases/scan001"), 3),
        (("GBM/20191234", "GBM/20191235"), 2),
        (("site1/01", "site1/02"), 2),
        (("Utrecht/0/pre", "Utrecht/2/pre"), 2),
    ],
)
def test_visits_below_a_patients_folder_are_of_that_patient(
    tmp_path: Path, folders: tuple[str, ...], patients: int
) -> None:
    for folder in folders:
        volume(tmp_path / folder / "T1.nii.gz")
        volume(tmp_path / folder / "T2.nii.gz")
    summary = scanned(tmp_path).summary()
    assert (summary["patients"], summary["studies_for_translation"]) == (patients, len(folders))


def test_folders_behind_links_count_once_and_a_closed_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_archive(tmp_path / "store", {1: ("T1", "T2"), 2: ("T1", "T2")})
    cohort = tmp_path / "cohort"
    cohort.mkdir()
    for name in ("001", "002"):
        (cohort / name).symlink_to(tmp_path / "store" / name)
    (cohort / "again").symlink_to(cohort)
    assert scanned(cohort).summary()["patients_for_translation"] == 2
    listed = os.scandir

    def closed(folder: Any) -> Any:
        if str(folder).endswith("002"):
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr(os, "scandir", closed)
    inventory = scanned(cohort)
    assert inventory.summary()["patients_for_translation"] == 1
    assert inventory.left_out == {"a folder that cannot be read (Permission denied)": 1}


def test_names_that_are_no_utf_8_come_back_byte_for_byte(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/M\xfcller"))
    small_archive(folder, {1: ("T1", "T2")})
    write_inventory(scanned(folder), tmp_path / "inventory.json")
    files = [file for row in read_inventory(tmp_path / "inventory.json").rows for file in row.files]
    assert files and all(file.is_file() and "\udcfc" in str(file) for file in files)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(1, 3000), flip=st.integers(0, 3000))
def test_a_damaged_file_costs_no_other_study(tmp_path: Path, cut: int, flip: int) -> None:
    whole, hurt = tmp_path / "in" / "whole", tmp_path / "in" / "hurt"
    if not whole.exists():
        small_archive(whole, {1: ("T1", "T2")})
        small_archive(hurt, {2: ("T1", "T2")})
    (tmp_path / "in" / "case").mkdir(exist_ok=True)
    file = next(iter(sorted(hurt.rglob("*.dcm"))))
    sound = file.read_bytes()
    broken = bytearray(sound[:cut])
    if broken:
        broken[flip % len(broken)] ^= 0xFF
    try:
        file.write_bytes(bytes(broken))
        (tmp_path / "in" / "case" / "T1.nii.gz").write_bytes(
            gzip.compress(bytes(400))[:-9] + bytes(broken[:40])
        )
        found = scanned(tmp_path / "in")
    finally:
        file.write_bytes(sound)
    number = Pseudonyms(salt=SALT).of("patient", "id", identity(1)["PatientID"].casefold(), "")
    assert sorted(str(row.contrast) for row in found.rows if row.patient == number and row.chosen) == [
        "T1",
        "T2",
    ]


def test_of_a_whole_series_and_a_part_of_it_the_whole_one_counts(tmp_path: Path) -> None:
    small_archive(tmp_path / "whole", {1: ("T1", "T2")})
    shutil.copytree(tmp_path / "whole", tmp_path / "part")
    (tmp_path / "part" / "001" / "1-T1" / "0005.dcm").unlink()
    for order in (("part", "whole"), ("whole", "part")):
        summary = scanned(*(tmp_path / name for name in order)).summary()
        assert summary["contrasts"] == {"T1": 1, "T2": 1} and not summary["not_used"]


def test_a_missing_slice_is_told_without_the_object_or_its_file(tmp_path: Path) -> None:
    small_archive(tmp_path, {1: ("T1", "T2")})
    (tmp_path / "001" / "1-T1" / "0005.dcm").unlink()
    rows = {row.contrast: row for row in scanned(tmp_path).rows}
    assert (rows["T1"].because, rows["T2"].chosen) == ("geometry", True)
    (sentence,) = [reason for reason in rows["T1"].reasons if "missing" in reason]
    assert "1 slice is missing, the first between instance #" in sentence
    assert ".dcm" not in sentence and "2.25." not in sentence


def test_an_adc_in_the_series_of_its_trace_is_a_row_of_its_own_and_read_as_such(tmp_path: Path) -> None:
    trace = {**DWI_EPI}
    map_ = {**DWI_EPI, "ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC", "ND"], "DiffusionBValue": None}
    mixed = [*series(attributes=trace, count=8), *series(attributes=map_, count=8)]
    for number, image in enumerate(mixed):
        image.StudyInstanceUID, image.SeriesInstanceUID = (
            mixed[0].StudyInstanceUID,
            mixed[0].SeriesInstanceUID,
        )
        image.FrameOfReferenceUID = mixed[0].FrameOfReferenceUID
        image.PatientID = "P1"
        if number >= 8:
            del image.DiffusionBValue
            image.PixelData = (np.frombuffer(image.PixelData, np.uint16) + 5).tobytes()
        image.save_as(tmp_path / f"{number:02d}.dcm", enforce_file_format=True)
    rows = {row.contrast: row for row in scanned(tmp_path).rows}
    assert set(rows) == {"DWI", "ADC"} and all(row.chosen for row in rows.values())
    assert rows["DWI"].series != rows["ADC"].series and rows["DWI"].study == rows["ADC"].study
    images = {contrast: read_row(row, Pseudonyms(salt=SALT)).array for contrast, row in rows.items()}
    assert np.array_equal(images["ADC"], images["DWI"] + 5) and images["DWI"].shape[0] == 8


@pytest.mark.parametrize(
    ("name", "study", "part", "contrast", "patient"),
    [
        ("BraTS-GLI-00001-000-t1n.nii.gz", "BraTS-GLI-00001-000", "image", "T1", "BraTS-GLI-00001"),
        ("BraTS-GLI-00001-001-t2f.nii.gz", "BraTS-GLI-00001-001", "image", "FLAIR", "BraTS-GLI-00001"),
        ("BraTS-MET-00110-000-seg.nii.gz", "BraTS-MET-00110-000", "lesion", None, "BraTS-MET-00110"),
        ("BraTS20_Training_001_t1ce.nii", "BraTS20_Training_001", "image", "T1C", "BraTS20_Training_001"),
        ("Brats18_CBICA_AAB_1_flair.nii.gz", "Brats18_CBICA_AAB_1", "image", "FLAIR", "Brats18_CBICA_AAB_1"),
        (
            "sub-strokecase0001_ses-0001_dwi.nii.gz",
            "sub-strokecase0001_ses-0001",
            "image",
            "DWI",
            "sub-strokecase0001",
        ),
        (
            "sub-strokecase0001_ses-0001_msk.nii.gz",
            "sub-strokecase0001_ses-0001",
            "lesion",
            None,
            "sub-strokecase0001",
        ),
        ("sub-07_ce-gadolinium_T1w.nii.gz", "sub-07", "image", "T1C", "sub-07"),
        ("T1C.nii.gz", "", "image", "T1C", ""),
        ("brain.nii.gz", "", "mask", None, ""),
        ("localizer.nii.gz", "", "image", None, ""),
    ],
)
def test_names_of_published_archives(
    name: str, study: str, part: str, contrast: str | None, patient: str
) -> None:
    said = named(Path(name))
    assert (said.study, said.part, said.contrast) == (study, part, contrast)
    assert patient_of(said.study) == patient


def test_visits_and_unregistered_copies_are_of_one_patient_and_scattered_files_of_one_study(
    tmp_path: Path,
) -> None:
    for visit in ("000", "001"):
        for ending in ("t1n", "t2f", "seg"):
            volume(tmp_path / f"BraTS-GLI-00001-{visit}" / f"BraTS-GLI-00001-{visit}-{ending}.nii.gz")
    base = tmp_path / "isles"
    for folder, ending in (("dwi", "dwi"), ("dwi", "adc"), ("anat", "flair")):
        volume(base / "rawdata" / "sub-1" / folder / f"sub-1_ses-1_{ending}.nii.gz")
    volume(base / "derivatives" / "sub-1" / "sub-1_ses-1_msk.nii.gz")
    for copy in ("head7", "head7_raw"):
        volume(tmp_path / "own" / copy / "T1.nii.gz")
        volume(tmp_path / "own" / copy / "T2.nii.gz")
    studies = scanned(tmp_path).studies()
    shown = sorted(
        (sorted(str(row.contrast or row.part) for row in rows if row.usable), patient)
        for (patient, _), rows in studies.items()
    )
    assert [contrasts for contrasts, _ in shown] == [
        ["ADC", "DWI", "FLAIR", "lesion"],
        ["FLAIR", "T1", "lesion"],
        ["FLAIR", "T1", "lesion"],
        ["T1", "T2"],
        ["T1", "T2"],
    ]
    patients = [patient for _, patient in shown]
    assert patients[1] == patients[2] and patients[3] == patients[4] and len(set(patients)) == 3


def test_what_is_no_volume_is_synthetic_or_there_already_says_so(tmp_path: Path) -> None:
    volume(tmp_path / "case" / "T1.nii.gz", shape=(8, 8, 8, 3))
    volume(tmp_path / "case" / "T2.nii.gz", description="SYNTHETIC T2, research only")
    volume(tmp_path / "case" / "FLAIR.nii.gz", shape=(8, 8, 1))
    volume(tmp_path / "case" / "other.nii.gz")
    volume(tmp_path / "case" / "ADC.nii")
    volume(tmp_path / "case" / "ADC.nii.gz")
    (tmp_path / "case" / "DWI.nii.gz").write_bytes(b"no image")
    because = {(row.contrast, row.because) for row in scanned(tmp_path).rows}
    assert because == {
        ("T1", "geometry"), ("T2", "synthetic"), ("FLAIR", "geometry"), (None, "no_contrast"), ("ADC", None),
        ("ADC", "second_file"), ("DWI", "unreadable"),
    }  # fmt: skip


def test_folders_of_one_name_at_two_sites_stay_apart_and_a_folder_named_twice_counts_once(
    tmp_path: Path,
) -> None:
    for site in ("north", "south"):
        volume(tmp_path / site / "images" / "case1" / "T1.nii.gz")
        volume(tmp_path / site / "images" / "case1" / "T2.nii.gz")
    places = [Place(folder=tmp_path / site / "images") for site in ("north", "south")]
    assert scan(places, salt=SALT).summary()["studies_for_translation"] == 2
    dicom = small_archive(tmp_path / "dicom", {1: ("T1", "T2")})
    told = scan([Place(folder=dicom, site="a"), Place(folder=dicom, site="b")], salt=SALT).summary()
    assert (told["series"], told["sites"]) == (2, {"a": 1})


def test_progress_runs_to_its_end_whatever_the_files_are(hospital: Path, tmp_path: Path) -> None:
    small_archive(tmp_path / "in", {1: ("T1", "T2")})
    volume(tmp_path / "in" / "case" / "T1.nii.gz")
    (tmp_path / "in" / "notes.txt").write_text("nothing")
    told: list[tuple[int, int]] = []
    scan(
        [Place(folder=tmp_path / "in")],
        salt=SALT,
        progress=lambda stage, done, total: told.append((done, total)),
    )
    assert told == sorted(told) and told[-1] == (43, 43) and told[0][0] == 1


def test_a_place_without_images_and_a_damaged_inventory_are_refused(hospital: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("nothing")
    with pytest.raises(TrainingError, match="among 1 files"):
        scanned(tmp_path / "empty")
    with pytest.raises(TrainingError, match="does not exist"):
        scanned(tmp_path / "absent")
    file = tmp_path / "inventory.json"
    write_inventory(scanned(hospital), file)
    private_file(file).unlink()
    with pytest.raises(TrainingError, match=r"inventory.private.json beside it"):
        read_inventory(file)


def test_the_command_writes_an_inventory_and_keeps_its_salt_when_it_runs_again(
    hospital: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "inventory.json"
    arguments = ["train", "scan", str(hospital), "--site", "north", "--out", str(file)]
    assert main([*arguments, "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first == json.loads(file.read_text())
    assert first["summary"]["sites"] == {"north": 3}
    assert main([*arguments, "--series"]) == 0
    shown = capsys.readouterr().out
    assert "3 patients, 3 studies, 7 series" in shown and "Counts as T1C." in shown
    assert json.loads(file.read_text()) == first


def test_what_the_node_has_received_is_scanned_beside_folders(
    hospital: Path, node_config: Config, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small_archive(tmp_path / "sent", {7: ("T1", "T2")})
    for path in (tmp_path / "sent").rglob("*.dcm"):
        data = dcmread(path)
        store.put(
            encoded(data),
            sop_class=data.SOPClassUID,
            sop_uid=data.SOPInstanceUID,
            transfer_syntax=EXPLICIT,
            calling_ae="SCANNER",
        )
    config = tmp_path / "node.toml"
    node = node_config.node
    config.write_text(f'[node]\nstorage = "{node.storage}"\ndatabase = "{node.database}"\n')
    arguments = [
        "--config",
        str(config),
        "train",
        "scan",
        str(hospital),
        "--received",
        "--site",
        "pacs",
        "--site",
        "node",
    ]
    assert main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["summary"]["sites"] == {"node": 1, "pacs": 3}
    assert {row["contrast"] for row in told["series"] if row["site"] == "node"} == {"T1", "T2"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["x", "--pull", "PACS"], 2, "the PACS and the folder for what it sends belong together"),
        (["--pull", "PACS", "--into", "y"], 2, "neither a destination of the configuration"),
        ([], 2, "no folder was named"),
        (["a", "b", "c", "--site", "n", "--site", "s"], 2, "2 names for 3 places"),
        (["/nowhere"], 3, "it does not exist"),
    ],
)
def test_the_command_refuses_what_it_cannot_do(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "scan", *arguments]) == code
    assert words in capsys.readouterr().err


def test_a_mistyped_salt_or_inventory_is_refused_and_leaves_nothing_behind(
    hospital: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "scan", str(hospital), "--salt", str(tmp_path / "typo")]) == 3
    assert "a new salt would call every patient by a new name" in capsys.readouterr().err
    assert main(["train", "prepare", str(tmp_path / "typo.json"), str(tmp_path / "out")]) == 3
    assert "it does not exist" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_to_is_named(
    hospital: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["train", "scan", str(hospital), "--out", str(tmp_path / "file" / "inventory.json")]) == 1
    said = capsys.readouterr().err
    assert f"error: {tmp_path / 'file'}" in said and "Name a folder; a part of this path is a file." in said

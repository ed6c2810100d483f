"""A prepared archive on disk: whole or taken up again, its sides frozen, all that was left out shown with a reason."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image as Picture

from medk2n_node.cli import main
from model import CONTRASTS, Image, synthesis
from tests.unit.training.cases import head_case
from tests.unit.training.small_archive import (
    AFFINE,
    quick_brain_mask,
    quick_register,
    small_archive,
    small_head,
)
from training.archive import (
    SPLITS,
    Archive,
    Place,
    Shares,
    building,
    load_case,
    open_archive,
    prepare_archive,
    prepare_images,
    salt_of,
    save_case,
    scan,
)
from training.errors import TrainingError

pytestmark = pytest.mark.usefixtures("quick_preprocessing")
REPOSITORY = Path(__file__).resolve().parents[3]


def prepared(source: Path, out: Path, **options: Any) -> Archive:
    return prepare_archive(scan([Place(folder=source)], salt=salt_of(out / "salt")), out, **options)


def nifti_case(folder: Path, number: int, contrasts: Sequence[str], **other: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ AFFINE
    for contrast in contrasts:
        array = small_head(number, contrast).transpose(2, 1, 0)
        nibabel.save(nibabel.Nifti1Image(array, affine), folder / f"{contrast}.nii.gz")
    for name, (array, its_affine) in other.items():
        nibabel.save(nibabel.Nifti1Image(array, its_affine), folder / f"{name}.nii.gz")


def stamps(out: Path) -> dict[str, int]:
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in (out / "cases").rglob("*.npy")}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    patients: dict[int, Sequence[str]] = {
        1: ("T1", "T2", "FLAIR"),
        2: ("T1", "T2"),
        3: ("T1", "FLAIR"),
        4: ("T2",),
    }
    return small_archive(tmp_path_factory.mktemp("source"), patients)


def test_studies_with_missing_contrasts_are_used_and_one_contrast_alone_is_listed(
    source: Path, tmp_path: Path
) -> None:
    archive = prepared(source, tmp_path / "out")
    found = sorted(tuple(case.contrasts) for side in SPLITS for case in archive.cases(side))
    assert found == [("T1", "FLAIR"), ("T1", "T2"), ("T1", "T2", "FLAIR")]
    (left_out,) = archive.manifest["excluded"]
    assert left_out["code"] == "one_contrast" and "only T2" in left_out["reason"]
    assert {side: len(archive.patients(side)) for side in SPLITS} == {
        "training": 2,
        "validation": 1,
        "calibration": 0,
    }


def test_cases_are_mapped_into_memory_normalised_and_know_patient_and_site(
    source: Path, tmp_path: Path
) -> None:
    inventory = scan([Place(folder=source, site="north")], salt=salt_of(tmp_path / "out" / "salt"))
    archive = prepare_archive(inventory, tmp_path / "out")
    assert archive.sites == ("unknown", "north")
    for case in archive.cases("training"):
        assert all(
            isinstance(array, np.memmap) and array.dtype == np.float16 for array in case.contrasts.values()
        )
        for array in case.contrasts.values():
            inside = np.asarray(array, np.float32)[case.brain]
            assert np.percentile(inside, 99.5) == pytest.approx(1.0, abs=0.01)
        assert case.patient in archive.patients("training") and archive.site_number(case) == 1


def test_a_folder_and_a_file_hold_the_same_case(tmp_path: Path) -> None:
    case = head_case("one", ("T1", "FLAIR"), 0.8)
    for path in (tmp_path / "one", tmp_path / "one.npz"):
        save_case(case, path)
        back = load_case(path)
        assert (back.name, back.quantiles, back.spacing) == (case.name, case.quantiles, case.spacing)
        assert all(np.array_equal(back.contrasts[name], case.contrasts[name]) for name in case.contrasts)
        assert np.array_equal(back.brain, case.brain) and back.patient_key == "one"


def test_nothing_on_disk_names_a_patient(source: Path, tmp_path: Path) -> None:
    prepared(source, tmp_path / "out")
    for path in (tmp_path / "out").rglob("*"):
        for secret in (b"Muster", b"HOSP-", b"2.25.", str(source).encode()):
            assert secret not in str(path.relative_to(tmp_path)).encode()
            assert not path.is_file() or secret not in path.read_bytes()
    assert (tmp_path / "out" / "salt").stat().st_mode & 0o077 == 0


def test_the_manifest_holds_the_digest_of_every_file_and_finds_a_changed_byte(
    source: Path, tmp_path: Path
) -> None:
    archive = prepared(source, tmp_path / "out")
    archive.verify()
    named = {
        tmp_path / "out" / "cases" / case / file: facts["sha256"]
        for case, one in archive.manifest["cases"].items()
        for file, facts in one["files"].items()
    }
    assert set(named) == {path for path in (tmp_path / "out" / "cases").rglob("*") if path.is_file()}
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == digest for path, digest in named.items())
    victim = sorted(path for path in named if path.suffix == ".npy")[0]
    changed = bytearray(victim.read_bytes())
    changed[-1] ^= 1
    victim.write_bytes(changed)
    with pytest.raises(TrainingError, match=victim.name):
        open_archive(tmp_path / "out").verify()
    victim.unlink()
    with pytest.raises(TrainingError, match="not the file that the manifest names"):
        open_archive(tmp_path / "out")


def test_new_patients_are_added_nobody_changes_sides_and_no_case_is_made_again(
    source: Path, tmp_path: Path
) -> None:
    first = prepared(source, tmp_path / "out")
    before, sides = stamps(tmp_path / "out"), dict(first.splits.of)
    small_archive(tmp_path / "more", dict.fromkeys(range(5, 9), ("T1", "T2")))
    second = prepared(tmp_path / "more", tmp_path / "out")
    assert len(second.splits.of) == len(sides) + 4
    assert all(second.splits.of[patient] == side for patient, side in sides.items())
    after = stamps(tmp_path / "out")
    assert all(after[path] == stamp for path, stamp in before.items())
    assert second.fingerprint != first.fingerprint


def test_the_same_archive_prepared_twice_has_the_same_fingerprint(source: Path, tmp_path: Path) -> None:
    once = prepared(source, tmp_path / "once")
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "salt").write_text((tmp_path / "once" / "salt").read_text())
    assert prepared(source, tmp_path / "again").fingerprint == once.fingerprint


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
import training.archive.prepare as prepare
from tests.unit.training.small_archive import quick_brain_mask, quick_register
from training.archive import Place, prepare_archive, salt_of, scan

prepare.brain_mask, prepare.register = quick_brain_mask, quick_register
source, out, when = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
saved, count = np.save, 0

def save(*arguments):
    global count
    count += 1
    if count == when:
        os.kill(os.getpid(), signal.SIGKILL)
    saved(*arguments)

np.save = save
prepare_archive(scan([Place(folder=source)], salt=salt_of(out / "salt")), out)
"""


def test_a_preparation_killed_in_the_middle_is_taken_up_where_it_was(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(source), str(out), "7"],
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()[-2000:]
    finished = stamps(out)
    assert len([path for path in (out / "cases").iterdir() if not path.name.startswith(".")]) == 1
    assert list((out / "cases").glob(".*.part"))
    with pytest.raises(TrainingError, match="no prepared archive"):
        open_archive(out)
    archive = prepared(source, out)
    whole = {path: stamp for path, stamp in finished.items() if "/." not in path}
    assert whole and all(stamps(out)[path] == stamp for path, stamp in whole.items())
    assert not list((out / "cases").glob(".*.part"))
    archive.verify()
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "salt").write_text((out / "salt").read_text())
    assert prepared(source, tmp_path / "whole").fingerprint == archive.fingerprint


def test_a_series_that_does_not_register_is_left_out_with_a_picture_and_the_rest_is_kept(
    tmp_path: Path,
) -> None:
    far = np.diag([-1.0, -1.0, 1.0, 1.0]) @ AFFINE
    far[:3, 3] += 300
    astray = small_head(1, "FLAIR").transpose(2, 1, 0)
    nifti_case(tmp_path / "in" / "case", 1, ("T1", "T2"), FLAIR=(astray, far))
    archive = prepared(tmp_path / "in", tmp_path / "out")
    (case,) = archive.cases("training")
    assert tuple(case.contrasts) == ("T1", "T2")
    (note,) = archive.manifest["excluded"]
    assert (note["contrast"], note["code"]) == ("FLAIR", "registration") and "elsewhere" in note["reason"]
    shown = np.asarray(Picture.open(tmp_path / "out" / "excluded" / note["picture"]).convert("L"))
    assert shown.shape[0] > 300 and shown.std() > 20


def test_a_blank_series_and_a_copy_of_another_are_left_out(tmp_path: Path) -> None:
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ AFFINE
    blank = np.full(small_head(1, "T2").transpose(2, 1, 0).shape, 7, np.uint16)
    copy = small_head(1, "T1").transpose(2, 1, 0)
    nifti_case(tmp_path / "in" / "case", 1, ("T1", "T2"), FLAIR=(blank, affine), T1C=(copy, affine))
    archive = prepared(tmp_path / "in", tmp_path / "out")
    (case,) = archive.cases("training")
    assert tuple(case.contrasts) == ("T1", "T2")
    told = {note["contrast"]: (note["code"], bool(note["picture"])) for note in archive.manifest["excluded"]}
    assert told == {"FLAIR": ("blank", True), "T1C": ("copy", True)}


def test_a_study_on_which_a_library_fails_is_listed_and_tried_again_and_the_others_are_made(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = building.prepare_images

    def odd(images: Any, **options: Any) -> Any:
        if set(images) == {"T1", "FLAIR"}:
            raise RuntimeError("Petra Muster's image is odd")
        return real(images, **options)

    monkeypatch.setattr(building, "prepare_images", odd)
    archive = prepared(source, tmp_path / "out")
    assert len(archive.manifest["cases"]) == 2
    (note,) = [one for one in archive.manifest["excluded"] if one["code"] == "failed"]
    assert "RuntimeError in test_archive_prepare.py:" in note["reason"] and "Petra" not in note["reason"]
    monkeypatch.setattr(building, "prepare_images", real)
    archive = prepared(source, tmp_path / "out")
    assert len(archive.manifest["cases"]) == 3
    assert [one["code"] for one in archive.manifest["excluded"]] == ["one_contrast"]


class Seen(Exception):
    """Carries what the node was about to hand to the network."""


@pytest.mark.parametrize("contrasts", [("T1", "T2", "FLAIR"), ("T2", "FLAIR"), ("T2", "ADC")])
def test_training_sees_to_the_bit_what_the_node_hands_to_the_network(
    contrasts: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = {}
    for number, contrast in enumerate(contrasts):
        affine = AFFINE.copy()
        affine[:3, 3] += number * 1.3  # every series on a grid of its own
        affine[0, 0] = affine[1, 1] = 1.25 + 0.4 * number
        images[contrast] = Image(array=small_head(1, contrast).astype(np.float32), affine=affine)
    case = prepare_images(images, name="one").case
    assert case is not None

    def stop(bundle: object, stack: object, *rest: object, **options: object) -> None:
        raise Seen(stack)

    monkeypatch.setattr(synthesis, "brain_mask", quick_brain_mask)
    monkeypatch.setattr(synthesis, "register", quick_register)
    monkeypatch.setattr(synthesis, "decode", stop)
    table = {one: dict.fromkeys(CONTRASTS, 0.0) for one in CONTRASTS}
    network = SimpleNamespace(config=SimpleNamespace(sites=("unknown",)))
    bundle: Any = SimpleNamespace(contrasts=CONTRASTS, key_preference=table, network=network)
    with pytest.raises(Seen) as caught:
        synthesis.synthesize(images, ("T1C",), bundle, reference=MASK_ORDER_FIRST[contrasts])
    stack = caught.value.args[0]
    assert set(stack.arrays) == set(case.contrasts) == set(contrasts)
    for contrast in contrasts:
        assert np.array_equal(stack.arrays[contrast].astype(np.float16), case.contrasts[contrast])
    assert np.array_equal(stack.brain, case.brain)
    levels = [case.level_features(contrast) for contrast in CONTRASTS if contrast in contrasts]
    assert np.allclose(stack.levels.numpy(), levels, atol=1e-6)


MASK_ORDER_FIRST = {("T1", "T2", "FLAIR"): "T1", ("T2", "FLAIR"): "FLAIR", ("T2", "ADC"): "T2"}


def test_a_lesion_comes_along_on_the_grid_of_the_case(tmp_path: Path) -> None:
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ AFFINE
    lesion = np.zeros(small_head(1, "T1").transpose(2, 1, 0).shape, np.uint8)
    lesion[18:22, 20:26, 4:6] = 1
    nifti_case(tmp_path / "in" / "case", 1, ("T1", "T2"), lesion=(lesion, affine))
    (case,) = prepared(tmp_path / "in", tmp_path / "out").cases("training")
    assert case.lesion.sum() == lesion.sum() and case.brain[case.lesion].all()


def test_a_study_of_which_one_contrast_is_left_is_listed_and_not_tried_again(tmp_path: Path) -> None:
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ AFFINE
    blank = np.zeros(small_head(1, "T2").transpose(2, 1, 0).shape, np.uint16)
    nifti_case(tmp_path / "in" / "spoilt", 1, ("T1",), T2=(blank, affine))
    nifti_case(tmp_path / "in" / "good", 2, ("T1", "T2"))
    first = prepared(tmp_path / "in", tmp_path / "out")
    assert [note["code"] for note in first.manifest["excluded"]] == ["blank", "one_contrast"]
    notes = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "excluded").iterdir()}
    again = prepared(tmp_path / "in", tmp_path / "out")
    assert again.manifest["excluded"] == first.manifest["excluded"]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "excluded").iterdir()} == notes


def test_an_inventory_of_another_salt_and_other_shares_are_refused(source: Path, tmp_path: Path) -> None:
    prepared(source, tmp_path / "out")
    with pytest.raises(TrainingError, match="another salt"):
        prepare_archive(scan([Place(folder=source)], salt=bytes(32)), tmp_path / "out")
    with pytest.raises(TrainingError, match="frozen with other shares"):
        prepared(source, tmp_path / "out", shares=Shares(training=0.5, validation=0.5, calibration=0.0))


def test_a_damaged_case_is_named(source: Path, tmp_path: Path) -> None:
    archive = prepared(source, tmp_path / "out")
    folder = tmp_path / "out" / "cases" / archive.names("training")[0]
    (folder / "case.json").write_text("{")
    with pytest.raises(TrainingError, match=f"case {folder.name}"):
        load_case(folder)


def test_what_is_not_whole_is_made_anew(source: Path, tmp_path: Path) -> None:
    archive = prepared(source, tmp_path / "out")
    short, gone, empty = (tmp_path / "out" / "cases" / name for name in sorted(archive.manifest["cases"]))
    with (short / "T1.npy").open("r+b") as handle:
        handle.truncate(1000)
    (gone / "brain.npy").unlink()
    (empty / "case.json").write_text("")
    (tmp_path / "out" / "cases" / ".DS_Store").touch()
    with pytest.raises(TrainingError, match="prepare` again"):
        open_archive(tmp_path / "out")
    again = prepared(source, tmp_path / "out")
    again.verify()
    assert again.fingerprint == archive.fingerprint


def test_a_study_that_is_known_under_another_name_is_not_taken_in_twice(source: Path, tmp_path: Path) -> None:
    archive = prepared(source, tmp_path / "out")
    inventory = scan([Place(folder=source)], salt=salt_of(tmp_path / "out" / "salt"))
    renamed = [replace(row, patient=row.patient[::-1]) for row in inventory.rows]
    with pytest.raises(TrainingError, match="named in another way"):
        prepare_archive(replace(inventory, rows=tuple(renamed)), tmp_path / "out")
    assert open_archive(tmp_path / "out").fingerprint == archive.fingerprint


def test_lost_splits_are_not_made_anew(source: Path, tmp_path: Path) -> None:
    prepared(source, tmp_path / "out")
    (tmp_path / "out" / "splits.json").unlink()
    with pytest.raises(TrainingError, match="its frozen splits are gone"):
        prepared(source, tmp_path / "out")
    assert not (tmp_path / "out" / "splits.json").exists()


def test_what_is_no_number_is_nothing_measured(tmp_path: Path) -> None:
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ AFFINE
    t2 = small_head(1, "T2").transpose(2, 1, 0).astype(np.float32)
    t2[t2 == 0] = np.nan
    t2[20, 24, 5] = np.inf
    nifti_case(tmp_path / "in" / "case", 1, ("T1",), T2=(t2, affine))
    (case,) = prepared(tmp_path / "in", tmp_path / "out").cases("training")
    assert set(case.contrasts) == {"T1", "T2"}
    assert all(np.isfinite(np.asarray(array, np.float32)).all() for array in case.contrasts.values())


def test_a_file_whose_checksum_is_wrong_is_not_learned_from(tmp_path: Path) -> None:
    nifti_case(tmp_path / "in" / "case", 1, ("T1", "T2", "FLAIR"))
    file = tmp_path / "in" / "case" / "T2.nii.gz"
    hurt = bytearray(file.read_bytes())
    hurt[-6] ^= 0x10  # in the CRC-32 at the end: every byte of the image can still be read
    file.write_bytes(bytes(hurt))
    archive = prepared(tmp_path / "in", tmp_path / "out")
    (case,) = archive.cases("training")
    assert tuple(case.contrasts) == ("T1", "FLAIR")
    (note,) = archive.manifest["excluded"]
    assert (note["contrast"], note["code"]) == ("T2", "unreadable")


def test_a_lesion_drawn_on_a_series_that_was_refused_is_left_out_with_it(tmp_path: Path) -> None:
    far = np.diag([-1.0, -1.0, 1.0, 1.0]) @ AFFINE
    far[:3, 3] += 300
    astray = small_head(1, "FLAIR").transpose(2, 1, 0)
    lesion = np.zeros(astray.shape, np.uint8)
    lesion[18:22, 20:26, 4:6] = 1
    nifti_case(tmp_path / "in" / "case", 1, ("T1", "T2"), FLAIR=(astray, far), lesion=(lesion, far))
    archive = prepared(tmp_path / "in", tmp_path / "out")
    (case,) = archive.cases("training")
    assert not case.lesion.any()
    assert {note["contrast"]: note["code"] for note in archive.manifest["excluded"]} == {
        "FLAIR": "registration", "lesion": "drawn_elsewhere",
    }  # fmt: skip


def test_too_little_is_refused_in_numbers(tmp_path: Path) -> None:
    small_archive(tmp_path / "in", {1: ("T1", "T2"), 2: ("T1", "FLAIR"), 3: ("T2",)})
    archive = prepared(tmp_path / "in", tmp_path / "out")
    with pytest.raises(TrainingError) as refused:
        archive.refuse_if_too_small()
    words = str(refused.value)
    assert "2 patients with two contrasts or more (2 training, 0 validation, 0 calibration)" in words
    assert "4 pairs of contrasts" in words and "T1>T2" in words and "1 more to validate on" in words
    small_archive(tmp_path / "in", {3: ("T1", "T2"), 4: ("T1", "FLAIR")})
    prepared(tmp_path / "in", tmp_path / "out").refuse_if_too_small()


def test_training_and_validation_without_a_pair_in_common_are_refused(tmp_path: Path) -> None:
    small_archive(tmp_path / "in", {1: ("T1", "T2"), 2: ("T1", "T2")})
    prepared(tmp_path / "in", tmp_path / "out")
    small_archive(tmp_path / "in", {3: ("FLAIR", "T1C")})
    archive = prepared(tmp_path / "in", tmp_path / "out")
    with pytest.raises(
        TrainingError, match="a pair of contrasts in both: training has T1>T2, T2>T1, validation"
    ):
        archive.refuse_if_too_small()


def test_nothing_to_prepare_is_an_error_that_says_why(tmp_path: Path) -> None:
    small_archive(tmp_path / "in", {1: ("T1",)})
    with pytest.raises(TrainingError, match="The study shows only T1"):
        prepared(tmp_path / "in", tmp_path / "out")
    with pytest.raises(TrainingError, match="no manifest.json"):
        open_archive(tmp_path / "in")


def test_the_command_prepares_a_folder_or_an_inventory_and_says_what_is_lacking(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "prepare", str(source), str(tmp_path / "out"), "--site", "north", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["enough"] and told["patients"] == {"training": 2, "validation": 1, "calibration": 0}
    assert told["sites"] == ["unknown", "north"] and len(told["excluded"]) == 1
    inventory = str(tmp_path / "inventory.json")
    assert (
        main(["train", "scan", str(source / "001"), str(source / "002"), "--out", inventory, "--json"]) == 0
    )
    capsys.readouterr()
    assert main(["train", "prepare", inventory, str(tmp_path / "two"), "--shares", "0.5,0.25,0.25"]) == 0
    shown = capsys.readouterr().out
    assert "Not enough to train on: it holds 2 patients" in shown and "T1 T2 FLAIR" in shown
    assert main(["train", "prepare", inventory, str(tmp_path / "out"), "--json"]) == 3
    assert "--salt" in json.loads(capsys.readouterr().out)["error"]["cure"]
    assert main(["train", "prepare", inventory, str(tmp_path / "two"), "--shares", "a,b"]) == 2

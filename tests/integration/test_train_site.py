"""One command from a folder of DICOM studies to a model that may be put into service."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import training.site
from medk2n_node.cli.app import main
from medk2n_node.config import load_config
from medk2n_node.models import ModelService
from model import verify_bundle
from tests.dicom_archive import phantom_archive
from training.errors import TrainingError
from training.site import Schedule

SHORT = Schedule(steps=2, minutes=None, batch=2, slices=1, every=100, all_patterns=False)
Call = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """`medk2n ... --json` with a storage of its own and a training of two steps."""
    monkeypatch.setenv("MEDK2N__NODE__STORAGE", str(tmp_path / "storage"))
    monkeypatch.setattr(training.site, "SMOKE", replace(SHORT, folder="smoke"))
    monkeypatch.setattr(training.site, "FULL", replace(SHORT, steps=3))

    def call(*arguments: object) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = main([*map(str, arguments), "--json"])
        return code, json.loads(capsys.readouterr().out)

    return call


@pytest.mark.slow
def test_a_dicom_archive_becomes_a_report_and_a_bundle_that_may_be_promoted(
    run: Call, tmp_path: Path
) -> None:
    source = phantom_archive(tmp_path / "archive", patients=3, contrasts=("T1", "T2"))
    code, offer = run("train", "site", source, "--smoke")
    assert code == 0
    places = {name: Path(place) for name, place in offer["places"].items()}
    assert places["bundle"] == tmp_path / "storage" / "training" / "archive" / "smoke" / "bundle"
    assert all(place.exists() for place in places.values()), "it says where everything lies"
    page = places["report"].read_text()
    assert "challenger" in page and "in force" in page and "<img" in page
    assert "Muster" not in page and "HOSP-" not in page, "no patient in the report"
    facts = verify_bundle(places["bundle"])
    assert facts.digest == offer["digest"]
    assert facts.manifest["calibration"]["entries"] and "## Calibration" in facts.card
    assert all(entry["factor"] is None for entry in facts.manifest["calibration"]["entries"])
    assert "promotable" in offer and {one["target"] for one in offer["comparison"]["targets"]} == {"T1", "T2"}

    before = {p: p.stat().st_mtime_ns for p in (places["archive"] / "cases").rglob("*.npy")}
    code, again = run("train", "site", source, "--smoke")
    assert code == 0
    assert before == {p: p.stat().st_mtime_ns for p in (places["archive"] / "cases").rglob("*.npy")}
    assert again["fitted"]["steps"] == 2, "a finished training is not repeated"
    assert again["comparison"]["champion"] == offer["comparison"]["champion"]

    out = places["bundle"].parent
    code, document = run("train", "promote", out, "--every", "100", "--override", "--reason", "a test")
    assert code == 0 and document["changed"]
    service = ModelService(load_config(None, {"MEDK2N__NODE__STORAGE": str(tmp_path / "storage")}))
    assert service().digest == again["digest"] == document["challenger"]


def sides(places: dict[str, str]) -> dict[str, str]:
    """patient -> split of a prepared archive."""
    found = json.loads((Path(places["archive"]) / "splits.json").read_text())["patients"]
    assert isinstance(found, dict)
    return found


@pytest.mark.slow
def test_after_a_smoke_run_and_after_new_studies_it_trains_and_nobody_changes_sides(
    run: Call, tmp_path: Path
) -> None:
    source = phantom_archive(tmp_path / "archive", patients=3, contrasts=("T1", "T2"))
    code, smoke = run("train", "site", source, "--smoke")
    assert code == 0 and smoke["fitted"]["planned"] == 2
    code, first = run("train", "site", source)
    assert code == 0 and first["fitted"]["steps"] == first["fitted"]["planned"] == 3, (
        "the smoke run is no training"
    )
    assert first["digest"] != smoke["digest"] and Path(smoke["places"]["bundle"]).is_dir()
    before = sides(first["places"])

    phantom_archive(source, patients=1, first=4, contrasts=("T1", "T2"))
    code, second = run("train", "site", source)
    assert code == 0, second
    after = sides(second["places"])
    assert len(after) == 4 and before.items() <= after.items()
    assert second["digest"] != first["digest"]
    earlier = Path(second["places"]["earlier"])
    assert verify_bundle(earlier / "bundle").digest == first["digest"], "what was made before is kept"
    # As after a kill between the end of the training and the offer, with a study that came meanwhile.
    (Path(second["places"]["bundle"]).parent / "site.json").unlink()
    phantom_archive(source, patients=1, first=5, contrasts=("T1", "T2"))
    code, third = run("train", "site", source)
    assert code == 0 and third["digest"] == second["digest"] and "scan" not in third["seconds"]
    assert len(sides(third["places"])) == 4, "what was begun goes on with the studies it began with"

    (Path(second["places"]["bundle"]).parent / "site.json").unlink()
    code, quick = run("train", "site", source, "--smoke")
    assert code == 0 and len(sides(quick["places"])) == 4, (
        "a smoke run beside it does not let the archive grow either"
    )
    code, third = run("train", "site", source)
    assert code == 0 and third["digest"] == second["digest"]

    other = phantom_archive(tmp_path / "south" / "archive", patients=1, contrasts=("T1", "T2"))
    code, document = run("train", "site", other)
    assert code == 3 and document["error"]["code"] == "other_source"
    learned = [verify_bundle(Path(one["places"]["bundle"])).manifest["training"] for one in (smoke, second)]
    assert learned[0]["seen"] and set(learned[0]["seen"]) <= set(learned[1]["seen"])


def test_a_folder_without_images_is_refused_with_the_cure(run: Call, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, document = run("train", "site", tmp_path / "empty", "--smoke")
    assert code == 3 and document["error"]["cure"]


@pytest.mark.slow
def test_an_archive_of_one_patient_is_refused_in_numbers(tmp_path: Path) -> None:
    source = phantom_archive(tmp_path / "archive", patients=1, contrasts=("T1", "T2"))
    from model.bundle import default_folder

    with pytest.raises(TrainingError) as caught:
        training.site.train_site(source, tmp_path / "out", champion=default_folder(), schedule=SHORT)
    assert caught.value.code == "too_small" and "1 patients" in caught.value.reason

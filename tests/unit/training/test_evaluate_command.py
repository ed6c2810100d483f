"""`medk2n train evaluate`, `peers`, `ablate` and `downstream` as a person runs them, on tiny archives."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medk2n_node.cli import main
from model import load_bundle
from model.bundle import default_folder
from tests.unit.training.archives import write_archive
from tests.unit.training.cases import small_case
from training.archive import Case, save_case
from training.evaluate.ablation import given_rows
from training.evaluate.table3 import train_rows

CONTRASTS = ("T1", "T2", "FLAIR")


def _ill(name: str) -> Case:
    case = small_case(name, CONTRASTS, 0.8)
    lesion = np.zeros_like(case.brain)
    lesion[2:6, 26:34, 28:36] = True
    return replace(case, lesion=lesion)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    cases = {"training": [_ill("a"), _ill("b")], "validation": [_ill("c")], "calibration": []}
    return write_archive(tmp_path_factory.mktemp("archive"), cases)


@pytest.fixture(scope="module")
def peers(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("peers")
    command = ["train", "peers", str(archive), "--out", str(out), "--steps", "1", "--seeds", "1,2"]
    assert main([*command, "--only", "plain U-Net"]) == 0
    return out


def _json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    code = main([*arguments, "--json"])
    found = capsys.readouterr()
    assert code == 0, found.err
    return json.loads(found.out)


@pytest.mark.slow
def test_evaluate_compares_the_model_with_its_peers_and_writes_the_page(
    archive: Path, peers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = _json(
        capsys, "train", "evaluate", str(default_folder()), str(archive), "--peers", str(peers), "--out",
        str(tmp_path / "report"), "--every", "2", "--pattern", "T1,T2:FLAIR", "--pattern", "T1:T2",
    )  # fmt: skip
    assert document["methods"] == [
        "Med-K2N", "constant (oracle)", "copy, histogram matched", "ridge 3x3x3", "plain U-Net",
    ]  # fmt: skip
    sets = {(tuple(one["sources"]), one["target"]) for one in document["per_source_set"]}
    assert sets == {(("T1", "T2"), "FLAIR"), (("T1",), "T2")}
    one = document["per_target"][0]
    assert one["n"] == 1 and {"mean", "low", "high"} <= set(one["raw"]["psnr"])
    assert document["facts"]["model"]["digest"]
    assert document["facts"]["seeds"] == [1, 2]
    assert [peer["seed"] for peer in document["facts"]["peers"]] == [1, 2]
    assert any("fewer than three seeds" in line for line in document["not_checked"])
    assert not any("other data" in line for line in document["not_checked"])
    assert Path(document["report"]["html"]).read_text().count("<h2>") >= 8


def test_evaluate_takes_a_folder_of_prepared_cases_and_says_that_it_has_no_splits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_case(small_case("c", ("T1", "T2"), 0.8), tmp_path / "c.npz")
    command = ["train", "evaluate", str(default_folder()), str(tmp_path), "--out", str(tmp_path / "report")]
    assert main([*command, "--every", "2"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Med-K2N against constant (oracle), as it comes:" in said
    assert "nothing shows that these patients took no part in training" in said
    assert "The report is" in said


def test_what_is_neither_bundle_nor_run_is_refused(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "evaluate", str(tmp_path), str(archive), "--out", str(tmp_path / "o")]) == 3
    assert "it is neither a bundle nor the folder of a training" in capsys.readouterr().err


def test_peers_of_no_name_and_seeds_that_are_none_are_refused(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "peers", str(archive), "--out", str(tmp_path)]
    assert main([*command, "--only", "nnU-Net"]) == 3
    assert "there is no such peer" in capsys.readouterr().err
    assert main([*command, "--seeds", "1,1"]) == 2
    assert "no list of different whole numbers" in capsys.readouterr().err


@pytest.mark.slow
def test_ablate_says_what_each_module_is_worth(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = _json(
        capsys, "train", "ablate", str(default_folder()), str(archive), "--out", str(tmp_path), "--every", "8",
        "--spoilt", "rotation",
    )  # fmt: skip
    assert document["spoilt"] == "rotation"
    assert {"whole network", "without scan", "without effiweight"} <= set(document["switched_off"])
    assert document["trained"] is None
    assert "| without scan |" in (tmp_path / "ablation.md").read_text()


def test_an_ablation_with_a_bad_source_leaves_the_truth_and_the_key_alone() -> None:
    network = load_bundle().network
    case = small_case("c", ("T1", "T2", "FLAIR"), 0.8)
    row = (("T1", "T2"), "FLAIR")
    [(truth, shown, _)] = given_rows(
        network, [case], [row, (("T1",), "T2")], "rotation"
    )  # T1 alone is the key
    known = network.config.contrasts
    key = row[0][network.keys([known.index(c) for c in row[0]], [known.index("FLAIR")])[0]]
    [other] = {*row[0]} - {key}
    assert truth is case and "FLAIR" not in shown.contrasts
    assert np.array_equal(shown.contrasts[key], case.contrasts[key])
    assert not np.array_equal(shown.contrasts[other], case.contrasts[other])


def test_downstream_writes_the_dice_of_every_arm(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = _json(
        capsys, "train", "downstream", str(default_folder()), str(archive), "--missing", "FLAIR", "--steps", "1",
        "--every", "2", "--out", str(tmp_path),
    )  # fmt: skip
    assert {"real", "real minus one", "real plus synthetic"} < set(document["arms"])
    assert document["trained_on"] == 2
    assert json.loads((tmp_path / "downstream.json").read_text())["missing"] == "FLAIR"


@pytest.mark.slow
def test_the_rows_of_the_papers_table_are_trained_as_they_are_called(archive: Path, tmp_path: Path) -> None:
    """B0 averages, the whole network weighs: from the same seed their images are not the same."""
    made = train_rows(archive, tmp_path, seeds=(1,), rows=("B0", "B5"), steps=2)
    assert [method.name for method in made] == ["B5 + curriculum (whole)", "B0 plain average"]
    assert [method.bundle.manifest["training"]["steps"] for method in made] == [2, 2]
    case = small_case("c", CONTRASTS, 0.8)
    whole, average = (method.predict(case, ("T1", "T2"), ("FLAIR",), 2)[0] for method in made)
    assert not np.array_equal(whole, average)
    again = train_rows(archive, tmp_path, seeds=(1,), rows=("B0", "B5"), steps=2)
    assert np.array_equal(again[1].predict(case, ("T1", "T2"), ("FLAIR",), 2)[0], average), (
        "B0 stayed an average"
    )

"""A training that was killed goes on, and nobody can tell from what it leaves that it was."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model import load_bundle
from model.network import MedK2N
from tests.unit.training.cases import small_case
from tests.unit.training.short_run import RECIPE, run
from training.loop import grown_config, load_state, read_log, train
from training.loop.checkpoint import Log
from training.losses import Weights

REPOSITORY = Path(__file__).resolve().parents[3]


def _process(out: Path, where: str) -> int:
    command = [sys.executable, "-m", "tests.unit.training.short_run", str(out), where]
    return subprocess.run(command, cwd=REPOSITORY, check=False).returncode


def _equal(a: object, b: object, where: str) -> None:
    if isinstance(a, torch.Tensor):
        assert isinstance(b, torch.Tensor) and torch.equal(a, b), where
    elif isinstance(a, dict):
        assert isinstance(b, dict) and list(a) == list(b), where
        for key in a:
            _equal(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list):
        assert isinstance(b, list) and len(a) == len(b), where
        for k, pair in enumerate(zip(a, b, strict=True)):
            _equal(*pair, f"{where}[{k}]")
    else:
        assert a == b, where


@pytest.mark.slow
def test_a_run_killed_within_a_step_and_while_saving_leaves_the_bits_of_one_that_was_not(
    tmp_path: Path,
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    trained = run(whole)
    assert _process(parts, "gradient:4") == -signal.SIGKILL  # three steps done, two of them saved
    assert len(read_log(parts / "loss.csv")) == 3 and load_state(parts)["step"] == 2
    assert _process(parts, "saving:6") == -signal.SIGKILL  # six steps done, four of them saved
    assert load_state(parts)["step"] == 4 and (parts / "state.pt.part").exists()
    resumed = run(parts)

    for name, tensor in trained.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    one, other = load_state(whole), load_state(parts)
    for timed in ("seconds", "logs"):  # the clock, and with it the length of the log
        one.pop(timed), other.pop(timed)
    _equal(one, other, "state")  # averages, moments of both optimizers, history of pairs, discriminators
    assert (whole / "loss.csv").read_bytes() == (parts / "loss.csv").read_bytes()
    assert [row["step"] for row in read_log(parts / "loss.csv")] == [str(k + 1) for k in range(RECIPE.steps)]
    logs = [[{k: v for k, v in row.items() if k != "seconds"} for row in read_log(p / "log.csv")]
            for p in (whole, parts)]  # fmt: skip
    assert logs[0] == logs[1] and [row["step"] for row in logs[0]] == ["4", "8"]


def test_lines_beyond_the_saved_state_are_cut_off(tmp_path: Path) -> None:
    log = Log(tmp_path / "loss.csv")
    log.write({"step": 1, "loss": 0.5})
    length = log.sync()
    log.write({"step": 2, "loss": 0.4})
    again = Log(tmp_path / "loss.csv", length)
    again.write({"step": 2, "loss": 0.4})
    assert (tmp_path / "loss.csv").read_text().split() == ["step,loss", "1,0.5", "2,0.4"]


@pytest.mark.slow
@pytest.mark.parametrize("way", [{"adapt": "lora"}, {"grow": "site:new"}, {"grow": "contrast:SWI"}])
def test_adapters_and_new_rows_resume_exactly(tmp_path: Path, way: dict[str, str]) -> None:
    begin = load_bundle().network
    recipe = grown_config(replace(RECIPE, steps=3, evaluate_every=3, weights=Weights(), **way), begin)
    cases = [small_case(name, ("T1", "FLAIR", "SWI") if "contrast:SWI" in way.values() else ("T1", "FLAIR"), 0.9)
             for name in "ab"]  # fmt: skip

    def go(out: Path, budget_s: float) -> MedK2N:
        return train(
            recipe, cases, [1.0] * 2, [], out, evaluate=lambda network: {"mean": 1.0},
            key_score=lambda network: network.key_score.clone() + 1, report=lambda line: None, begin=begin,
            budget_s=budget_s, sites=[1, 1],
        )  # fmt: skip

    whole = go(tmp_path / "whole", 1e9)
    go(tmp_path / "parts", 0.0)  # stops after its first step, and measures what the whole run did not
    resumed = go(tmp_path / "parts", 1e9)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert (tmp_path / "whole" / "loss.csv").read_bytes() == (tmp_path / "parts" / "loss.csv").read_bytes()

"""A training that torchrun has started: two processes with other slices end with one network, and one bundle."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from model import load_bundle
from tests.unit.training.made_archive import write_archive

REPOSITORY = Path(__file__).resolve().parents[3]

#: Each process says what it has drawn, what it entered into the history of pairs, and which network it ended with.
SCRIPT = """
import hashlib, json, os, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
import training.loop.run as run
from tests.unit.training.cases import small_case
from training.loop import Recipe, fabric_of, train
from training.sampling import Stage

rank, out = int(os.environ["RANK"]), Path(sys.argv[1])
entered, enter = [], run.enter
def spy(network, pairs, measured, batch, *more):
    if measured.shape[1]:
        entered.append([[batch.sources[i], batch.targets[j]] for i, j in pairs] + [measured.shape[2]])
    return enter(network, pairs, measured, batch, *more)
run.enter = spy
recipe = Recipe(steps=16, batch=2, size=(64, 64), mcbs=True, simulated=0.0, evaluate_every=16, warmup=2, spoilt=0.35,
                curriculum={Stage.MANY_TO_MANY: 1.0})
cases = [small_case(name, ("T1", "T2", "FLAIR"), 1.0 - k / 10) for k, name in enumerate("abcd")]
network = train(recipe, cases, [1.0] * 4, [], out / "run", evaluate=lambda network: {"x": 0.0},
                key_score=lambda network: torch.eye(6), report=lambda line: None, fabric=fabric_of("cpu"))
state = b"".join(v.detach().numpy().tobytes() for _, v in sorted(network.state_dict().items()))
(out / f"{rank}.json").write_text(json.dumps({"digest": hashlib.sha256(state).hexdigest(), "entered": entered}))
"""


def started(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Two processes of torchrun, a thread each."""
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        *arguments,
    ]
    return subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, check=False, timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip


@pytest.mark.slow
def test_two_processes_end_with_one_network_and_speak_of_the_same_pairs(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(SCRIPT)
    done = started(str(script), str(tmp_path))
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    one, other = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert one["digest"] == other["digest"], "other slices, the same gradients, the same network"
    assert one["entered"] == other["entered"] and one["entered"]
    assert {step[-1] for step in one["entered"]} == {4}, "two slices of each process"


@pytest.mark.slow
def test_the_command_trains_on_two_processes_and_seals_one_bundle(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "archive", training=4)
    fit = (
        "-m",
        "medk2n_node",
        "train",
        "fit",
        str(archive),
        "--out",
        str(tmp_path / "run"),
        "--device",
        "cpu",
    )
    done = started(*fit, "--steps", "3", "--batch", "2", "--json")
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    said = json.loads(done.stdout)
    assert said["steps"] == 3, "of the two processes one answers"
    bundle = load_bundle(tmp_path / "run" / "bundle")
    assert bundle.digest == said["digest"]
    with (tmp_path / "run" / "loss.csv").open() as handle:
        assert [row["step"] for row in csv.DictReader(handle)] == ["1", "2", "3"], "each step stands once"

"""A training that was interrupted goes on as if it had not been."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.network import MedK2N
from tests.unit.training.cases import head_case
from training.loop import Recipe, train
from training.sampling import Stage


def _train(out: Path, recipe: Recipe, budget_s: float = 1e9) -> MedK2N:
    torch.set_num_threads(1)  # the order of a sum over threads is no property of the training
    cases = [head_case("a", ("T1", "T2", "FLAIR"), 1.0), head_case("b", ("T1", "FLAIR"), 0.7)]
    return train(
        recipe, cases, [1.0, 1.0], [], out,
        evaluate=lambda network: {"norm": float(sum(p.detach().abs().sum() for p in network.parameters()))},
        key_score=lambda network: torch.eye(6),
        report=lambda line: None,
        budget_s=budget_s,
    )  # fmt: skip


@pytest.mark.slow
def test_an_interrupted_training_resumes_exactly(tmp_path: Path) -> None:
    recipe = Recipe(steps=4, batch=2, size=(64, 64), warmup=1, evaluate_every=2)
    whole = _train(tmp_path / "whole", recipe)
    _train(tmp_path / "parts", recipe, budget_s=0.0)  # stops after its first step, state kept
    resumed = _train(tmp_path / "parts", recipe)
    for (name, a), b in zip(whole.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b), name
    assert (tmp_path / "parts" / "log.csv").read_text().count("\n") >= 3


@pytest.mark.slow
def test_a_gradient_reaches_every_parameter(tmp_path: Path) -> None:
    recipe = Recipe(
        steps=8, batch=2, size=(64, 64), warmup=1, evaluate_every=8, curriculum={Stage.MANY_TO_MANY: 1.0}
    )
    torch.manual_seed(recipe.seed)
    before = {k: v.clone() for k, v in MedK2N(recipe.network).named_parameters()}
    _train(tmp_path, replace(recipe, ema=0.0))
    state = torch.load(tmp_path / "state.pt", weights_only=False)["network"]
    still = [k for k, v in before.items() if torch.equal(v, state[k])]
    assert still == [], "parameters that no gradient reached"

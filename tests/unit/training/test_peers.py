"""The competitors: they are what they are called, cost what Med-K2N costs, and see what it sees."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from model.network import MedK2N
from tests.unit.training.cases import head_case
from training.archive import Case
from training.errors import TrainingError
from training.loop import Plan, Recipe
from training.peers import (
    PEERS,
    Constant,
    Copy,
    Ridge,
    labels_of,
    load_peers,
    load_simple,
    save_simple,
    train_peer,
)
from training.peers.catalogue import equal_width, peer_gflop
from training.peers.fit import _NoKeys

CONTRASTS = ("T1", "T1C", "T2", "FLAIR", "DWI", "ADC")
PATTERNS = [(("T1",), ("T2", "FLAIR")), (("T1", "T2"), ("FLAIR",))]


def textured(name: str, seed: int, contrasts: tuple[str, ...] = ("T1", "T2", "FLAIR")) -> Case:
    """A head of random tissue in which T2 is T1 turned around, and FLAIR the mean of its neighbours."""
    case = head_case(name, contrasts, 1.0)
    t1 = np.random.default_rng(seed).uniform(0.1, 1.0, case.brain.shape).astype(np.float32) * case.brain
    t2 = (1.1 - t1) * case.brain
    smooth = sum(np.roll(t1, step, axis=2) for step in (-1, 0, 1)) / 3 * case.brain
    own = {"T1": t1, "T2": t2, "FLAIR": smooth}
    return replace(case, contrasts={c: own[c].astype(np.float16) for c in contrasts})


def _error(image: np.ndarray, case: Case, target: str, z: np.ndarray) -> float:
    """Mean absolute error away from the rim, where the neighbourhood is brain too."""
    truth = case.contrasts[target][z].astype(np.float32)
    top = np.percentile(case.contrasts[target].astype(np.float32)[case.brain], 99.5)
    inside = case.brain[z].copy()
    inside[:, :, 1:] &= case.brain[z][:, :, :-1]
    inside[:, :, :-1] &= case.brain[z][:, :, 1:]
    return float(np.abs(image - truth / top)[inside].mean())


def test_the_constant_is_the_targets_own_mean() -> None:
    case = textured("a", 0)
    images, z = Constant().predict(case, ("T1",), ("T2",), 4)
    assert z.tolist() == [0, 4, 8]
    inside = images[:, 0][case.brain[z]]
    truth = case.contrasts["T2"].astype(np.float32)
    top = np.percentile(truth[case.brain], 99.5)
    assert np.unique(inside).size == 1
    assert float(inside[0]) == pytest.approx(float(np.clip(truth / top, 0, 1)[case.brain].mean()), abs=1e-3)


def test_ridge_learns_a_linear_neighbourhood_exactly() -> None:
    """FLAIR is the mean of three neighbours of T1: 27 weights can say that, on a patient they have not seen."""
    ridge = Ridge.fit([textured("a", 1), textured("b", 2)], CONTRASTS)
    case = textured("c", 3)
    images, z = ridge.predict(case, ("T1",), ("FLAIR", "T2"), 3)
    raw = [case.contrasts[t].astype(np.float32) for t in ("FLAIR", "T2")]
    inside = case.brain[z].copy()
    inside[:, :, 1:-1] = case.brain[z][:, :, :-2] & case.brain[z][:, :, 1:-1] & case.brain[z][:, :, 2:]
    for j in range(2):
        assert float(np.abs(images[:, j] - raw[j][z])[inside].mean()) < 0.02


def test_ridge_leaves_out_a_source_that_no_training_case_had_with_the_target() -> None:
    ridge = Ridge.fit([textured("a", 1, ("T1", "FLAIR")), textured("b", 2, ("T1", "T2"))], CONTRASTS)
    case = textured("c", 3)
    both, _ = ridge.predict(case, ("T1", "T2"), ("FLAIR",), 6)
    alone, _ = ridge.predict(case, ("T1",), ("FLAIR",), 6)
    assert np.array_equal(both, alone)


def test_ridge_does_not_care_in_which_order_sources_are_named() -> None:
    cases = [textured(name, seed) for seed, name in enumerate("abc")]
    ridge = Ridge.fit(cases, ("T1", "T2", "FLAIR"))
    one, _ = ridge.predict(cases[0], ("T1", "FLAIR"), ("T2",))
    other, _ = ridge.predict(cases[0], ("FLAIR", "T1"), ("T2",))
    assert np.array_equal(one, other)
    alone, _ = ridge.predict(cases[0], ("FLAIR",), ("T2",))
    assert not np.array_equal(other, alone)


def test_copy_takes_the_source_that_did_best_and_gives_it_the_targets_histogram() -> None:
    training = [textured("a", 1), textured("b", 2)]
    copy = Copy.fit(training)
    assert copy.error["T1"]["FLAIR"] < copy.error["T2"]["FLAIR"]  # T2 is turned around
    case = textured("c", 3)
    images, z = copy.predict(case, ("T1", "T2"), ("FLAIR",), 2)
    only, _ = copy.predict(case, ("T1",), ("FLAIR",), 2)
    assert np.array_equal(images, only)
    found = np.percentile(images[:, 0][case.brain[z]], [10, 50, 90])
    assert np.allclose(found, [copy.histogram["FLAIR"][k] for k in (6, 32, 58)], atol=0.03)


def test_fitted_peers_come_back_from_their_files_bit_by_bit(tmp_path: Path) -> None:
    made = save_simple([textured("a", 1)], CONTRASTS, tmp_path)
    read = load_simple(tmp_path)
    case = textured("c", 3)
    assert [one.name for one in read] == ["copy, histogram matched", "ridge 3x3x3"]
    for a, b in zip(made, read, strict=True):
        assert np.array_equal(
            a.predict(case, ("T1",), ("T2",), 6)[0], b.predict(case, ("T1",), ("T2",), 6)[0]
        )
    (tmp_path / "ridge.json").write_text("{}")
    with pytest.raises(TrainingError, match=r"ridge.json: it cannot be read"):
        load_simple(tmp_path)


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_is_as_wide_as_the_operations_allow(name: str) -> None:
    labels = labels_of(PATTERNS, CONTRASTS)
    width, cost = equal_width(PEERS[name], len(CONTRASTS), 0.6, labels, (64, 64))
    assert cost == pytest.approx(0.6, rel=0.25)
    assert abs(peer_gflop(PEERS[name], len(CONTRASTS), width + 1, labels, (64, 64)) - 0.6) >= abs(cost - 0.6)


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_learns_with_every_parameter_and_tells_its_sources_apart(name: str) -> None:
    torch.manual_seed(0)
    network = PEERS[name](len(CONTRASTS), 4)
    recipe = Recipe(steps=4, batch=2, size=(64, 64), simulated=0.0, spoilt=0.0)
    plan = Plan(recipe, [textured("a", 1)], [1.0], [])
    reached: set[str] = set()
    for step in range(6):
        batch = plan.at(step % 4, cast(MedK2N, _NoKeys())).batch
        for player in network.players():
            network.zero_grad(set_to_none=True)
            network.loss(player, batch).backward()
            reached |= {
                n for n, p in network.named_parameters() if p.grad is not None and p.grad.abs().max() > 0
            }
    unused = {n for n, _ in network.named_parameters()} - reached
    # The towers of contrasts that no case has, and biases that an instance norm takes away again.
    assert not {n for n in unused if n.endswith("weight") and not n.startswith(("encoders.", "decoders."))}
    x = torch.rand(1, 2, 3, 64, 64)
    assert network(x, [0, 2], [3, 1]).shape == (1, 2, 64, 64)
    assert not torch.equal(network(x, [0, 2], [3]), network(x, [2, 0], [3]))


def test_a_missing_contrast_is_a_channel_of_zeros() -> None:
    network = PEERS["plain U-Net"](len(CONTRASTS), 4)
    x = torch.rand(2, 1, 3, 32, 32)
    full = network.imputed(x, [3])
    assert full.shape == (2, 18, 32, 32)
    assert torch.equal(full[:, 9:12], x[:, 0])
    assert float(full[:, :9].abs().max()) == float(full[:, 12:].abs().max()) == 0


RECIPE = Recipe(steps=3, batch=2, size=(64, 64), simulated=0.0, warmup=1, seed=5)


def _train(out: Path, recipe: Recipe = RECIPE, name: str = "plain U-Net", **more: Any) -> Any:
    torch.set_num_threads(1)
    cases = [textured("a", 1), textured("b", 2)]
    return train_peer(name, recipe, cases, [1.0, 1.0], [], out, gflop=0.1, patterns=PATTERNS, **more)


def test_a_peer_that_was_interrupted_goes_on_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _train(tmp_path / "whole")

    def stop(step: int, of: int) -> None:
        if step == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("training.peers.fit.SAVE_S", -1.0)  # a state after every step
    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path / "parts" / "a", progress=stop)
    _, _, unfinished = load_peers(tmp_path)
    assert unfinished == ["plain U-Net (seed 5) is not trained to its end and took no part."]
    resumed = _train(tmp_path / "parts" / "a")
    for (name, a), b in zip(whole.network.named_parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_a_trained_peer_is_found_again_with_its_cost(tmp_path: Path) -> None:
    made = _train(tmp_path / "mm-gan" / "seed-5", name="MM-GAN", minutes=0.001, facts={"archive": "f00"})
    methods, facts, unfinished = load_peers(tmp_path)
    assert not unfinished
    assert [(m.name, m.seed) for m in methods] == [("MM-GAN", 5)]
    assert facts[0]["archive"] == "f00" and facts[0]["steps"] >= 1 and facts[0]["gflop_per_slice"] > 0
    case = textured("c", 3)
    a, z = made.predict(case, ("T1",), ("T2", "FLAIR"), 6)
    b, _ = methods[0].predict(case, ("T1",), ("T2", "FLAIR"), 6)
    assert a.shape == (2, 2, 160, 128) and z.tolist() == [0, 6]
    assert np.array_equal(a, b)


def test_a_peer_of_another_recipe_is_not_gone_on_with(tmp_path: Path) -> None:
    _train(tmp_path)
    with pytest.raises(TrainingError, match="begun with another learning_rate"):
        _train(tmp_path, replace(RECIPE, learning_rate=1e-5))
    (tmp_path / "peer.json").write_text("{")
    with pytest.raises(TrainingError, match=r"peer.json: it cannot be read"):
        _train(tmp_path)


def test_peers_see_the_slices_that_med_k2n_sees() -> None:
    """The same seed and step draw the same batch, whoever asks for it."""
    network = MedK2N(RECIPE.network)
    cases = [textured("a", 1), textured("b", 2)]
    for step in range(2):
        ours = Plan(RECIPE, cases, [1.0, 1.0], []).at(step, network).batch
        theirs = Plan(RECIPE, cases, [1.0, 1.0], []).at(step, cast(MedK2N, _NoKeys())).batch
        assert torch.equal(ours.x, theirs.x) and torch.equal(ours.y, theirs.y)
        assert ours.sources == theirs.sources


def test_the_facts_of_a_peer_can_be_read_by_a_person(tmp_path: Path) -> None:
    _train(tmp_path)
    facts = json.loads((tmp_path / "peer.json").read_text())
    assert (
        facts["name"] == "plain U-Net" and facts["seed"] == 5 and facts["steps"] == 3 and facts["seconds"] > 0
    )

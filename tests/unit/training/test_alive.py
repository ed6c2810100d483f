"""Every module is alive: the loss teaches it, and without it the image is another (on the weights that are shipped)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from model import CONTRASTS, load_bundle
from model.network import MedK2N, Prediction
from tests.unit.training.cases import head_case
from training.evaluate.switches import SWITCHES, switched_off
from training.losses import Weights, total_loss
from training.losses.terms import gate_loss
from training.sampling import Batch, Pattern, Sampler

MODULES = (
    "encoder", "multiscale", "preweight", "preweight.memory", "threshold", "effiweight", "taskhead.residual",
    "taskhead.direct", "taskhead.haar", "taskhead.widths", "quality", "level", "site", "detail",
    "multiscale.spirals.0.outward", "multiscale.spirals.1.inward", "source_embed", "target_embed",
)  # fmt: skip


@pytest.fixture(scope="module")
def network() -> MedK2N:
    return load_bundle().network.requires_grad_(True)


@pytest.fixture(scope="module")
def batch() -> Batch:
    case = head_case("a", ("T1", "T2", "FLAIR", "T1C"), 0.9)
    sampler = Sampler([case], [1.0], [], size=(64, 64), simulated=0.0, sites=[1])
    return sampler.draw(Pattern(sources=("T1", "T1C", "T2"), targets=("FLAIR",)), 2, np.random.default_rng(3))


def _predict(network: MedK2N, batch: Batch) -> Prediction:
    return network(batch.x, batch.sources, batch.targets, batch.levels, site=torch.tensor([1, 0]))


@pytest.fixture(scope="module")
def gradients(network: MedK2N, batch: Batch) -> dict[str, float]:
    network.zero_grad(set_to_none=True)
    loss, _ = total_loss(_predict(network, batch), batch, Weights())
    loss.backward()
    return {n: 0.0 if p.grad is None else float(p.grad.abs().max()) for n, p in network.named_parameters()}


@pytest.mark.parametrize("module", MODULES)
def test_the_total_loss_teaches_every_module(gradients: dict[str, float], module: str) -> None:
    own = {n: g for n, g in gradients.items() if n == module or n.startswith(module + ".")}
    assert own
    silent = [n for n, g in own.items() if g == 0]
    assert silent == []


@pytest.mark.parametrize("name", SWITCHES)
def test_without_a_module_the_image_is_another(network: MedK2N, batch: Batch, name: str) -> None:
    with torch.no_grad():
        whole = _predict(network, batch).images
        with switched_off(network, name):
            without = _predict(network, batch).images
        again = _predict(network, batch).images
    assert float((whole - without).abs().max()) > 1e-4
    assert torch.equal(whole, again), "the switch left a trace"


def test_the_three_heads_say_different_things(network: MedK2N, batch: Batch) -> None:
    with torch.no_grad():
        images = _predict(network, batch).images[:, 0]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert float((images[:, a] - images[:, b]).abs().max()) > 1e-2


def test_a_source_that_was_spoilt_should_be_turned_down(network: MedK2N, batch: Batch) -> None:
    """The loss of the gate is small only where a spoilt source has a small weight and the gradient pulls it there."""
    p = _predict(network, batch)
    column, source = 0, p.pairs[0][0]
    spoilt = torch.zeros(2, 3, dtype=torch.bool)
    spoilt[:, source] = True
    told = replace(batch, spoilt=spoilt)

    def at(weight: float) -> torch.Tensor:
        w = p.w_global.detach().clone()
        w[:, column] = weight
        return gate_loss(replace(p, w_global=w), told)

    assert float(at(0.05)) < float(at(0.5)) < float(at(0.95))
    assert float(gate_loss(p, batch).detach()) == 0, (
        "three sources, none spoilt: nothing is known of any of them"
    )


def test_the_labels_are_those_of_the_batch(batch: Batch) -> None:
    assert [CONTRASTS[i] for i in batch.sources] == ["T1", "T1C", "T2"]
    assert batch.site.tolist() in ([1, 1], [1, 0], [0, 1], [0, 0])

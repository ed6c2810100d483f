"""The gradient of a step: in parts as in one piece, and none from what has no truth."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from model import load_bundle
from model.bundle import Bundle
from model.network import MedK2N
from tests.unit.training.cases import small_case
from training.loop.machine import fabric_of
from training.loop.plan import Draw
from training.loop.step import Pupil, Teacher
from training.losses import Discriminators, Weights, discriminator_loss, generator_loss, total_loss, totals
from training.sampling import Batch, Pattern, Sample, Sampler, Stage

PATTERN = Pattern(sources=("T1", "T2"), targets=("FLAIR", "T1C"))


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    torch.set_num_threads(1)
    return load_bundle()


def _batch(spoilt: float = 0.0) -> Batch:
    cases = [
        small_case("a", ("T1", "T2", "FLAIR", "T1C"), 1.0), small_case("b", ("T1", "T2", "FLAIR"), 0.8),
        small_case("c", ("T1", "T2", "FLAIR", "T1C"), 0.6), small_case("d", ("T1", "T2", "FLAIR", "T1C"), 0.9),
    ]  # fmt: skip
    sampler = Sampler(cases, [1.0] * 4, [], size=(64, 64), simulated=0.0, spoilt=spoilt)
    return sampler.fill(PATTERN, [Sample(case=k) for k in range(4)], np.random.default_rng(2))


def _double(batch: Batch) -> Batch:
    return replace(
        batch, x=batch.x.double(), y=batch.y.double(), brain=batch.brain.double(), lesion=batch.lesion.double(),
        levels=batch.levels.double(),
    )  # fmt: skip


def _gradient(bundle: Bundle, batch: Batch, accumulate: int, weights: Weights) -> dict[str, torch.Tensor]:
    network: MedK2N = copy.deepcopy(bundle.network).to(batch.x.dtype).requires_grad_(True)
    network.zero_grad(set_to_none=True)
    fabric = fabric_of("cpu", "fp32")
    pupil, _ = fabric.setup(Pupil(network), torch.optim.SGD(network.parameters(), lr=0.0))
    torch.manual_seed(0)
    judges = Discriminators(6).to(batch.x.dtype) if weights.adversarial else None
    teacher = Teacher(
        fabric, pupil, weights, contrasts=bundle.contrasts, accumulate=accumulate,
        identity=copy.deepcopy(bundle.identity).to(batch.x.dtype), judges=judges,
    )  # fmt: skip
    draw = Draw(stage=Stage.MANY_TO_MANY, pattern=PATTERN, batch=batch, keys=[0, 1], rebuilt=1)
    teacher.teach(draw, identify=True)
    return {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}


@pytest.mark.slow
def test_a_batch_in_parts_or_on_two_machines_gives_the_gradient_of_the_whole(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In double precision, because in single the last bit decides about a kink of |x| or clamp here and there."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # the scan asks for single
    batch, weights = _double(_batch(spoilt=1.0)), Weights(rec=0.3, adversarial=0.1)
    assert batch.present is not None and bool(batch.spoilt.any())  # what makes parts differ in weight
    batch.brain[0, :, :20] = 0
    whole = _gradient(bundle, batch, 1, weights)
    pieces = _gradient(bundle, batch, 4, weights)
    assert list(whole) == list(pieces)
    worst = max(float((g - pieces[n]).abs().max()) for n, g in whole.items())
    assert worst < 1e-6
    # Two machines with a half each: they agree on the divisors, and DDP takes the mean of their gradients.
    halves = [batch.only(slice(0, 2)), batch.only(slice(2, 4))]
    agreed = torch.stack([totals(half, weights, [0, 1]).stacked() for half in halves]).mean(dim=0)
    monkeypatch.setattr(Fabric, "all_reduce", lambda self, data, **how: agreed)
    one, other = (_gradient(bundle, half, 1, weights) for half in halves)
    worst = max(float((g - (one[n] + other[n]) / 2).abs().max()) for n, g in whole.items())
    assert worst < 1e-6


def test_a_mean_of_means_would_not_do(bundle: Bundle) -> None:
    """The parts of this batch differ in weight, so that the test above can fail."""
    batch, weights = _batch(), Weights()
    batch.brain[0, :, :20] = 0
    whole = _gradient(bundle, batch, 1, weights)
    halves = [_gradient(bundle, batch.only(rows), 1, weights) for rows in (slice(0, 2), slice(2, 4))]
    name = max(whole, key=lambda n: float(whole[n].abs().max()))
    mean = (halves[0][name] + halves[1][name]) / 2
    assert float((mean - whole[name]).abs().max()) > 1e-4


def test_a_contrast_that_a_case_lacks_gives_no_gradient(bundle: Bundle) -> None:
    batch = _batch()
    assert (
        batch.present is not None
        and batch.present.tolist() == [[True, True], [True, False]] + [[True] * 2] * 2
    )
    p = bundle.network(batch.x, batch.sources, batch.targets, batch.levels, [0, 1], batch.site)
    images, base = (v.detach().requires_grad_(True) for v in (p.images, p.base))
    errors, below, above = (v.detach().requires_grad_(True) for v in (p.errors, p.below, p.above))
    p = replace(p, images=images, base=base, errors=errors, below=below, above=above)
    total_loss(p, batch, Weights())[0].backward()
    for tensor in (images, base, errors, below, above):
        assert tensor.grad is not None
        assert float(tensor.grad[1, 1].abs().max()) == 0, "case b has no T1C"
        assert float(tensor.grad[1, 0].abs().max()) > 0 and float(tensor.grad[0, 1].abs().max()) > 0


def test_what_is_shown_in_place_of_an_absent_truth_changes_nothing(bundle: Bundle) -> None:
    batch = _batch()
    other = replace(batch, y=batch.y.clone())
    other.y[1, 1] = torch.rand(64, 64)
    losses = []
    for one in (batch, other):
        p = bundle.network(one.x, one.sources, one.targets, one.levels, [0, 1], one.site)
        losses.append(float(total_loss(p, one, Weights())[0].detach()))
    assert losses[0] == losses[1]


def test_the_adversary_reaches_generator_and_judge_and_only_where_there_is_a_truth() -> None:
    torch.manual_seed(0)
    judges, real = Discriminators(6), torch.rand(2, 2, 64, 64)
    present = torch.tensor([[True, True], [True, False]])
    y_hat = torch.rand(2, 2, 64, 64, requires_grad=True)
    generator_loss(judges(y_hat, [3, 1]), present).backward()
    assert y_hat.grad is not None and float(y_hat.grad[1, 1].abs().max()) == 0
    assert all(float(y_hat.grad[b, j].abs().max()) > 0 for b, j in ((0, 0), (0, 1), (1, 0)))
    judges.zero_grad(set_to_none=True)
    discriminator_loss(judges(y_hat.detach(), [3, 1]), judges(real, [3, 1]), present).backward()
    taught = {
        n.split(".")[1] for n, p in judges.named_parameters() if p.grad is not None and bool(p.grad.any())
    }
    assert taught == {"1", "3"}, "only the judges of these two contrasts"
    judges.zero_grad(set_to_none=True)
    nobody = torch.tensor([[True, False], [True, False]])
    discriminator_loss(judges(y_hat.detach(), [3, 1]), judges(real, [3, 1]), nobody).backward()
    assert not any(bool(p.grad.any()) for p in judges.each[1].parameters() if p.grad is not None)


def test_judges_learn_to_tell_and_the_generator_to_fool() -> None:
    torch.manual_seed(0)
    judges, y = Discriminators(1), torch.rand(4, 1, 32, 32) * 0.2 + 0.7
    y_hat = (y - 0.5).clone()
    learn = torch.optim.Adam(judges.parameters(), lr=5e-3)
    for _ in range(40):
        learn.zero_grad()
        loss = discriminator_loss(judges(y_hat, [0]), judges(y, [0]))
        loss.backward()
        learn.step()
    assert float(loss.detach()) < 0.1
    image = y_hat.clone().requires_grad_(True)
    before = float(generator_loss(judges(image, [0])).detach())
    generator_loss(judges(image, [0])).backward()
    assert image.grad is not None
    after = float(generator_loss(judges(image - 0.1 * image.grad / image.grad.abs().max(), [0])).detach())
    assert after < before


def test_the_reconstruction_of_a_source_teaches_the_network(bundle: Bundle) -> None:
    batch = _batch()
    without = _gradient(bundle, batch, 1, Weights())
    with_it = _gradient(bundle, batch, 1, Weights(rec=0.3))
    label = bundle.contrasts.index("T2")  # source number 1, taught here as its own target
    row = "target_embed.weight"
    assert float(without[row][label].abs().max()) == 0 and float(with_it[row][label].abs().max()) > 0

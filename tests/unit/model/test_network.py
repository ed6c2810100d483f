"""The graph: each module takes part, labels matter, order does not."""

from __future__ import annotations

import pytest
import torch

from model.encoder import ENCODERS, ImageEncoder
from model.fusion.weights import TAU_MAX, TAU_MIN
from model.heads.level import LEVEL_FEATURES
from model.heads.taskhead import inverse_haar
from model.network import MedK2N, Prediction
from model.operations import operation_counter


@pytest.fixture(scope="module")
def network() -> MedK2N:
    torch.manual_seed(1)
    network = MedK2N()
    # Gates that start closed are opened, so that a module that is never called cannot hide behind a zero.
    with torch.no_grad():
        for name, p in network.named_parameters():
            if float(p.abs().sum()) == 0:
                p.normal_(0, 0.02, generator=torch.Generator().manual_seed(len(name)))
    return network


def _call(
    network: MedK2N, sources: list[int], targets: list[int], seed: int = 0, size: int = 64
) -> Prediction:
    g = torch.Generator().manual_seed(seed)
    by_label = {s: torch.rand(2, 3, size, size, generator=g) for s in range(6)}
    level = {s: torch.rand(2, LEVEL_FEATURES, generator=g) for s in range(6)}
    x = torch.stack([by_label[s] for s in sources], dim=1)
    levels = torch.stack([level[s] for s in sources], dim=1)
    return network(x, sources, targets, levels)


@pytest.mark.parametrize(
    "module",
    [
        "encoder", "multiscale", "preweight", "threshold", "effiweight", "taskhead", "level", "detail",
        "source_embed", "target_embed", "modality",
    ],
)  # fmt: skip
def test_the_image_depends_on_every_module(network: MedK2N, module: str) -> None:
    network.train().zero_grad(set_to_none=True)
    _call(network, [0, 2, 3], [1]).images.square().mean().backward()
    # The widths of the interval are no part of the image; the next test is theirs.
    grads = [p.grad for n, p in getattr(network, module).named_parameters() if not n.startswith("widths.")]
    assert all(g is not None for g in grads)
    assert any(float(g.abs().max()) > 0 for g in grads if g is not None)


def test_the_interval_has_weights_of_its_own(network: MedK2N) -> None:
    network.train().zero_grad(set_to_none=True)
    p = _call(network, [0, 2], [3])
    (p.below.mean() + p.above.mean()).backward()
    grad = network.taskhead.widths.weight.grad
    assert grad is not None and float(grad.abs().min()) > 0


def test_quality_learns_from_its_own_error_and_not_through_the_image(network: MedK2N) -> None:
    network.train().zero_grad(set_to_none=True)
    _call(network, [0, 2], [3]).errors.sum().backward()
    assert all(p.grad is not None for p in network.quality.parameters())
    assert network.taskhead.direct.weight.grad is None


def test_each_memory_slot_bank_belongs_to_its_target(network: MedK2N) -> None:
    network.train().zero_grad(set_to_none=True)
    _call(network, [0, 2], [3]).images.mean().backward()
    grad = network.preweight.memory.grad
    assert grad is not None
    assert float(grad[3].abs().max()) > 0
    assert float(grad[[0, 1, 2, 4, 5]].abs().max()) == 0


def test_swapping_the_labels_of_two_sources_changes_the_image(network: MedK2N) -> None:
    network.eval()
    g = torch.Generator().manual_seed(4)
    x, levels = torch.rand(1, 2, 3, 64, 64, generator=g), torch.rand(1, 2, LEVEL_FEATURES, generator=g)
    with torch.no_grad():
        one = network(x, [0, 2], [3], levels, keys=[0]).images
        other = network(x, [2, 0], [3], levels, keys=[0]).images
    assert float((one - other).abs().max()) > 1e-3


def test_two_runs_are_bit_equal_and_leave_no_trace(network: MedK2N) -> None:
    network.eval()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    with torch.no_grad():
        one, other = (_call(network, [0, 1, 2], [3, 4]).images for _ in range(2))
    assert torch.equal(one, other)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_a_target_is_the_same_alone_and_beside_others(network: MedK2N) -> None:
    network.eval()
    with torch.no_grad():
        alone = _call(network, [0, 2], [3]).images[:, 0]
        beside = _call(network, [0, 2], [1, 3, 5]).images[:, 1]
    assert torch.allclose(alone, beside, atol=1e-5)


def test_weights_and_thresholds_keep_their_bounds(network: MedK2N) -> None:
    with torch.no_grad():
        p = _call(network, [0, 1, 2], [3, 5])
    assert p.pairs == ((1, 0), (2, 0), (1, 1), (2, 1))
    assert float(p.tau.min()) >= TAU_MIN and float(p.tau.max()) <= TAU_MAX
    assert float(p.w_eff.min()) >= 0 and float(p.w_eff.max()) < 1
    assert p.w_eff.shape[-2:] == (16, 16)
    assert float(p.w_eff.std(dim=(-1, -2)).max()) > 0, "the weight is a map, not a number"


def test_the_key_is_the_best_single_source(network: MedK2N) -> None:
    with torch.no_grad():
        network.key_score.zero_()
        network.key_score[2, 3] = 20.0
    assert network.keys([0, 1, 2], [3, 4]) == [2, 0]
    with torch.no_grad():
        network.key_score.zero_()


def test_haar_bands_of_a_constant_give_the_constant() -> None:
    bands = torch.zeros(1, 4, 5, 6)
    bands[:, 0] = 2.0
    assert torch.allclose(inverse_haar(bands), torch.ones(1, 4, 5, 6))


@pytest.mark.parametrize(("targets", "limit"), [(1, 8e9), (2, 10e9), (3, 12e9)])
def test_nano_stays_within_its_flops(targets: int, limit: float) -> None:
    network = MedK2N().eval()
    with torch.no_grad(), operation_counter() as counter:
        x, levels = torch.rand(1, 3, 3, 256, 256), torch.rand(1, 3, LEVEL_FEATURES)
        network(x, [0, 1, 2], list(range(3, 3 + targets)), levels)
    assert counter.get_total_flops() <= limit


def test_encoder_sizes_give_four_strides() -> None:
    encoder = ImageEncoder(ENCODERS["nano"]).eval()
    with torch.no_grad():
        shapes = [tuple(f.shape) for f in encoder(torch.rand(1, 3, 64, 96))]
    assert shapes == [(1, 64, 16, 24), (1, 64, 8, 12), (1, 64, 4, 6), (1, 64, 2, 3)]

"""What folds into a convolution's weights gives the image that the steps give one by one."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.detail import DetailNet
from model.heads.taskhead import TaskHeadNet
from model.layers import (
    ConvBlock,
    DenseBlock,
    PlaneNorm,
    Pointwise,
    beside,
    conv1x1,
    in_parts,
    meet,
    on_blocks,
    upsample,
)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def opened(module: nn.Module) -> nn.Module:
    """Every gate and offset that starts at zero gets numbers, the norms as well."""
    with torch.no_grad():
        for seed, parameter in enumerate(module.parameters()):
            parameter.copy_(0.3 * numbers(*parameter.shape, seed=seed))
    return module


@pytest.mark.parametrize(
    "block", [ConvBlock(8, condition=5, site=3), DenseBlock(8, 6, condition=5, site=3)], ids=["conv", "dense"]
)
def test_a_code_that_all_samples_share_gives_what_it_gives_each_of_them(block: nn.Module) -> None:
    block = opened(block)
    x, condition, site = numbers(4, 8, 12, 10), numbers(1, 5, seed=1), numbers(1, 3, seed=2)
    shared = block(x, condition, site)
    each = block(x, condition.repeat(4, 1), site.repeat(4, 1))
    assert torch.allclose(shared, each, atol=1e-5)
    assert not torch.allclose(shared, block(x), atol=1e-2), "the codes change nothing"


def test_the_dense_block_is_convolution_instance_norm_modulation_gelu_and_projection() -> None:
    block = opened(DenseBlock(8, 6, condition=5))
    assert isinstance(block, DenseBlock) and block.film is not None
    x, condition = numbers(2, 8, 9, 7), numbers(1, 5, seed=1)
    gain, offset = block.film(condition)[0].chunk(2)
    inside = F.instance_norm(block.conv(x), weight=block.norm.weight, bias=block.norm.bias)
    inside = inside * (1 + gain[:, None, None]) + offset[:, None, None]
    wanted = x + block.scale * block.project(F.gelu(inside))
    assert torch.allclose(block(x, condition), wanted, atol=1e-5)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_the_plane_norm_is_instance_norm_in_either_order_of_memory(memory: torch.memory_format) -> None:
    norm, x = opened(PlaneNorm(6)), 5 + numbers(3, 6, 10, 14).contiguous(memory_format=memory)
    wanted = F.instance_norm(x, weight=norm.weight, bias=norm.bias)  # type: ignore[arg-type]
    assert torch.allclose(norm(x), wanted, atol=1e-5)


@pytest.mark.parametrize("learns", [True, False], ids=["data learn", "weights alone learn"])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_the_plane_norms_weights_get_the_gradients_of_instance_norm(
    memory: torch.memory_format, learns: bool
) -> None:
    norm, x = (
        opened(PlaneNorm(6)),
        numbers(3, 6, 10, 14).contiguous(memory_format=memory).requires_grad_(learns),
    )
    wanted = F.instance_norm(x, weight=norm.weight, bias=norm.bias)  # type: ignore[arg-type]
    parameters = list(norm.parameters())
    found = torch.autograd.grad(norm(x).square().sum(), parameters)
    expected = torch.autograd.grad(wanted.square().sum(), parameters)
    assert all(torch.allclose(a, b, rtol=1e-4) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("modulations", [1, 3])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_the_plane_norms_own_backward_pass_is_that_of_instance_norm(
    memory: torch.memory_format, modulations: int, dtype: torch.dtype
) -> None:
    norm = opened(PlaneNorm(6))
    x = (5 + 3 * numbers(3, 6, 10, 14)).to(dtype).contiguous(memory_format=memory).requires_grad_()
    gamma, beta = (numbers(modulations, 6, seed=k).requires_grad_() for k in (1, 2))
    learn = [x, gamma, beta, *norm.parameters()]
    exact = F.instance_norm(x.float(), weight=norm.weight, bias=norm.bias)  # type: ignore[arg-type]
    exact = exact * (1 + gamma[:, :, None, None]) + beta[:, :, None, None]
    way = numbers(3, 6, 10, 14, seed=3)
    found, near = norm(x, gamma, beta), 1e-4 if dtype == torch.float32 else 0.02
    assert found.dtype == dtype
    assert torch.allclose(found.float(), exact, atol=near * float(exact.detach().abs().max()))
    for name, a, b in zip(
        ("x", "gamma", "beta", "weight", "bias"), torch.autograd.grad(found.float(), learn, way),
        torch.autograd.grad(exact, learn, way), strict=True,
    ):  # fmt: skip
        assert torch.allclose(a.float(), b.float(), atol=near * float(b.abs().max())), name


@pytest.mark.parametrize(("side", "kernel", "channels"), [(2, 3, 3), (4, 1, 1)])
def test_a_convolution_of_blocks_needs_no_shuffling(side: int, kernel: int, channels: int) -> None:
    conv = nn.Conv2d(channels * side * side, 5, kernel, padding=kernel // 2)
    x = numbers(2, channels, 16, 24)
    assert torch.allclose(on_blocks(x, conv, side), conv(F.pixel_unshuffle(x, side)), atol=1e-5)


def test_work_in_parts_is_the_work_on_all(monkeypatch: pytest.MonkeyPatch) -> None:
    conv, x, seen = nn.Conv2d(3, 8, 3, padding=1), numbers(5, 3, 16, 16), []
    monkeypatch.setattr("model.layers.PART_BYTES", 2 * 8 * 16 * 16 * 4)  # two slices
    conv.register_forward_hook(lambda _module, given, _made: seen.append(len(given[0])))
    found = in_parts(conv, x, 8 * 16 * 16 * 4)
    assert seen == [2, 2, 1]
    assert torch.allclose(found, conv(x), atol=1e-6)


@pytest.mark.parametrize("batch", [1, 20])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_a_convolution_of_one_pixel_is_the_same_along_rows(batch: int, memory: torch.memory_format) -> None:
    conv, x = Pointwise(6, 5), numbers(batch, 6, 7, 9).contiguous(memory_format=memory)
    assert torch.allclose(conv(x), F.conv2d(x, conv.weight, conv.bias), atol=1e-6)
    assert torch.allclose(conv1x1(x, conv.weight), F.conv2d(x, conv.weight), atol=1e-6)
    assert conv(x.contiguous(memory_format=torch.channels_last)).is_contiguous(
        memory_format=torch.channels_last
    ), "no later layer lays it out anew"


def test_details_do_not_depend_on_the_gain_of_the_scanner() -> None:
    detail, image, label = DetailNet(8, 5), numbers(1, 3, 32, 32).abs(), numbers(1, 5)
    assert torch.allclose(detail(image[None], label)[0], detail(3 * image[None], label)[0], atol=1e-3)


def test_coarse_and_fine_meet_as_if_they_had_been_concatenated() -> None:
    conv = nn.Conv2d(6 + 4, 5, 1)
    coarse, fine = numbers(4, 6, 5, 3), numbers(2, 4, 10, 6)  # two targets a slice share its fine map
    wanted = conv(torch.cat([upsample(coarse), fine.repeat_interleave(2, dim=0)], dim=1))
    assert torch.allclose(meet(conv, coarse, fine), wanted, atol=1e-5)


def test_convolutions_beside_each_other_give_what_they_give_alone() -> None:
    convs = [nn.Conv2d(6, n, 3, padding=1) for n in (1, 4, 2)]
    x = numbers(2, 6, 9, 11)
    for found, conv in zip(beside(x, *convs), convs, strict=True):
        assert torch.allclose(found, conv(x), atol=1e-5)


def test_a_detail_carries_the_label_of_its_source_and_stays_where_it_is() -> None:
    detail = DetailNet(8, 5)
    image = torch.zeros(1, 3, 32, 32)
    image[:, 1, 20, 10] = 1.0
    labels = numbers(2, 5, seed=3)
    [one], [other] = detail(image.expand(2, 1, -1, -1, -1), labels)
    assert not torch.allclose(one, other, atol=1e-3), "the same pixel in T1 and in T2 looks the same"
    empty = detail(torch.zeros(2, 1, 3, 32, 32), labels)[0][0]
    # Instance norm moves every place a little; the pixel itself stands out by far.
    change = (one - empty).abs().amax(dim=0)
    hit = (change > 0.3 * change.max()).nonzero()
    assert hit.min(dim=0).values.tolist() >= [9, 4] and hit.max(dim=0).values.tolist() <= [11, 6]


def test_a_sub_pixel_lands_on_its_own_pixel() -> None:
    """The residual head opened for the key alone gives the key, pixel by pixel; the direct head its four pixels."""
    heads = TaskHeadNet(8, 5, 4)
    with torch.no_grad():
        heads.residual.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0, 0.0]))  # type: ignore[union-attr]
        heads.direct.weight.zero_()
        heads.direct.bias.copy_(torch.tensor([0.1, 0.2, 0.3, 0.4]))  # type: ignore[union-attr]
    key = numbers(2, 1, 1, 16, 8, seed=4)
    found = heads(numbers(2, 1, 8, 4, 2), numbers(2, 1, 4, 8, 4), key, key, numbers(1, 5))
    assert torch.allclose(found.images[:, :, 0], key[:, :, 0], atol=1e-6)
    assert torch.allclose(found.images[0, 0, 1, :2, :2], torch.tensor([[0.1, 0.2], [0.3, 0.4]]))
    below, above = (width.detach() for width in found.interval())
    assert below.shape == above.shape == (2, 1, 16, 8) and float(below.min()) > 0

"""The spiral order and the state-space scan."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.scan import Mamba2, fermat_order, ssd_chunked, ssd_recurrence


@given(st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_every_pixel_is_visited_exactly_once(height: int, width: int) -> None:
    order = fermat_order(height, width)
    assert sorted(order.tolist()) == list(range(height * width))


def test_the_spiral_runs_from_the_centre_outward_pixel_by_pixel() -> None:
    order = fermat_order(64, 64)
    y, x = order // 64, order % 64
    first_turn = np.sqrt(32 / np.pi) * np.sqrt(2 * np.pi)
    assert np.hypot(y[0] - 31.5, x[0] - 31.5) <= first_turn
    steps = np.hypot(np.diff(y), np.diff(x))
    assert (steps <= 1.5).mean() > 0.9
    radius = np.hypot(y - 31.5, x - 31.5)
    assert radius[:400].max() < radius[-400:].min()


def _inputs(length: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(2, length, 4, 8, generator=g)
    dt = torch.rand(2, length, 4, generator=g) * 0.5
    a = -torch.tensor([0.5, 1.0, 4.0, 16.0])
    b, c = torch.randn(2, length, 16, generator=g), torch.randn(2, length, 16, generator=g)
    return x, dt, a, b, c, torch.tensor([1.0, -0.5, 0.0, 2.0])


@pytest.mark.parametrize("length", [1, 63, 64, 65, 200])
def test_the_chunked_scan_equals_the_recurrence(length: int) -> None:
    inputs = _inputs(length)
    truth = ssd_recurrence(*inputs)
    assert torch.allclose(ssd_chunked(*inputs).double(), truth, atol=1e-4, rtol=1e-5)
    exact = ssd_chunked(*(v.double() for v in inputs))
    assert torch.allclose(exact, truth, atol=1e-10)


def test_gradients_of_the_chunked_scan_equal_those_of_the_recurrence() -> None:
    grads = []
    for form in (ssd_recurrence, ssd_chunked):
        inputs = [v.double().requires_grad_() for v in _inputs(130, seed=3)]
        form(*inputs).square().sum().backward()
        grads.append([v.grad for v in inputs])
    for one, other in zip(*grads, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-8)


def test_strong_decay_gives_finite_values_and_gradients() -> None:
    x, dt, *others = _inputs(128)
    dt = (dt * 200).requires_grad_()
    y = ssd_chunked(x, dt, *others)
    y.sum().backward()
    assert torch.isfinite(y).all() and dt.grad is not None and torch.isfinite(dt.grad).all()


def test_a_step_of_zero_lets_nothing_in_and_everything_past() -> None:
    x, dt, *others = _inputs(70)
    dt[:, 10:60] = 0.0
    dt.requires_grad_()
    y = ssd_chunked(x, dt, *others)
    assert torch.allclose(y.double(), ssd_recurrence(x, dt, *others), atol=1e-4, rtol=1e-5)
    y.sum().backward()
    assert dt.grad is not None and torch.isfinite(dt.grad).all()


def test_what_comes_later_does_not_change_what_came_before() -> None:
    torch.manual_seed(0)
    mixer = Mamba2(16, inner=32, head=8)
    u = torch.randn(1, 90, 16)
    changed = u.clone()
    changed[:, 60:] += 1
    with torch.no_grad():
        one, other = mixer(u), mixer(changed)
    assert torch.allclose(one[:, :60], other[:, :60], atol=1e-5)
    assert not torch.allclose(one[:, 60:], other[:, 60:], atol=1e-3)

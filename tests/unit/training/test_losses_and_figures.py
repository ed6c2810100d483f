"""Losses and figures against values by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.evaluate import score, score_after_fit
from training.losses import charbonnier, pinball, ssim_map


def test_psnr_of_a_known_error() -> None:
    truth = np.full((4, 4), 0.5, np.float32)
    assert score(truth + 0.1, truth, np.ones((4, 4), bool)) == pytest.approx(20.0, abs=1e-4)


def test_only_the_mask_counts_and_both_are_clipped() -> None:
    truth = np.array([0.5, 0.5, 2.0], np.float32)
    prediction = np.array([0.6, 9.0, 1.5], np.float32)
    assert score(prediction, truth, np.array([True, False, True])) == pytest.approx(
        -10 * np.log10(0.01 / 2), abs=1e-3
    )


def test_the_fit_removes_gain_and_offset_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.2, 0.8, 1000).astype(np.float32)
    mask = np.ones(1000, bool)
    assert score_after_fit(0.3 + 0.5 * truth, truth, mask) > 80
    assert score_after_fit(rng.permutation(truth), truth, mask) < 17


def test_charbonnier_is_quadratic_near_zero_and_linear_far_away() -> None:
    e = torch.tensor([0.01, 1.0])
    value = charbonnier(e)
    assert float(value[0]) == pytest.approx(0.01**2 / 0.2, rel=0.01)
    assert float(value[1]) == pytest.approx(0.905, abs=0.001)


def test_ssim_is_one_for_equal_images_and_falls_with_noise() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 1, 32, 32)
    assert float(ssim_map(image, image).mean()) == pytest.approx(1.0, abs=1e-5)
    assert float(ssim_map(image, image + 0.3 * torch.randn_like(image)).mean()) < 0.9


def test_ssim_is_that_of_a_gaussian_window_laid_over_each_pixel() -> None:
    torch.manual_seed(0)
    a, b = torch.rand(2, 3, 4, 24, 32), torch.rand(2, 3, 1, 24, 32)
    line = np.exp(-0.5 * ((np.arange(7) - 3) / 1.5) ** 2)
    window = np.outer(line, line) / line.sum() ** 2
    found = ssim_map(a, b)
    for row, column in ((0, 0), (1, 30), (12, 16), (23, 5)):
        x, y = (np.pad(v[1, 2, 0].double().numpy(), 3)[row : row + 7, column : column + 7] for v in (a, b))
        mx, my = (window * x).sum(), (window * y).sum()
        vx, vy, c = (
            (window * x * x).sum() - mx**2,
            (window * y * y).sum() - my**2,
            (window * x * y).sum() - mx * my,
        )
        wanted = (2 * mx * my + 1e-4) * (2 * c + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
        assert float(found[1, 2, 0, row, column]) == pytest.approx(wanted, abs=1e-4)
    assert torch.allclose(ssim_map(a, b, every=2), found[..., ::2, ::2], atol=1e-5)


def test_pinball_is_least_at_the_quantile() -> None:
    sample = torch.linspace(0, 1, 1001)
    losses = [float(pinball(sample - bound, 0.95).mean()) for bound in (0.85, 0.95, 0.99)]
    assert min(losses) == losses[1]

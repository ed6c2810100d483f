"""The figures and the picture that the demo ends with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dicom_rules.geometry import Volume
from medk2n_node.demo.montage import draw
from medk2n_node.demo.score import score
from medk2n_node.synthesis.views import on_grid


@pytest.fixture
def truth() -> np.ndarray:
    return np.random.default_rng(0).uniform(0.1, 1.0, (4, 32, 32)).astype(np.float32)


MASK = np.ones((4, 32, 32), dtype=bool)


def volume(array: np.ndarray, *, shift: float = 0.0) -> Volume:
    affine = np.diag([1.0, 1.0, 5.0, 1.0])
    affine[0, 3] = shift
    return Volume(array=array, affine=affine, slices=(), frame_of_reference_uid="1.2", series_uid="1.3")


def test_an_image_equal_to_the_truth_in_other_units_scores_perfectly(truth: np.ndarray) -> None:
    scale = 1234.0
    made = truth / np.percentile(truth, 99.5) * scale
    found = score(made, scale, truth, MASK)
    assert found.psnr_db > 80 and found.ssim == pytest.approx(1.0, abs=1e-6)


def test_a_wrong_level_costs_as_it_comes_but_not_after_the_fit(truth: np.ndarray) -> None:
    made = truth / np.percentile(truth, 99.5) * 500
    found = score(made, 1000.0, truth, MASK)
    assert found.psnr_db < 15 < 80 < found.fitted_psnr_db


def test_noise_scores_below_the_constant_image(truth: np.ndarray) -> None:
    noise = np.random.default_rng(9).uniform(0, 1, truth.shape).astype(np.float32)
    found = score(noise, 1.0, truth, MASK)
    assert found.psnr_db < found.constant_db and found.ssim < 0.1


def test_only_the_mask_counts(truth: np.ndarray) -> None:
    mask = MASK.copy()
    mask[:, :, 16:] = False
    made = truth / np.percentile(truth[mask], 99.5)
    made[:, :, 16:] = 0
    assert score(made, 1.0, truth, mask).psnr_db > 60


def test_a_source_on_another_grid_is_shown_in_place(truth: np.ndarray) -> None:
    seen = on_grid(volume(truth, shift=-3.0), volume(truth), np.arange(4))
    assert np.allclose(seen[:, :, :-3], truth[:, :, 3:], atol=1e-5)
    assert np.all(seen[:, :, -3:] == 0)


def test_the_picture_has_a_column_for_every_image_and_burns_in_the_word(
    truth: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.axes import Axes

    written: list[str] = []
    original = Axes.text

    def spy(self: Axes, x: float, y: float, s: str, *args: object, **kwargs: object) -> object:
        written.append(s)
        return original(self, x, y, s, *args, **kwargs)

    monkeypatch.setattr(Axes, "text", spy)
    path = tmp_path / "montage.png"
    draw(
        path,
        target="FLAIR",
        sources={"T1": volume(truth), "T2": volume(truth)},
        synthetic=volume(truth),
        scale=1.0,
        truth=truth,
        brain=MASK,
    )
    assert path.read_bytes().startswith(b"\x89PNG")
    slices = sum(words.startswith("slice ") for words in written)
    assert slices >= 2 and written.count("SYNTHETIC") == slices

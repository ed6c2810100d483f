"""Every figure of an evaluation against a value worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.training.cases import head_case
from training.evaluate import figures, patterns, score, score_after_fit
from training.evaluate.figures import best_fit, hfen, mae, nmi, psnr, ssim_maps, z_ratio
from training.evaluate.patterns import pattern_of
from training.evaluate.statistics import by_patient, estimate, holm, wilcoxon_p


def _volume(value: float, shape: tuple[int, int, int] = (2, 24, 24)) -> np.ndarray:
    return np.full(shape, value, np.float32)


def test_psnr_and_mae_count_the_mask_alone() -> None:
    truth, made = _volume(0.5), _volume(0.6)
    made[:, :12] = 0.9
    mask = np.zeros(truth.shape, bool)
    mask[:, 12:] = True
    assert psnr(made, truth, mask) == pytest.approx(20.0, abs=1e-4)  # -10 log10(0.1^2)
    assert mae(made, truth, mask) == pytest.approx(0.1, abs=1e-6)
    mask[:] = True
    assert psnr(made, truth, mask) == pytest.approx(-10 * np.log10((0.01 + 0.16) / 2), abs=1e-4)


def test_ssim_of_two_constants_is_their_luminance_term() -> None:
    """No structure at all: (2ab + c1) / (a^2 + b^2 + c1) with c1 = 0.01^2, at every pixel, borders included."""
    a, b, c1 = 0.4, 0.6, 0.01**2
    expected = (2 * a * b + c1) / (a * a + b * b + c1)
    found = ssim_maps(_volume(a), _volume(b))
    assert found.shape == (2, 24, 24)
    assert np.allclose(found, expected, atol=1e-3)  # single precision


def test_ssim_sees_a_window_of_eleven_pixels() -> None:
    truth = np.random.default_rng(0).uniform(0.2, 0.8, (1, 31, 31)).astype(np.float32)
    made = truth.copy()
    made[0, 15, 15] += 0.5
    touched = np.flatnonzero(np.abs(ssim_maps(made, truth)[0, 15] - 1) > 1e-6)
    assert (touched[0], touched[-1]) == (10, 20)


def test_hfen_is_the_relative_error_of_the_detail() -> None:
    truth = np.random.default_rng(1).uniform(0, 1, (2, 32, 32)).astype(np.float32)
    mask = np.ones(truth.shape, bool)
    assert hfen(truth, truth, mask) == 0
    assert hfen(_volume(0.3, truth.shape), truth, mask) == pytest.approx(1.0, abs=1e-4)  # all detail is lost
    assert hfen(0.75 * truth + 0.1, truth, mask) == pytest.approx(0.25, abs=1e-4)  # a quarter of it
    assert hfen(truth, _volume(0.3, truth.shape), mask) is None


def test_nmi_is_two_for_a_relabelling_and_near_one_for_chance() -> None:
    truth = np.random.default_rng(2).integers(0, 8, (2, 32, 32)).astype(np.float32) / 8
    mask = np.ones(truth.shape, bool)
    assert nmi(1 - truth, truth, mask) == pytest.approx(2.0, abs=1e-6)
    shuffled = np.random.default_rng(3).permutation(truth.ravel()).reshape(truth.shape)
    assert nmi(shuffled, truth, mask) < 1.02
    assert nmi(_volume(0.5, truth.shape), truth, mask) == 1.0


def test_flicker_between_slices_needs_neighbours() -> None:
    truth = np.arange(4, dtype=np.float32)[:, None, None] * np.ones((4, 3, 3), np.float32) / 10
    mask = np.ones(truth.shape, bool)
    assert z_ratio(2 * truth, truth, mask, np.arange(4)) == pytest.approx(2.0)
    assert z_ratio(2 * truth, truth, mask, np.arange(0, 8, 2)) is None


def test_the_fit_removes_gain_and_offset_and_gives_a_constant_its_best() -> None:
    truth = np.random.default_rng(4).uniform(0.2, 0.8, (2, 16, 16)).astype(np.float32)
    mask = np.ones(truth.shape, bool)
    assert np.allclose(best_fit(0.2 + 0.5 * truth, truth, mask), truth, atol=1e-5)
    assert np.allclose(best_fit(_volume(0.1, truth.shape), truth, mask), truth.mean(), atol=1e-6)


def test_lesion_and_rest_are_told_apart_and_the_bias_has_a_sign() -> None:
    brain = np.zeros((2, 24, 24), bool)
    brain[:, 4:20, 4:20] = True
    lesion = np.zeros_like(brain)
    lesion[:, 8:12, 8:12] = True
    truth = np.random.default_rng(5).uniform(0.3, 0.5, brain.shape).astype(np.float32) * brain
    made = np.where(lesion, truth - 0.2, truth + 0.1 * brain).astype(np.float32)
    found = figures(made, truth, brain, lesion, np.arange(2))
    assert found["lesion"] is not None and found["rest"] is not None
    assert found["lesion"]["psnr"] == pytest.approx(-20 * np.log10(0.2), abs=1e-3)
    assert found["lesion"]["bias"] == pytest.approx(-0.2, abs=1e-5)
    assert found["lesion"]["voxels"] == 32
    assert found["rest"]["psnr"] == pytest.approx(20.0, abs=1e-3)
    without = figures(made, truth, brain, np.zeros_like(brain), np.arange(2))
    assert without["lesion"] is None and without["rest"] is None


def test_the_main_figures_are_those_of_the_protocol() -> None:
    """One protocol: the report's PSNR is what the training's log says of the same images."""
    rng = np.random.default_rng(6)
    brain = np.zeros((3, 30, 26), bool)
    brain[:, 3:27, 4:20] = True
    truth = rng.uniform(0, 1.1, brain.shape).astype(np.float32)
    made = (0.3 + 0.5 * truth + rng.normal(0, 0.1, brain.shape)).astype(np.float32)
    found = figures(made, truth, brain, np.zeros_like(brain), np.arange(3))
    assert found["raw"] is not None and found["fit"] is not None
    assert found["raw"]["psnr"] == pytest.approx(score(made, truth, brain), abs=1e-3)
    assert found["fit"]["psnr"] == pytest.approx(score_after_fit(made, truth, brain), abs=1e-3)


def test_whole_slices_with_their_background_flatter_as_the_papers_do() -> None:
    brain = np.zeros((1, 40, 40), bool)
    brain[:, 10:30, 10:30] = True  # a quarter of the slice
    truth = 0.5 * brain.astype(np.float32)
    found = figures(0.6 * brain.astype(np.float32), truth, brain, np.zeros_like(brain), np.arange(1))
    assert found["legacy"] is not None and found["raw"] is not None
    assert found["raw"]["psnr"] == pytest.approx(20.0, abs=1e-3)
    assert found["legacy"]["psnr"] == pytest.approx(20.0 + 10 * np.log10(4), abs=1e-3)


def test_four_contrasts_have_fourteen_patterns_and_sources_are_never_targets() -> None:
    found = patterns(("T1", "T1C", "T2", "FLAIR"))
    assert len(found) == len(set(found)) == 14
    assert all(not set(s) & set(t) and len(s) + len(t) == 4 for s, t in found)
    assert found[0] == (("T1",), ("T1C", "T2", "FLAIR"))


def test_a_case_answers_what_it_was_scanned_for() -> None:
    case = head_case("a", ("T1", "FLAIR"), 1.0)
    assert pattern_of(case, (("T1",), ("T2", "FLAIR"))) == (("T1",), ("FLAIR",))
    assert pattern_of(case, (("T1", "T2"), ("FLAIR",))) is None
    assert pattern_of(case, (("T1",), ("T2",))) is None
    assert pattern_of(case, (("T1",), ("FLAIR",)), known=("T1", "T2")) is None


def test_holm_multiplies_the_smallest_most_and_never_falls() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == [
        pytest.approx(0.03),
        None,
        pytest.approx(0.06),
        pytest.approx(0.06),
    ]
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_the_patient_is_the_unit() -> None:
    rows = [("a", 1.0), ("a", 3.0), ("b", 6.0)]
    assert by_patient(rows) == {"a": 2.0, "b": 6.0}
    found = estimate(by_patient(rows))
    assert (found.mean, found.patients) == (4.0, 2)  # not 10/3, the mean of the rows
    assert found.low == pytest.approx(2.0) and found.high == pytest.approx(6.0)
    assert estimate({"a": 2.0}).low is None


def test_wilcoxon_of_six_patients_that_agree_is_two_to_the_minus_five() -> None:
    assert wilcoxon_p([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]) == pytest.approx(2**-5)
    assert wilcoxon_p([0.1]) is None
    assert wilcoxon_p([0.0, 0.0]) is None

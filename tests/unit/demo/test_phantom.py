"""The computed head looks like a head, and its truth is what a scan would have shown."""

from __future__ import annotations

import numpy as np
import pytest

from medk2n_node.demo.maps import Head, head
from medk2n_node.demo.phantom import axial_grid, ideal, look, motion, scan

GRID = axial_grid(slices=7, spacing_mm=20.0)
STILL = np.eye(4)


@pytest.fixture(scope="module")
def model() -> Head:
    return head()


def test_fractions_fill_a_voxel_and_no_more(model: Head) -> None:
    total = sum(model.fractions.values())
    assert float(total.max()) <= 1.01
    inside = model.brain > 0
    assert float(np.abs(total[inside] - 1.0).mean()) < 0.01
    assert 1200 < float(model.brain.sum()) / 1000 < 2100  # ml; an adult's intracranial volume


def test_the_head_has_every_tissue_and_small_lesions_in_white_matter(model: Head) -> None:
    millilitres = {name: float(part.sum()) / 1000 for name, part in model.fractions.items()}
    assert 300 < millilitres["white"] < 900 and 400 < millilitres["grey"] < 1200
    assert millilitres["csf"] > 100 and millilitres["deep_grey"] > 10
    assert 0.5 < millilitres["lesion"] < 10
    assert min(millilitres[name] for name in ("bone", "fat", "muscle")) > 50


def test_contrasts_are_those_of_their_sequences(model: Head) -> None:
    pure = {name: model.fractions[name] > 0.98 for name in ("csf", "white")}
    means = {}
    for contrast in ("T1", "T2", "FLAIR"):
        image = ideal_on_maps(model, contrast)
        means[contrast] = {name: float(image[mask & (model.brain > 0)].mean()) for name, mask in pure.items()}
    assert means["T1"]["white"] > 2 * means["T1"]["csf"]
    assert means["T2"]["csf"] > 2 * means["T2"]["white"]
    assert means["FLAIR"]["white"] > 2 * means["FLAIR"]["csf"]


def ideal_on_maps(model: Head, contrast: str) -> np.ndarray:
    from medk2n_node.demo.phantom import SEQUENCES
    from training.simulation import simulate

    return simulate(model.fractions, SEQUENCES[contrast])


def test_a_scan_is_the_same_for_the_same_seed_and_fits_12_bits(model: Head) -> None:
    one = scan(model, "T2", GRID, STILL, seed=4)
    assert np.array_equal(one, scan(model, "T2", GRID, STILL, seed=4))
    assert not np.array_equal(one, scan(model, "T2", GRID, STILL, seed=5))
    assert one.dtype == np.uint16 and one.shape == (7, 224, 192) and one.max() <= 4095
    assert 5 < one[:, :5, :5].mean() < 40  # the air holds noise


def test_a_scan_follows_its_truth_up_to_noise_and_shading(model: Head) -> None:
    brain = look(model, model.brain, GRID, STILL, sub_slices=1) > 0.5
    seen = scan(model, "T2", GRID, STILL, seed=4)[brain].astype(float)
    truth = ideal(model, "T2", GRID, STILL)[brain].astype(float)
    assert np.corrcoef(seen, truth)[0, 1] > 0.98


def test_motion_moves_the_head_and_the_truth_with_it(model: Head) -> None:
    moved = motion(shift_mm=(10.0, 0.0, 0.0), turn_deg=0.0)
    still, shifted = (look(model, model.brain, GRID, m, sub_slices=1) for m in (STILL, moved))
    assert np.allclose(shifted[:, :, 10:], still[:, :, :-10], atol=1e-3)

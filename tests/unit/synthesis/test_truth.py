"""How near a synthetic series came to the real one: figures that can be foretold, and reasons where there are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from medk2n_node.demo.maps import head
from medk2n_node.demo.phantom import axial_grid, look, motion, scan
from medk2n_node.demo.study import ScannedSeries, WrittenStudy, write_study
from medk2n_node.synthesis import measure

pytestmark = pytest.mark.slow  # the brain mask is a network


def written(folder: Path, name: str, array: np.ndarray, affine: np.ndarray) -> WrittenStudy:
    return write_study(folder / name, ScannedSeries(contrast="FLAIR", array=array, affine=affine), key=name)


def test_the_same_head_after_a_motion_is_near_and_a_darker_one_is_off_by_as_much(tmp_path: Path) -> None:
    grid = axial_grid(slices=20, spacing_mm=6.0)
    model = head()
    rest = motion(shift_mm=(0.0, 0.0, 0.0), turn_deg=0.0)
    still = scan(model, "FLAIR", grid, rest, seed=1)
    top = float(np.percentile(still[look(model, model.brain, grid, rest, sub_slices=1) > 0.5], 99.5))
    real = written(tmp_path, "real", still, grid.affine).files["FLAIR"]

    half = measure(real, real, contrast="FLAIR", scale=2 * top)
    assert half.words == "They lie on one grid."
    assert half.error is not None and 0.15 < half.error < 0.5 and half.voxels > 10_000

    turned = motion(shift_mm=(4.0, -3.0, 2.0), turn_deg=4.0)
    away = written(tmp_path, "moved", scan(model, "FLAIR", grid, turned, seed=2), grid.affine).files["FLAIR"]
    other_place = [dcmread(path) for path in away]
    for one, path in zip(other_place, away, strict=True):
        one.ImagePositionPatient[0] = float(one.ImagePositionPatient[0]) + 0.5  # no longer on one grid
        one.save_as(path)
    near = measure(away, real, contrast="FLAIR", scale=top)
    assert near.psnr_db is not None and near.psnr_db > 18, near.words
    assert near.error is not None and near.error < 0.1


def test_an_image_without_an_image_in_it_cannot_be_measured_and_says_why(tmp_path: Path) -> None:
    blank = written(tmp_path, "blank", np.ones((12, 40, 40), np.uint16), np.diag([5.0, 5.0, 5.0, 1.0]))
    found = measure(blank.files["FLAIR"], blank.files["FLAIR"], contrast="FLAIR", scale=1000.0)
    assert (found.psnr_db, found.error) == (None, None)
    assert found.words.startswith(
        "The error could not be measured (the real FLAIR: all pixels have the same value"
    )


def test_slices_that_form_no_volume_cannot_be_measured(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(1, 4000, (12, 40, 40)).astype(np.uint16)
    files = written(tmp_path, "gap", noise, np.diag([5.0, 5.0, 5.0, 1.0])).files["FLAIR"]
    found = measure(files[:3] + files[7:], files, contrast="FLAIR", scale=1000.0)
    assert found.psnr_db is None and found.words.startswith("The error could not be measured (")

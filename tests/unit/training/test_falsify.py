"""What is spoilt is spoilt in the way that its name says, and the scores see it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medk2n_node.cli.app import main
from model import Bundle, load_bundle
from model.bundle import default_folder
from tests.unit.training.cases import small_case
from training.archive import save_case
from training.errors import TrainingError
from training.falsify import CORRUPTIONS, SCORES, Falsified, Trial, falsify
from training.falsify.remake import Remade
from training.falsify.scores import agreement, foreign, misplacement

CASE = small_case("a", ("T1", "T2", "FLAIR"), 1.0, depth=4)
LESION = CASE.brain & (np.hypot(*(np.indices(CASE.brain.shape)[1:] - 30)) < 5)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_corruption_changes_one_source_and_leaves_the_others(kind: str) -> None:
    case = replace(CASE, lesion=LESION)
    spoilt = CORRUPTIONS[kind](case, "T2", np.random.default_rng(1))
    assert spoilt is not None
    changed = {
        name for name in case.contrasts if not np.array_equal(spoilt.contrasts[name], case.contrasts[name])
    }
    assert "T2" in changed
    assert len(changed) == (2 if kind == "label swap" else 1)
    assert all(np.isfinite(volume).all() for volume in spoilt.contrasts.values())
    assert np.array_equal(spoilt.brain, case.brain)


def test_a_lesion_that_is_not_there_cannot_be_erased() -> None:
    assert CORRUPTIONS["lesion erased"](CASE, "T2", np.random.default_rng(1)) is None


def remade(acquired: np.ndarray, truth: np.ndarray, brain: np.ndarray) -> Remade:
    return Remade(
        z=np.arange(len(brain)),
        acquired=acquired,
        remade=truth,
        half_width=np.full_like(truth, 0.1),
        brain=brain,
    )


def head() -> tuple[np.ndarray, np.ndarray]:
    """Two slices of blobs in an ellipse."""
    from scipy import ndimage

    z, y, x = np.mgrid[0:2, 0:96, 0:96]
    brain = ((y - 48) / 36) ** 2 + ((x - 48) / 30) ** 2 + 0 * z < 1
    noise = ndimage.gaussian_filter(np.random.default_rng(2).standard_normal(brain.shape), (0, 3, 3))
    return ((0.5 + 2 * noise) * brain).astype(np.float32), brain


def test_a_source_that_lies_elsewhere_would_agree_more_if_it_were_moved_back() -> None:
    image, brain = head()
    assert misplacement(remade(image, image, brain), 1.0) == pytest.approx(0.0, abs=1e-6)
    moved = np.roll(image, (6, -3), axis=(1, 2))
    assert misplacement(remade(moved, image, brain), 1.0) > 0.3
    from scipy import ndimage

    turned = ndimage.rotate(image, 10, axes=(2, 1), reshape=False, order=1)
    assert misplacement(remade(turned, image, brain), 1.0) > 0.1


def test_a_ball_that_the_others_do_not_explain_is_foreign() -> None:
    image, brain = head()
    rng = np.random.default_rng(4)
    noisy = (image + 0.03 * rng.standard_normal(image.shape) * brain).astype(np.float32)
    y, x = np.mgrid[0:96, 0:96]
    ball = noisy + 0.4 * (np.hypot(y - 40, x - 50) < 7).astype(np.float32)
    usual, struck = (foreign(remade(one, image, brain), 1.0) for one in (noisy, ball))
    assert struck > 3 * usual
    assert agreement(remade(noisy, image, brain)) > 0.9


def test_the_auroc_is_the_chance_that_a_spoilt_case_scores_higher() -> None:
    def trial(kind: str, value: float) -> Trial:
        return Trial(case="a", kind=kind, source="", scores=dict.fromkeys(SCORES, value))

    found = Falsified(
        trials=(trial("sound", 1.0), trial("sound", 30.0), trial("shift", 20.0), trial("shift", 40.0))
    )
    assert found.auroc("shift", "foreign") == pytest.approx(0.75)
    assert found.auroc("rotation", "foreign") is None
    rows = {one["kind"]: one for one in found.to_json()["kinds"]}
    assert rows["shift"]["reached"] is False and rows["rotation"]["auroc"] is None


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle()


def test_every_kind_is_tried_on_every_case_from_what_the_node_has(bundle: Bundle) -> None:
    cases = [small_case(name, ("T1", "T2"), 1.0, depth=2) for name in ("a", "b")]
    found = falsify(bundle, cases, slices=1)
    kinds = [one.kind for one in found.trials]
    assert kinds.count("sound") == 2
    assert all(kinds.count(kind) == (0 if kind == "lesion erased" else 2) for kind in CORRUPTIONS)
    assert all(set(one.scores) == set(SCORES) for one in found.trials)
    assert all(np.isfinite(value) for one in found.trials for value in one.scores.values())


def test_the_command_takes_a_plain_folder_of_cases(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        save_case(small_case(name, ("T1", "T2"), 1.0, depth=2), tmp_path / f"{name}.npz")
    arguments = ["train", "falsify", str(default_folder()), str(tmp_path), "--slices", "1", "--json"]
    assert main(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["sound"] == 2 and {one["kind"] for one in told["kinds"]} == set(CORRUPTIONS)


def test_cases_of_one_contrast_cannot_contradict_themselves(bundle: Bundle) -> None:
    with pytest.raises(TrainingError, match="nothing can contradict anything"):
        falsify(bundle, [small_case("a", ("T1",), 1.0, depth=2)])

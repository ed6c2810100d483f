"""The three arms of the downstream experiment are what they say they are."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest

from tests.unit.training.cases import small_case
from training.archive import Case
from training.downstream import SWAPPED, Arm, Downstream, arms_of, downstream
from training.downstream.segmenter import dice
from training.errors import TrainingError
from training.peers import brain_slices
from training.peers.method import Images, Numbers

CONTRASTS = ("T1", "T2", "FLAIR")


@dataclass
class Marked:
    """Gives a value that no scan has, and remembers what it was asked."""

    name: str = "marked"
    value: float = 0.987

    def __post_init__(self) -> None:
        self.asked: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = []

    def predict(
        self, case: Case, sources: tuple[str, ...], targets: tuple[str, ...], every: int = 1
    ) -> tuple[Images, Numbers]:
        self.asked.append((case.name, sources, targets))
        z = brain_slices(case, every)
        return np.full((len(z), len(targets), *case.brain.shape[1:]), self.value, np.float32), z


def ill(name: str, place: int = 28) -> Case:
    """A head whose lesion is bright on FLAIR and shows nowhere else."""
    case = small_case(name, CONTRASTS, 0.6)
    lesion = np.zeros_like(case.brain)
    lesion[2:6, place : place + 8, 28:36] = True
    flair = case.contrasts["FLAIR"].copy()
    flair[lesion] = 1.2
    return replace(case, lesion=lesion, contrasts={**case.contrasts, "FLAIR": flair})


def test_the_arms_differ_in_the_missing_contrast_and_in_nothing_else() -> None:
    method, case = Marked(), ill("a")
    arms = {arm: stacks[0] for arm, stacks in arms_of([case], CONTRASTS, "FLAIR", method).items()}
    real, minus, synthetic = arms[Arm.REAL], arms[Arm.MINUS], arms[Arm.SYNTHETIC]
    assert real.channels == ("T1", "T2", "FLAIR")
    assert minus.channels == ("T1", "T2")
    assert synthetic.channels == ("T1", "T2", "FLAIR (synthetic)")
    assert np.array_equal(real.image[:, :2], minus.image)
    assert np.array_equal(synthetic.image[:, :2], minus.image)
    z = brain_slices(case)
    assert np.array_equal(real.image[:, 2], case.contrasts["FLAIR"][z].astype(np.float32) * case.brain[z])
    assert np.unique(synthetic.image[:, 2][case.brain[z]]).tolist() == [np.float32(method.value)]
    for one in arms.values():
        assert np.array_equal(one.truth, case.lesion[z])
        assert not one.image[np.broadcast_to(~one.brain[:, None], one.image.shape)].any()


def test_the_synthetic_channel_never_sees_the_scanned_one() -> None:
    method = Marked()
    arms_of([ill("a"), ill("b")], CONTRASTS, "FLAIR", method, every=2)
    assert method.asked == [("a", ("T1", "T2"), ("FLAIR",)), ("b", ("T1", "T2"), ("FLAIR",))]


def test_dice_by_hand() -> None:
    a, b = np.zeros((2, 4, 4), bool), np.zeros((2, 4, 4), bool)
    a[0, 0, :3], b[0, 0, 1:] = True, True  # 3 and 3, 2 in common
    assert dice(a, b) == pytest.approx(2 * 2 / 6)
    assert dice(b, b) == 1.0
    assert dice(np.zeros_like(b), b) == 0.0


@pytest.fixture(scope="module")
def found() -> Downstream:
    return downstream(
        Marked(), [ill("a"), ill("b", 22), small_case("healthy", CONTRASTS, 0.6)], [ill("c", 18), ill("d", 30)],
        CONTRASTS, "FLAIR", steps=60, seeds=(1,), size=32,
    )  # fmt: skip


def test_a_contrast_that_shows_the_lesion_helps_and_an_empty_copy_of_it_does_not(found: Downstream) -> None:
    document = found.to_json()
    assert document["trained_on"] == 2, "a case without a lesion takes no part"
    assert set(document["arms"]) == {*map(str, Arm), SWAPPED}
    dices = {arm: one["mean"] for arm, one in document["arms"].items()}
    assert dices["real"] > 0.6
    assert dices["real"] > dices["real minus one"] + 0.2
    assert dices[SWAPPED] < 0.3, "a constant in the place of FLAIR shows no lesion"
    assert document["gain"]["possible"] == pytest.approx(dices["real"] - dices["real minus one"], abs=1e-6)
    assert any("2 test patients" in line for line in document["not_checked"])


def test_the_result_is_said_in_words(found: Downstream) -> None:
    assert found.words()[-1].startswith("Synthetic FLAIR changes Dice by ")


def test_a_stride_that_passes_all_lesions_by_is_refused_and_a_patient_it_loses_is_not_counted() -> None:
    thin = [
        replace(ill(name), lesion=ill(name).lesion & (np.arange(8) == 3)[:, None, None]) for name in "abcde"
    ]
    whole = [ill(name) for name in "fgh"]
    with pytest.raises(TrainingError, match="0 of 2 training cases .* 1 of 1 test cases") as caught:
        downstream(Marked(), thin[:2], whole[:1], CONTRASTS, "FLAIR", steps=1, every=2, size=32)
    assert "--every" in caught.value.cure
    with pytest.raises(TrainingError, match="0 of 1 test cases"):
        downstream(Marked(), whole[:2], thin[:1], CONTRASTS, "FLAIR", steps=1, every=2, size=32)
    found = downstream(
        Marked(), whole[:2], [whole[2], thin[0]], CONTRASTS, "FLAIR", steps=1, every=2, size=32
    )
    assert set(found.patients) == {"h"} and found.unseen == 1
    assert "1 test patients do not count" in " ".join(found.not_checked())
    assert "NaN" not in json.dumps(found.to_json())


def test_too_few_lesions_or_a_contrast_that_is_none_are_refused() -> None:
    healthy = small_case("healthy", CONTRASTS, 0.6)
    with pytest.raises(TrainingError, match="1 of 2 have a lesion mask"):
        downstream(Marked(), [ill("a"), healthy], [ill("c")], CONTRASTS, "FLAIR")
    with pytest.raises(TrainingError, match="it cannot be left out of"):
        downstream(Marked(), [], [], CONTRASTS, "DWI")

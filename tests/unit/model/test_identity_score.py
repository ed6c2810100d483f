"""What the judge of identity says decides what leaves the network; the order of the arguments decides nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import model.synthesis
from model import Bundle, Image, Outputs, load_bundle, synthesize
from model.imaging import BrainMask

SHAPE = (4, 96, 96)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    # Noise is a stranger to the calibration's distance; here the judge alone decides.
    return replace(load_bundle(), worst_expected_error=10.0, calibration=None)


def _image(seed: int) -> tuple[Image, BrainMask]:
    z, y, x = np.mgrid[0:4, 0:96, 0:96]
    inside = np.hypot((y - 48) / 40, (x - 48) / 34) < 1
    rng = np.random.default_rng(seed)
    image = Image(
        array=((0.4 + 0.3 * rng.random(SHAPE)) * inside * 1000).astype(np.float32)
        + 0.0 * z.astype(np.float32),
        affine=np.diag([1.0, 1.0, 5.0, 1.0]),
        frame_of_reference="1.2.3",
    )
    return image, BrainMask(mask=inside, stripped=False, volume_ml=1200.0)


def _made(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle, target: str, looks: dict[str, float] | None
) -> Outputs:
    image, mask = _image(1)
    monkeypatch.setattr(model.synthesis, "brain_mask", lambda image, subject: mask)
    if looks is None:
        bundle = replace(bundle, identity=None)
    else:
        bundle = replace(bundle, identity=object())  # type: ignore[arg-type]
        monkeypatch.setattr(model.synthesis, "identity_probabilities", lambda *arguments: looks)
    return synthesize({"T2": image}, [target], bundle)


def test_an_image_that_looks_like_another_contrast_is_abstained_from(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle
) -> None:
    looks = {"T1": 0.02, "T1C": 0.01, "T2": 0.9, "FLAIR": 0.07}
    result = _made(monkeypatch, bundle, "FLAIR", looks).targets["FLAIR"]
    assert result.abstained and result.quality["identity"] == 0.07
    assert result.reasons[-1] == "Abstained: the image looks like T2 (0.90), not like FLAIR (0.07)."


def test_an_image_that_is_its_own_contrast_carries_its_score(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle
) -> None:
    result = _made(monkeypatch, bundle, "FLAIR", {"T2": 0.1, "FLAIR": 0.9}).targets["FLAIR"]
    assert not result.abstained and result.quality["identity"] == 0.9


def test_t1_without_and_with_agent_are_kin(monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
    result = _made(monkeypatch, bundle, "T1C", {"T1": 0.8, "T1C": 0.1, "FLAIR": 0.1}).targets["T1C"]
    assert not result.abstained and result.quality["identity"] == pytest.approx(0.9)


def test_without_a_judge_no_score_is_made_up(monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
    result = _made(monkeypatch, bundle, "FLAIR", None).targets["FLAIR"]
    assert not result.abstained and "identity" not in result.quality


def test_the_order_in_which_sources_and_targets_are_named_changes_no_bit(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle
) -> None:
    images = {contrast: _image(seed) for seed, contrast in enumerate(("T1", "T2", "DWI"))}
    monkeypatch.setattr(model.synthesis, "brain_mask", lambda image, subject: images["T1"][1])
    one = synthesize({c: images[c][0] for c in ("T1", "T2", "DWI")}, ["FLAIR", "T1C"], bundle, reference="T1")
    other = synthesize(
        {c: images[c][0] for c in ("DWI", "T1", "T2")}, ["T1C", "FLAIR"], bundle, reference="T1"
    )
    for contrast in ("FLAIR", "T1C"):
        a, b = one.targets[contrast], other.targets[contrast]
        assert np.array_equal(a.array, b.array) and np.array_equal(a.uncertainty, b.uncertainty)
        assert a.contributions == b.contributions and a.quality == b.quality


def test_exchanging_the_labels_of_two_sources_changes_the_image(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle
) -> None:
    images = {contrast: _image(seed) for seed, contrast in enumerate(("T1", "T2"))}
    monkeypatch.setattr(model.synthesis, "brain_mask", lambda image, subject: images["T1"][1])
    right = synthesize({"T1": images["T1"][0], "T2": images["T2"][0]}, ["FLAIR"], bundle, reference="T1")
    wrong = synthesize({"T1": images["T2"][0], "T2": images["T1"][0]}, ["FLAIR"], bundle, reference="T1")
    assert int(np.abs(right.targets["FLAIR"].array.astype(int) - wrong.targets["FLAIR"].array).max()) > 10

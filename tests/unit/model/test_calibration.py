"""What a bundle says of its own trustworthiness: which factor is taken, what it is called, when it abstains."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import model.synthesis
from model import Bundle, BundleError, Image, TargetResult, load_bundle, synthesize, verify_bundle
from model.bundle import default_folder, restate_bundle
from model.bundle.seal import MANIFEST
from model.calibration import Calibration, Distance, Entry, calibration_fault, encoded, patients_needed
from model.imaging import BrainMask


def entry(
    sources: tuple[str, ...],
    patients: int,
    factor: float | None,
    empirical: float | None,
    site: str = "unknown",
) -> Entry:
    return Entry(
        target="FLAIR", sources=sources, site=site, patients=patients, factor=factor, empirical=empirical
    )


KNOWN = Calibration(
    alpha=0.1,
    delta=0.1,
    entries=(
        entry(("T1", "T2"), 31, 1.5, 1.2),
        entry(("T1", "T2"), 25, 1.7, 1.3, site="here"),
        entry(("T1",), 13, None, 1.1),
        entry((), 40, 2.0, 1.4),
    ),
)


def test_22_patients_are_the_fewest_that_carry_a_guarantee() -> None:
    assert patients_needed(0.1, 0.1) == 22
    assert patients_needed(0.1, 0.05) == 29


def test_the_factor_of_the_same_sources_and_site_is_called_calibrated_with_its_patients() -> None:
    found = KNOWN.interval("FLAIR", ("T1", "T2"), "here")
    assert (found.factor, found.calibrated, found.patients) == (1.7, True, 25)
    assert found.words.startswith("The uncertainty interval is calibrated on 25 patients (factor 1.70)")


@pytest.mark.parametrize(
    ("sources", "site", "factor", "patients", "words"),
    [
        (
            ("T1", "T2"),
            "elsewhere",
            1.5,
            31,
            "uncalibrated: no guarantee was measured at the site elsewhere;",
        ),
        (
            ("T1",),
            "unknown",
            1.1,
            13,
            "uncalibrated: 13 are fewer than the 22 patients that a guarantee needs;",
        ),
        (("T2",), "here", 2.0, 40, "uncalibrated: no factor was measured for T2;"),
    ],
)
def test_any_other_factor_is_used_and_called_uncalibrated(
    sources: tuple[str, ...], site: str, factor: float, patients: int, words: str
) -> None:
    found = KNOWN.interval("FLAIR", sources, site)
    assert (found.factor, found.calibrated, found.patients) == (factor, False, patients)
    assert words in found.words


def test_what_few_patients_showed_gives_way_to_what_more_showed_of_any_sources() -> None:
    def one(sources: tuple[str, ...], patients: int, empirical: float) -> Entry:
        return Entry(
            target="T2", sources=sources, site="unknown", patients=patients, factor=None, empirical=empirical
        )

    of_three = one(("T1",), 3, 0.8)
    known = Calibration(alpha=0.1, delta=0.1, entries=(of_three, one((), 12, 1.1)))
    found = known.interval("T2", ("T1",))
    assert (found.factor, found.patients, found.calibrated) == (1.1, 12, False)
    assert (
        "uncalibrated: 3 patients are too few for T1 alone; it is scaled by what 12 patients" in found.words
    )


@pytest.mark.parametrize(
    ("patients", "empirical", "factor", "words"),
    [
        (4, 0.64, 1.0, "; what 4 patients showed (factor 0.64) is too little to narrow it."),
        (1, 0.64, 1.0, "; what 1 patient showed (factor 0.64) is too little to narrow it."),
        (4, 1.3, 1.3, "; it is scaled by what 4 patients showed (factor 1.30), without a guarantee."),
        (5, 0.64, 0.64, "; it is scaled by what 5 patients showed (factor 0.64), without a guarantee."),
    ],
)
def test_few_patients_widen_an_interval_and_never_narrow_it(
    patients: int, empirical: float, factor: float, words: str
) -> None:
    known = Calibration(
        alpha=0.1, delta=0.1, entries=(entry(("T1",), patients, None, empirical), entry((), 1, None, 0.5))
    )
    found = known.interval("FLAIR", ("T1",))
    assert (found.factor, found.calibrated, found.patients) == (factor, False, patients)
    assert found.words.endswith(words)


def test_a_target_that_was_never_measured_keeps_the_networks_own_width() -> None:
    found = KNOWN.interval("ADC", ("T1",), "unknown")
    assert (found.factor, found.words) == (1.0, "The uncertainty interval is uncalibrated.")


FACT: dict[str, Any] = {
    "alpha": 0.1,
    "delta": 0.1,
    "entries": [
        {
            "target": "FLAIR",
            "sources": ["T1"],
            "site": "unknown",
            "patients": 30,
            "factor": 1.4,
            "empirical": 1.1,
        }
    ],
    "distance": {
        "means": {"T1": encoded(np.zeros(3))},
        "whitening": encoded(np.eye(3)),
        "threshold": 2.0,
        "patients": 5,
    },
    "quality": {"FLAIR": {"worst": 0.2, "patients": 30}},
}


def test_a_sound_fact_and_none_at_all_are_accepted() -> None:
    assert calibration_fault(FACT) is None
    assert calibration_fault(None) is None


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"alpha": 0}, "alpha"),
        ({"entries": None}, "entries"),
        ({"entries": [{**FACT["entries"][0], "patients": 21}]}, "on 21 patients, 22 are the fewest"),
        ({"entries": [{**FACT["entries"][0], "factor": -1}]}, "entries[0].factor"),
        ({"entries": [{k: v for k, v in FACT["entries"][0].items() if k != "site"}]}, "entries[0].site"),
        ({"distance": {**FACT["distance"], "whitening": encoded(np.eye(2))}}, "square"),
        ({"distance": {**FACT["distance"], "whitening": "not base64!"}}, "calibration.distance"),
        ({"quality": {"FLAIR": {"worst": 0}}}, "calibration.quality"),
    ],
)
def test_a_fact_of_another_form_is_named(changed: dict[str, Any], words: str) -> None:
    assert words in str(calibration_fault({**FACT, **changed}))


def test_a_bundle_is_restated_with_its_calibration_under_a_digest_of_its_own(tmp_path: Path) -> None:
    digest = restate_bundle(default_folder(), tmp_path / "b", {"calibration": FACT}, card="# other\n")
    facts = verify_bundle(tmp_path / "b")
    assert facts.digest == digest != verify_bundle(default_folder()).digest
    assert facts.card == "# other\n"
    opened = load_bundle(tmp_path / "b")
    assert opened.calibration is not None and opened.calibration.distance is not None
    assert opened.calibration.worst == {"FLAIR": 0.2}
    assert opened.calibration.interval("FLAIR", ("T1",)).calibrated


def test_a_bundle_that_calls_itself_calibrated_by_too_few_patients_is_not_written(tmp_path: Path) -> None:
    wrong = {**FACT, "entries": [{**FACT["entries"][0], "patients": 3}]}
    with pytest.raises(BundleError, match="22 are the fewest"):
        restate_bundle(default_folder(), tmp_path / "b", {"calibration": wrong})
    assert not (tmp_path / "b" / MANIFEST).exists()


def test_a_bundle_of_before_calibration_still_opens(tmp_path: Path) -> None:
    restate_bundle(default_folder(), tmp_path / "b", {"version": "old"})
    file = tmp_path / "b" / MANIFEST
    manifest = json.loads(file.read_text())
    manifest.pop("calibration", None)
    from model.bundle.seal import CARD, IDENTITY, IDENTITY_WEIGHTS, WEIGHTS, write_sealed

    kept = {n: (tmp_path / "b" / n).read_bytes() for n in (CARD, WEIGHTS, IDENTITY, IDENTITY_WEIGHTS)}
    write_sealed(tmp_path / "b", {**kept, MANIFEST: json.dumps(manifest).encode()})
    assert load_bundle(tmp_path / "b").calibration is None


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return replace(load_bundle(), worst_expected_error=10.0, identity=None, interval_factor=None)


def _flair(monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> TargetResult:
    z, y, x = np.mgrid[0:3, 0:64, 0:64]
    inside = np.hypot((y - 32) / 28, (x - 32) / 24) < 1
    rng = np.random.default_rng(1)
    array = ((0.4 + 0.3 * rng.random(inside.shape)) * inside * 1000 + 0.0 * z).astype(np.float32)
    image = Image(array=array, affine=np.diag([1.0, 1.0, 5.0, 1.0]), frame_of_reference="1.2.3")
    mask = BrainMask(mask=inside, stripped=False, volume_ml=1200.0)
    monkeypatch.setattr(model.synthesis, "brain_mask", lambda image, subject: mask)
    return synthesize({"T1": image}, ["FLAIR"], bundle).targets["FLAIR"]


def test_the_uncertainty_map_is_widened_by_the_factor_and_the_result_says_by_whom(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle
) -> None:
    plain = _flair(monkeypatch, replace(bundle, calibration=None))
    assert (plain.calibrated, plain.calibration_patients) == (False, 0)
    assert "The uncertainty interval is uncalibrated." in plain.reasons
    known = replace(KNOWN, entries=(entry(("T1",), 22, 1.5, 1.2),))
    wide = _flair(monkeypatch, replace(bundle, calibration=known))
    assert (wide.calibrated, wide.calibration_patients) == (True, 22)
    assert np.allclose(wide.uncertainty, 1.5 * plain.uncertainty, rtol=1e-5)
    assert np.array_equal(wide.array, plain.array), "the image is the same"
    few = _flair(monkeypatch, replace(bundle, calibration=KNOWN))
    assert (few.calibrated, few.calibration_patients) == (False, 13)
    assert np.allclose(few.uncertainty, 1.1 * plain.uncertainty, rtol=1e-5)


def test_a_source_unlike_all_that_was_learned_from_is_abstained_from_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle
) -> None:
    width = 64
    near = Distance(means={"T1": np.zeros(width)}, whitening=np.eye(width) * 1e-3, threshold=2.0, patients=12)
    kept = _flair(monkeypatch, replace(bundle, calibration=replace(KNOWN, distance=near)))
    assert not kept.abstained and kept.quality["distance"] < 2.0
    far = replace(near, whitening=np.eye(width) * 1e3)
    gone = _flair(monkeypatch, replace(bundle, calibration=replace(KNOWN, distance=far)))
    assert gone.abstained
    assert any(
        r.startswith("Abstained: T1 does not look like the images that the model learned from")
        and "the limit from 12 patients is 2.00" in r
        for r in gone.reasons
    )
    other = replace(near, means={"T2": np.zeros(width)})
    unknown = _flair(monkeypatch, replace(bundle, calibration=replace(KNOWN, distance=other)))
    assert not unknown.abstained
    assert "How far T1 lies from what the model learned from is not known." in unknown.reasons


def test_the_quality_floor_of_a_target_outranks_a_laxer_one_of_the_bundle(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle
) -> None:
    strict = _flair(monkeypatch, replace(bundle, calibration=replace(KNOWN, worst={"FLAIR": 1e-4})))
    assert strict.abstained and "is above 0.00." in strict.reasons[-1]


def test_the_factor_of_the_whole_bundle_is_the_last_that_is_asked(bundle: Bundle) -> None:
    from model.verdict import interval_of

    older = replace(bundle, interval_factor=1.8, calibration=KNOWN)
    assert interval_of(older, "FLAIR", ("T1",), "unknown").factor == 1.1
    last = interval_of(older, "ADC", ("T1",), "unknown")
    assert (last.factor, last.calibrated) == (1.8, True)
    none = interval_of(replace(older, interval_factor=None), "ADC", ("T1",), "unknown")
    assert none.words == "The uncertainty interval is uncalibrated."

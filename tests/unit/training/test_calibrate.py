"""Factors, limits and their guarantees are what the patients at hand can carry, and not more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model import Bundle, load_bundle
from model.bundle import default_folder
from model.calibration import calibration_fault
from training.archive import Case
from training.calibrate import (
    Ratios,
    allowed_misses,
    calibrate,
    coverage,
    empirical,
    guaranteed,
    seal_calibrated,
)
from training.calibrate.distance import fit_distance, shrunk_covariance, threshold_of
from training.calibrate.fact import entries_of
from training.calibrate.left_out import in_words, left_out
from training.errors import TrainingError


@pytest.mark.parametrize(("patients", "misses"), [(0, None), (21, None), (22, 0), (37, 0), (38, 1), (100, 5)])
def test_the_number_of_misses_is_that_of_the_exact_binomial_bound(patients: int, misses: int | None) -> None:
    assert allowed_misses(patients, 0.1, 0.1) == misses


def patients(count: int, seed: int = 0) -> list[np.ndarray]:
    """Patients whose errors have each their own size."""
    rng = np.random.default_rng(seed)
    return [np.abs(rng.standard_normal(500)) * rng.lognormal(0, 0.3) for _ in range(count)]


def test_the_guaranteed_factor_covers_nine_of_ten_new_patients_as_often_as_it_says() -> None:
    broken = 0
    for trial in range(200):
        factor = guaranteed(patients(30, trial), 0.1, 0.1)
        assert factor is not None
        fresh = patients(100, 10_000 + trial)
        broken += np.mean([np.mean(one <= factor) < 0.9 for one in fresh]) > 0.1 + 0.06
    assert broken <= 20, "delta = 0.1 of 200 trials"
    assert guaranteed(patients(21), 0.1, 0.1) is None


def test_the_empirical_factor_covers_the_patients_at_hand_on_average_and_needs_no_number() -> None:
    few = patients(3)
    factor = empirical(few, 0.1)
    assert factor is not None
    assert coverage(few, factor) == pytest.approx(0.9, abs=0.005)
    assert empirical([], 0.1) is None


def test_the_shrunk_covariance_is_the_one_of_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.covariance")
    rows = np.random.default_rng(3).standard_normal((20, 6)) @ np.diag([1, 2, 3, 1, 1, 0.1])
    rows -= rows.mean(axis=0)
    theirs = sklearn.OAS(assume_centered=True).fit(rows).covariance_
    assert np.allclose(shrunk_covariance(rows), theirs)


def test_what_was_learned_from_is_near_and_a_stranger_is_far() -> None:
    rng = np.random.default_rng(1)
    fitted = fit_distance(
        {"T1": list(rng.standard_normal((30, 8))), "T2": list(4 + rng.standard_normal((30, 8)))}
    )
    assert fitted is not None
    usual = [fitted("T1", one) for one in rng.standard_normal((50, 8))]
    assert 0.8 < float(np.mean(np.array(usual, float))) < 1.3
    swapped = fitted("T1", 4 + rng.standard_normal(8))
    assert swapped is not None and swapped > threshold_of({"p": max(v for v in usual if v is not None)})
    assert fitted("ADC", np.zeros(8)) is None
    assert fit_distance({"T1": [np.zeros(8)]}) is None


def small(name: str, *contrasts: str, patient: str = "", site: str = "unknown") -> Case:
    """Three slices of an ellipse with texture, its own in every contrast."""
    rng = np.random.default_rng(sum(map(ord, name)))
    z, y, x = np.mgrid[0:3, 0:64, 0:64]
    brain = (((y - 32) / 26) ** 2 + ((x - 32) / 22) ** 2 < 1) & (z >= 0)
    arrays = {
        c: (brain * (0.3 + 0.1 * k + 0.2 * rng.random(brain.shape))).astype(np.float16)
        for k, c in enumerate(contrasts)
    }
    lesion = brain & (np.hypot(y - 30, x - 30) < 4)
    return Case(
        name=name, contrasts=arrays, brain=brain, lesion=lesion,
        quantiles=dict.fromkeys(contrasts, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)),
        spacing=(1.0, 1.0, 5.0), stripped=True, isotropic=False, patient=patient, site=site,
    )  # fmt: skip


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle()


def test_a_calibration_of_few_patients_is_empirical_and_a_bundle_takes_it(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.calibrate.fact.LEAST_PATIENTS", 2)
    found = calibrate(
        bundle,
        learned=[small("a", "T1", "T2"), small("b", "T1", "T2")],
        calibration=[small("c", "T1", "T2", patient="p"), small("d", "T1", "T2", patient="p"), small("e", "T1", "T2")],
        checked=[small("f", "T1", "T2")],
        slices=2,
    )  # fmt: skip
    assert calibration_fault(found.fact) is None
    entries = {(e["target"], tuple(e["sources"])): e for e in found.fact["entries"]}
    assert set(entries) == {("T1", ("T2",)), ("T1", ()), ("T2", ("T1",)), ("T2", ())}
    assert all(e["patients"] == 2 and e["factor"] is None and e["empirical"] > 0 for e in entries.values())
    assert found.fact["distance"]["patients"] == 3
    assert found.words[1].startswith("The others are uncalibrated: a guarantee needs 22 patients, at most 2")
    assert [one.target for one in found.covered] == ["T1", "T2"]
    assert all(0 <= one.scaled <= 1 and one.lesion is not None for one in found.covered)
    assert [one.patient for one in found.left_out] == ["e", "p"] and found.left_out[0].lesion is not None
    assert found.words[-1].startswith("Each of 2 patients by the factors of the others")
    digest = seal_calibrated(default_folder(), tmp_path / "b", found)
    opened = load_bundle(tmp_path / "b")
    assert opened.digest == digest and opened.calibration is not None
    assert "## Calibration" in opened.card and "a guarantee needs 22 patients" in opened.card
    assert not opened.calibration.interval("T2", ("T1",)).calibrated
    seal_calibrated(tmp_path / "b", tmp_path / "b", found)
    assert load_bundle(tmp_path / "b").card.count("## Calibration") == 1, "a second calibration replaces it"


def test_a_patient_is_measured_by_the_factors_of_the_others_alone() -> None:
    def row(patient: str, ratio: float) -> Ratios:
        return Ratios(
            case=patient, patient=patient, site="unknown", sources=("T1",), target="T2",
            ratios=np.linspace(0.0, ratio, 1001), lesion=np.full(int(patient == "c"), 5.0), expected=0.1, error=0.1,
            half_width=0.1,
        )  # fmt: skip

    rows = [row("a", 2.0), row("b", 2.0), row("c", 4.0)]
    fact = {"alpha": 0.1, "delta": 0.1, "distance": None, "quality": {}}
    found = left_out(fact, rows, lambda others: entries_of(others, 0.1, 0.1, False))
    # a and b need a factor of 1.8 to hold nine tenths; c, whose errors are twice as large, then holds 1.8 / 4.
    assert found[2].scaled == pytest.approx(0.45, abs=0.01) and found[2].lesion == 0.0
    assert found[2].unscaled == pytest.approx(0.25, abs=0.01)
    # Of b and c together nine tenths on average lie inside at 3.2: (2 / 2 + 3.2 / 4) / 2.
    assert found[0].scaled == 1.0 and found[0].lesion is None
    assert "of the worst patient 45." in in_words(found) and "of lesions 0.0% (1 patient)" in in_words(found)
    assert left_out(fact, rows[:1], lambda others: []) == ()


def test_patients_that_helped_to_choose_the_model_guarantee_nothing_however_many(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.calibrate import fact as module

    def quick(
        bundle: Bundle, case: Case, sources: tuple[str, ...], targets: tuple[str, ...], **options: object
    ):  # type: ignore[no-untyped-def]
        return [
            module.Ratios(
                case=case.name, patient=case.patient_key, site="unknown", sources=sources, target=target,
                ratios=patients(1, sum(map(ord, case.name)))[0], lesion=np.empty(0), expected=0.1, error=0.1,
                half_width=0.1,
            )
            for target in targets
        ]  # fmt: skip

    monkeypatch.setattr(module, "measure", quick)
    monkeypatch.setattr(module, "_distance", lambda *arguments: None)
    many = [replace(small("c", "T1", "T2"), name=f"case {n}") for n in range(25)]
    sure = calibrate(bundle, learned=[], calibration=many)
    assert all(e["factor"] > e["empirical"] and e["patients"] == 25 for e in sure.fact["entries"])
    chosen = calibrate(bundle, learned=[], calibration=many, exchangeable=False)
    assert all(e["factor"] is None for e in chosen.fact["entries"])
    assert chosen.fact["quality"]["T1"] == {"worst": 0.15, "patients": 25}
    few = calibrate(bundle, learned=[], calibration=many[:4])
    assert few.fact["quality"] == {}, "four patients do not say what is too much"
    assert "took part in choosing the model" in chosen.words[1]


def test_without_a_case_of_two_contrasts_nothing_is_made_up(bundle: Bundle) -> None:
    with pytest.raises(TrainingError, match="none of them shows two contrasts"):
        calibrate(bundle, learned=[], calibration=[small("a", "T1")])

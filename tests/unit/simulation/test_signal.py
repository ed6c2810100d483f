"""The signal equations give the contrasts that a radiologist expects, and obey their own limits."""

from __future__ import annotations

from math import cos, exp, radians, sin

import numpy as np
import pytest

from training.simulation import (
    FIELDS_T,
    DiffusionWeighted,
    InversionRecovery,
    Mprage,
    SpinEcho,
    SpoiledGradientEcho,
    Tissue,
    apparent_diffusion,
    signal,
    simulate,
    tissue_table,
    with_agent,
)

WATER = Tissue(name="water", pd=1.0, t1_ms=1000.0, t2_ms=100.0, t2star_ms=60.0, adc=2000.0)


def _at(field: float, names: str, sequence: object) -> list[float]:
    table = tissue_table(field)
    return [signal(table[name], sequence) for name in names.split()]  # type: ignore[arg-type]


@pytest.mark.parametrize("field", FIELDS_T)
def test_t1_weighting_orders_fat_white_grey_csf(field: float) -> None:
    for sequence in (
        SpinEcho(tr_ms=500, te_ms=12, field_t=field),
        Mprage(tr_ms=2300, te_ms=3, ti_ms=900, flip_deg=9, field_t=field),
        SpoiledGradientEcho(tr_ms=20, te_ms=4, flip_deg=25, field_t=field),
    ):
        fat, white, grey, csf, bone = _at(field, "fat white grey csf bone", sequence)
        assert fat > white > grey > csf > bone, sequence


@pytest.mark.parametrize("field", FIELDS_T)
def test_t2_weighting_orders_csf_lesion_grey_white_bone(field: float) -> None:
    csf, lesion, grey, white, bone = _at(
        field, "csf lesion grey white bone", SpinEcho(tr_ms=4500, te_ms=100, train_ms=150, field_t=field)
    )
    assert csf > lesion > grey > white > bone


@pytest.mark.parametrize(("field", "ti"), [(1.5, 2200.0), (3.0, 2500.0)])
def test_flair_darkens_csf_and_keeps_the_lesion_brightest_in_the_brain(field: float, ti: float) -> None:
    sequence = InversionRecovery(tr_ms=9000, te_ms=120, ti_ms=ti, train_ms=200, field_t=field)
    lesion, grey, white, csf = _at(field, "lesion grey white csf", sequence)
    assert lesion > grey > white > csf
    assert csf < 0.3 * white


@pytest.mark.parametrize("field", FIELDS_T)
def test_a_short_inversion_time_nulls_fat(field: float) -> None:
    fat = tissue_table(field)["fat"]
    null = fat.t1_ms * np.log(2.0)
    stir = InversionRecovery(tr_ms=12000, te_ms=15, ti_ms=null, inversion=1.0, field_t=field)
    assert signal(fat, stir) < 1e-3


def test_diffusion_weighting_follows_stejskal_and_tanner() -> None:
    plain = DiffusionWeighted(tr_ms=6000, te_ms=90, b=0)
    weighted = DiffusionWeighted(tr_ms=6000, te_ms=90, b=1000)
    assert signal(WATER, weighted) / signal(WATER, plain) == pytest.approx(exp(-2.0))


def test_long_tr_and_no_echo_time_give_proton_density() -> None:
    assert signal(WATER, SpinEcho(tr_ms=1e6, te_ms=0.0)) == pytest.approx(1.0)
    assert signal(WATER, SpoiledGradientEcho(tr_ms=1e6, te_ms=0.0, flip_deg=90)) == pytest.approx(1.0)


def test_spoiled_gradient_echo_peaks_at_the_ernst_angle() -> None:
    ernst = np.degrees(np.arccos(exp(-20.0 / WATER.t1_ms)))
    at = [
        signal(WATER, SpoiledGradientEcho(tr_ms=20, te_ms=4, flip_deg=a))
        for a in (ernst - 2, ernst, ernst + 2)
    ]
    assert at[1] > at[0] and at[1] > at[2]


def relax(m: float, ms: float) -> float:
    return 1.0 - (1.0 - m) * exp(-ms / WATER.t1_ms)


def test_mprage_equals_the_pulse_by_pulse_steady_state() -> None:
    sequence = Mprage(tr_ms=2000, te_ms=3, ti_ms=900, flip_deg=9, echo_spacing_ms=7, shots=160)
    flip, m, seen = radians(9), 1.0, 0.0
    for _ in range(20):
        m = relax(-sequence.inversion * m, 900 - 80 * 7)
        for shot in range(160):
            if shot == 80:
                seen = m * sin(flip)
            m = relax(m * cos(flip), 7)
        m = relax(m, 2000 - 900 - 80 * 7)
    assert signal(WATER, sequence) == pytest.approx(abs(seen) * exp(-3 / WATER.t2star_ms), rel=1e-9)


def test_an_mprage_train_too_long_for_its_cycle_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        signal(WATER, Mprage(tr_ms=1000, te_ms=3, ti_ms=500, flip_deg=9, echo_spacing_ms=10, shots=200))


def test_contrast_agent_brightens_t1_weighting_by_its_relaxivity() -> None:
    enhanced = with_agent(WATER, 1.0, 3.0)
    assert 1000.0 / enhanced.t1_ms == pytest.approx(1.0 + 5.0)
    assert signal(enhanced, SpinEcho(tr_ms=500, te_ms=12)) > 1.5 * signal(
        WATER, SpinEcho(tr_ms=500, te_ms=12)
    )
    with pytest.raises(ValueError, match="negative"):
        with_agent(WATER, -1.0, 3.0)
    with pytest.raises(ValueError, match="7.0"):
        with_agent(WATER, 1.0, 7.0)


def test_fat_suppression_darkens_fat_alone() -> None:
    table = tissue_table(3.0)
    for name in table:
        plain = signal(table[name], SpinEcho(tr_ms=500, te_ms=12))
        suppressed = signal(table[name], SpinEcho(tr_ms=500, te_ms=12, fat_suppression=1.0))
        assert suppressed == pytest.approx(plain * (0.05 if name == "fat" else 1.0))


def test_fractions_mix_with_their_sign_before_the_magnitude() -> None:
    sequence = InversionRecovery(tr_ms=9000, te_ms=20, ti_ms=900, train_ms=100)
    half = np.full((1, 1, 2), 0.5, dtype=np.float32)
    mixed = simulate({"csf": half, "white": half}, sequence)
    table = tissue_table(3.0)
    csf, white = signal(table["csf"], sequence), signal(table["white"], sequence)
    assert mixed.dtype == np.float32 and mixed.shape == (1, 1, 2)
    assert mixed[0, 0, 0] == pytest.approx(abs(white - csf) / 2, rel=1e-5)  # CSF is still inverted


def test_air_is_black_and_a_pure_voxel_is_its_tissue() -> None:
    grey = np.array([0.0, 1.0], dtype=np.float32)
    image = simulate({"grey": grey}, SpinEcho(tr_ms=500, te_ms=12))
    assert image[0] == 0.0
    assert image[1] == pytest.approx(
        signal(tissue_table(3.0)["grey"], SpinEcho(tr_ms=500, te_ms=12)), rel=1e-6
    )


def test_the_adc_map_gives_back_the_tissue_and_zero_in_air() -> None:
    grey = np.array([0.0, 1.0], dtype=np.float32)
    adc = apparent_diffusion({"grey": grey}, DiffusionWeighted(tr_ms=6000, te_ms=90, b=1000))
    assert adc[0] == 0.0
    assert adc[1] == pytest.approx(850.0, rel=1e-4)
    with pytest.raises(ValueError, match="above 0"):
        apparent_diffusion({"grey": grey}, DiffusionWeighted(tr_ms=6000, te_ms=90, b=0))


def test_wrong_fractions_are_named() -> None:
    with pytest.raises(ValueError, match="unknown tissue jelly"):
        simulate({"jelly": np.zeros(2)}, SpinEcho(tr_ms=500, te_ms=12))
    with pytest.raises(ValueError, match="differ in shape"):
        simulate({"grey": np.zeros(2), "csf": np.zeros(3)}, SpinEcho(tr_ms=500, te_ms=12))
    with pytest.raises(ValueError, match="empty"):
        simulate({}, SpinEcho(tr_ms=500, te_ms=12))
    with pytest.raises(ValueError, match="7.0"):
        tissue_table(7.0)

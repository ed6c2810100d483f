"""Signal equations of the pulse sequences that make the contrasts of a brain study.

Times in ms, angles in degrees, b in s/mm2. A signal of 1 is fully relaxed water at echo time zero.
References: Bernstein, King, Zhou, Handbook of MRI Pulse Sequences, 2004, chapter 14 (gradient echo,
inversion recovery, spin echo); Rydberg 1995, Magn Reson Med 34:868 (fast FLAIR);
Deichmann 2000, NeuroImage 12:112 (MPRAGE); Stejskal and Tanner 1965, J Chem Phys 42:288 (diffusion).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import cos, exp, radians, sin

import numpy as np

from training.simulation.tissues import Tissue, tissue_table


@dataclass(frozen=True, kw_only=True)
class SpinEcho:
    """Spin echo; with `train_ms` > 0 (last echo after excitation) a fast spin echo of effective TE."""

    tr_ms: float
    te_ms: float
    train_ms: float = 0.0
    fat_suppression: float = 0.0
    field_t: float = 3.0


@dataclass(frozen=True, kw_only=True)
class InversionRecovery:
    """Inversion-recovery spin echo: FLAIR with a long TI, STIR with a short one. Magnitude image."""

    tr_ms: float
    te_ms: float
    ti_ms: float
    train_ms: float = 0.0
    inversion: float = 0.96  # efficiency of the adiabatic pulse
    fat_suppression: float = 0.0
    field_t: float = 3.0


@dataclass(frozen=True, kw_only=True)
class SpoiledGradientEcho:
    """Spoiled gradient echo (FLASH, SPGR) in its steady state."""

    tr_ms: float
    te_ms: float
    flip_deg: float
    fat_suppression: float = 0.0
    field_t: float = 3.0


@dataclass(frozen=True, kw_only=True)
class Mprage:
    """Inversion-prepared train of spoiled gradient echoes; TI runs to the centre of the train."""

    tr_ms: float
    te_ms: float
    ti_ms: float
    flip_deg: float
    echo_spacing_ms: float = 7.0
    shots: int = 176
    inversion: float = 0.96
    fat_suppression: float = 0.0
    field_t: float = 3.0


@dataclass(frozen=True, kw_only=True)
class DiffusionWeighted:
    """Trace-weighted spin-echo EPI at one b; EPI images are made with fat suppression."""

    tr_ms: float
    te_ms: float
    b: float
    fat_suppression: float = 1.0
    field_t: float = 3.0


Sequence = SpinEcho | InversionRecovery | SpoiledGradientEcho | Mprage | DiffusionWeighted


def _saturation(tissue: Tissue, tr_ms: float, te_ms: float, train_ms: float) -> float:
    """Longitudinal magnetisation before excitation. A train leaves none behind; one echo inverts it."""
    if train_ms > 0.0:
        return 1.0 - exp(-(tr_ms - train_ms) / tissue.t1_ms)
    return 1.0 - 2.0 * exp(-(tr_ms - te_ms / 2.0) / tissue.t1_ms) + exp(-tr_ms / tissue.t1_ms)


def _echo(tissue: Tissue, te_ms: float, train_ms: float) -> float:
    t2_ms = tissue.t2_ms
    if train_ms > 0.0 and tissue.t2_train_ms is not None:
        t2_ms = tissue.t2_train_ms
    return exp(-te_ms / t2_ms)


def _mprage(tissue: Tissue, sequence: Mprage) -> float:
    """Magnetisation at the centre of the train, in the steady state of the whole cycle."""
    t1 = tissue.t1_ms
    readout = sequence.shots * sequence.echo_spacing_ms
    before = sequence.ti_ms - readout / 2.0
    after = sequence.tr_ms - sequence.ti_ms - readout / 2.0
    if before < 0.0 or after < 0.0:
        raise ValueError(
            f"{sequence}: a train of {readout:.0f} ms does not fit around TI within TR; "
            "fewer shots or a shorter echo spacing"
        )
    e_echo = exp(-sequence.echo_spacing_ms / t1)
    step = cos(radians(sequence.flip_deg)) * e_echo
    driven = (1.0 - e_echo) / (1.0 - step)  # where the train alone would settle
    e_before, e_after = exp(-before / t1), exp(-after / t1)
    whole = float(step**sequence.shots)
    # Each part of the cycle maps M to a + bM; the cycle's fixed point is the steady state.
    # inversion, wait:  M1 = (1 - e_before) - inversion e_before M
    # train:            M2 = driven (1 - whole) + whole M1
    # recovery:         M  = (1 - e_after) + e_after M2
    constant = (1.0 - e_after) + e_after * (driven * (1.0 - whole) + whole * (1.0 - e_before))
    steady = constant / (1.0 + e_after * whole * sequence.inversion * e_before)
    first = (1.0 - e_before) - sequence.inversion * e_before * steady
    half = float(step ** (sequence.shots / 2.0))
    centre = driven + (first - driven) * half
    return centre * sin(radians(sequence.flip_deg)) * exp(-sequence.te_ms / tissue.t2star_ms)


def _signed(tissue: Tissue, sequence: Sequence) -> float:
    """Transverse magnetisation with its sign: tissues of one voxel add before the magnitude is taken."""
    if isinstance(sequence, SpinEcho):
        value = _saturation(tissue, sequence.tr_ms, sequence.te_ms, sequence.train_ms)
        value *= _echo(tissue, sequence.te_ms, sequence.train_ms)
    elif isinstance(sequence, InversionRecovery):
        available = _saturation(tissue, sequence.tr_ms - sequence.ti_ms, sequence.te_ms, sequence.train_ms)
        recovered = exp(-sequence.ti_ms / tissue.t1_ms)
        value = (1.0 - recovered) - sequence.inversion * available * recovered
        value *= _echo(tissue, sequence.te_ms, sequence.train_ms)
    elif isinstance(sequence, SpoiledGradientEcho):
        e1, flip = exp(-sequence.tr_ms / tissue.t1_ms), radians(sequence.flip_deg)
        value = sin(flip) * (1.0 - e1) / (1.0 - cos(flip) * e1)
        value *= exp(-sequence.te_ms / tissue.t2star_ms)
    elif isinstance(sequence, Mprage):
        value = _mprage(tissue, sequence)
    else:
        value = 1.0 - exp(-sequence.tr_ms / tissue.t1_ms)
        value *= exp(-sequence.te_ms / tissue.t2_ms) * exp(-sequence.b * tissue.adc * 1e-6)
    return tissue.pd * value * (1.0 - tissue.fat * sequence.fat_suppression)


def signal(tissue: Tissue, sequence: Sequence) -> float:
    """Magnitude of the signal of one tissue (0 to 1), noise-free.

    The tissue must be given at the field of the sequence (`tissue_table(sequence.field_t)`), which the
    equations themselves do not read. ValueError when an MPRAGE train does not fit into its cycle.
    """
    return abs(_signed(tissue, sequence))


def simulate(
    fractions: Mapping[str, np.ndarray],
    sequence: Sequence,
    *,
    tissues: Mapping[str, Tissue] | None = None,
) -> np.ndarray:
    """The magnitude image of voxels made of `fractions` of tissues; float32 of the same shape.

    `fractions` names tissues of `tissues` (default: the table at the sequence's field); what is missing
    to 1 is air. Signed signals are added before the magnitude, as in a scanner: a voxel of CSF and grey
    in FLAIR is darker than the mean of the two. ValueError for an unknown tissue, no tissue at all, or
    shapes that differ.
    """
    table = tissue_table(sequence.field_t) if tissues is None else tissues
    if not fractions:
        raise ValueError("fractions is empty; name at least one tissue")
    unknown = sorted(set(fractions) - set(table))
    if unknown:
        raise ValueError(f"unknown tissue {', '.join(unknown)}; known: {', '.join(table)}")
    shapes = {name: np.shape(part) for name, part in fractions.items()}
    if len(set(shapes.values())) != 1:
        raise ValueError(f"fractions differ in shape: {shapes}")
    image = np.zeros(next(iter(shapes.values())), dtype=np.float32)
    for name, part in fractions.items():
        image += np.float32(_signed(table[name], sequence)) * np.asarray(part, dtype=np.float32)
    return np.asarray(np.abs(image), dtype=np.float32)


def apparent_diffusion(
    fractions: Mapping[str, np.ndarray],
    sequence: DiffusionWeighted,
    *,
    tissues: Mapping[str, Tissue] | None = None,
) -> np.ndarray:
    """The ADC map (1e-6 mm2/s, float32) that `sequence` and its b = 0 image give: ln(S0/Sb)/b.

    Air, where there is no signal, is 0. ValueError when b is not above 0, else as `simulate`.
    """
    if sequence.b <= 0:
        raise ValueError(f"b is {sequence.b}; an ADC needs a diffusion weighting above 0")
    weighted = simulate(fractions, sequence, tissues=tissues)
    plain = DiffusionWeighted(
        tr_ms=sequence.tr_ms,
        te_ms=sequence.te_ms,
        b=0.0,
        fat_suppression=sequence.fat_suppression,
        field_t=sequence.field_t,
    )
    start = simulate(fractions, plain, tissues=tissues)
    seen = (start > 1e-6) & (weighted > 1e-6)
    adc = np.zeros_like(start)
    adc[seen] = np.log(start[seen] / weighted[seen]) * np.float32(1e6 / sequence.b)
    return adc

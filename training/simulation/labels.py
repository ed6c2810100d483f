"""Simulated heads: label maps through the signal equations, with random protocols, lesions, texture and noise.

One draw is one slice of one imaginary patient: tissue constants vary around the table, each contrast gets a random
but plausible protocol, and lesions may sit in white matter. What the label map does not know (texture within a
tissue) is not invented beyond noise, hence only a part of the batches may come from here.
"""

from __future__ import annotations

import collections.abc
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk

from model.imaging.normalise import QUANTILES
from training.simulation.signal import (
    DiffusionWeighted,
    InversionRecovery,
    Mprage,
    Sequence,
    SpinEcho,
    SpoiledGradientEcho,
    signal,
)
from training.simulation.tissues import Tissue, tissue_table, with_agent

_FREESURFER = {
    2: "white", 41: "white", 7: "white", 46: "white", 16: "white", 85: "white", 28: "deep_grey", 60: "deep_grey",
    3: "grey", 42: "grey", 8: "grey", 47: "grey", 17: "grey", 53: "grey", 18: "grey", 54: "grey",
    10: "deep_grey", 49: "deep_grey", 11: "deep_grey", 50: "deep_grey", 12: "deep_grey", 51: "deep_grey",
    13: "deep_grey", 52: "deep_grey", 26: "deep_grey", 58: "deep_grey", 136: "white", 137: "white", 163: "white",
    164: "white", 4: "csf", 43: "csf", 5: "csf", 44: "csf", 14: "csf", 15: "csf", 24: "csf", 25: "lesion",
    57: "lesion", 30: "blood", 62: "blood", 72: "csf",
}  # fmt: skip
_TISSUE4 = {1: "csf", 2: "grey", 3: "white", 4: "lesion"}
#: Labels outside the brain (5xx) stand for one of these, drawn anew for each patient.
_OUTSIDE = ("muscle", "fat", "bone", "muscle", "fat")


@dataclass(frozen=True, kw_only=True)
class SimulatedSlice:
    """One drawn slice: contrast -> (3, H, W), masks, histograms, slice distance in mm."""

    planes: dict[str, np.ndarray]
    brain: np.ndarray
    lesion: np.ndarray
    quantiles: dict[str, tuple[float, ...]]
    thickness: float
    stripped: bool


class LabelHead:
    """A label map in the axial pose (S, P, L) from which slices are drawn."""

    def __init__(self, labels: np.ndarray, name: str) -> None:
        self.name = name
        self.labels = labels.astype(np.int16)
        codes, counts = np.unique(self.labels, return_counts=True)
        self.table = _FREESURFER if codes.max() > 10 else _TISSUE4
        self.has_skull = bool(codes.max() >= 500)
        inside = np.isin(self.labels, list(self.table))
        area = inside.sum(axis=(1, 2))
        self.slices = np.flatnonzero(area > 0.12 * area.max())
        kept = [(int(c), int(n)) for c, n in zip(codes, counts, strict=True) if c in self.table]
        self.brain_codes = np.array([c for c, _ in kept])
        self.brain_weight = np.array([n for _, n in kept], dtype=np.float64)
        self.codes = codes

    def draw(self, contrasts: collections.abc.Sequence[str], rng: np.random.Generator) -> SimulatedSlice:
        """A slice of a new imaginary patient, in the asked contrasts."""
        field = float(rng.choice([1.5, 3.0]))
        tissues = {n: _vary(t, rng) for n, t in tissue_table(field).items()}
        outside = {int(c): str(rng.choice(_OUTSIDE)) for c in self.codes if c >= 500}
        z = int(rng.choice(self.slices))
        labels = self.labels[z]
        brain = np.isin(labels, list(self.table))
        lesion = _lesion(brain & np.isin(labels, [c for c, t in self.table.items() if t == "white"]), rng)
        stripped = not self.has_skull or bool(rng.random() < 0.5)
        thick = bool(rng.random() < 0.5)
        core = lesion > 0.75
        enhances = bool(rng.random() < 0.5)
        planes, quantiles = {}, {}
        for contrast in contrasts:
            value = _values(contrast, tissues, field, rng)
            lut = np.zeros(int(self.codes.max()) + 1, np.float32)
            for code in self.codes:
                name = self.table.get(int(code)) or outside.get(int(code))
                lut[code] = value[name] if name else 0.0
            image = lut[labels]
            edge = value["oedema"] if contrast != "T1C" or not enhances else value["lesion_agent"]
            image = image * (1 - lesion) + lesion * np.where(core, value["lesion"], edge).astype(np.float32)
            if stripped:
                image = image * brain
            smooth = sitk.GetArrayFromImage(
                sitk.SmoothingRecursiveGaussian(
                    sitk.GetImageFromArray(image.astype(np.float32)), float(rng.uniform(0.5, 0.9))
                )
            )
            ordered = np.argsort(lut[self.brain_codes])
            weight = np.cumsum(self.brain_weight[ordered]) / self.brain_weight.sum()
            levels = lut[self.brain_codes][ordered]
            top = float(np.interp(0.985, weight, levels))
            scale = 3000.0 if contrast == "ADC" else max(top * float(rng.uniform(1.0, 1.12)), 1e-4)
            smooth = np.maximum(smooth / scale, 0)
            texture = rng.normal(0, 0.06, (smooth.shape[0] // 6 + 2, smooth.shape[1] // 6 + 2))
            fine = np.kron(texture, np.ones((6, 6)))[: smooth.shape[0], : smooth.shape[1]]
            smooth = smooth * (1 + fine) + rng.normal(0, 0.012, smooth.shape) * (smooth > 0)
            planes[contrast] = np.stack([np.clip(smooth, 0, 2).astype(np.float32)] * 3)
            quantiles[contrast] = tuple(float(np.interp(q / 100, weight, levels) / scale) for q in QUANTILES)
        return SimulatedSlice(
            planes=planes,
            brain=brain,
            lesion=lesion > 0.5,
            quantiles=quantiles,
            thickness=5.0 if thick else 1.0,
            stripped=stripped,
        )


def _vary(tissue: Tissue, rng: np.random.Generator) -> Tissue:
    """Constants within what people and publications differ by."""
    f = np.exp(rng.normal(0, 0.06, 4))
    return replace(
        tissue,
        pd=min(1.0, tissue.pd * float(np.exp(rng.normal(0, 0.02)))),
        t1_ms=tissue.t1_ms * float(f[0]),
        t2_ms=tissue.t2_ms * float(f[1]),
        adc=tissue.adc * float(f[2]),
    )


def _values(
    contrast: str, tissues: dict[str, Tissue], field: float, rng: np.random.Generator
) -> dict[str, float]:
    """Signal of each tissue under a random protocol of one contrast; ADC in 1e-6 mm2/s."""
    if contrast == "ADC":
        out = {n: t.adc if n not in ("fat", "bone") else 0.0 for n, t in tissues.items()}
        return {**out, "lesion_agent": out["lesion"]}
    sequence: Sequence
    if contrast in ("T1", "T1C"):
        kind = int(rng.integers(3))
        sequence = (
            SpinEcho(tr_ms=float(rng.uniform(420, 700)), te_ms=float(rng.uniform(8, 18)), field_t=field),
            SpoiledGradientEcho(
                tr_ms=float(rng.uniform(7, 30)),
                te_ms=float(rng.uniform(2, 5)),
                flip_deg=float(rng.uniform(15, 30)),
                field_t=field,
            ),
            Mprage(
                tr_ms=float(rng.uniform(1900, 2400)),
                te_ms=3.0,
                ti_ms=float(rng.uniform(850, 1050)),
                flip_deg=9.0,
                field_t=field,
            ),
        )[kind]
    elif contrast == "T2":
        sequence = SpinEcho(
            tr_ms=float(rng.uniform(3000, 6500)),
            te_ms=float(rng.uniform(80, 120)),
            train_ms=float(rng.uniform(150, 250)),
            field_t=field,
        )
    elif contrast == "FLAIR":
        tr = float(rng.uniform(7500, 11000))
        sequence = InversionRecovery(
            tr_ms=tr,
            te_ms=float(rng.uniform(85, 140)),
            ti_ms=float(rng.uniform(2200, 2600)),
            train_ms=float(rng.uniform(150, 300)),
            field_t=field,
        )
    else:
        sequence = DiffusionWeighted(
            tr_ms=float(rng.uniform(3500, 8000)), te_ms=float(rng.uniform(65, 100)), b=1000.0, field_t=field
        )
    table = dict(tissues)
    dose = float(rng.uniform(0.2, 0.8))
    if contrast == "T1C":
        table["blood"] = with_agent(tissues["blood"], 2 * dose, field)
    out = {n: signal(t, sequence) for n, t in table.items()}
    out["lesion_agent"] = signal(with_agent(tissues["lesion"], dose, field), sequence)
    return out


def _lesion(white: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Soft lesions (0..1) in white matter: many small ones or one large, or none."""
    out = np.zeros(white.shape, np.float32)
    rows, columns = np.nonzero(white)
    if not rows.size or rng.random() < 0.4:
        return out
    y, x = np.mgrid[0 : white.shape[0], 0 : white.shape[1]].astype(np.float32)
    for _ in range(int(rng.integers(1, 7))):
        k = int(rng.integers(rows.size))
        radius = float(rng.uniform(1.5, 6) if rng.random() < 0.8 else rng.uniform(8, 20))
        stretch = float(rng.uniform(0.6, 1.6))
        distance = np.hypot((y - rows[k]) * stretch, (x - columns[k]) / stretch) / radius
        out = np.maximum(out, 1 / (1 + np.exp(np.minimum(6 * (distance - 1), 30.0))))
    return np.asarray(out * (out > 0.05), dtype=np.float32)

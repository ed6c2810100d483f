"""One prepared patient: every contrast on one grid in the standard pose, normalised, with its brain mask."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class Case:
    """A patient ready for training or evaluation.

    Attributes:
        name: the case; patients are told apart by it, so splits are made on it.
        contrasts: contrast -> (S, H, W) float16, 1.0 = the 99.5th percentile inside the brain.
        brain, lesion: (S, H, W) bool; lesion is empty where none is known.
        quantiles: contrast -> histogram inside the brain (model.imaging.QUANTILES).
        spacing: (column, row, slice) mm.
        stripped: the skull was removed by the publisher.
        isotropic: may be cut in any plane.
        origin: file -> sha256 of what it was made from.
    """

    name: str
    contrasts: dict[str, npt.NDArray[np.float16]]
    brain: npt.NDArray[np.bool_]
    lesion: npt.NDArray[np.bool_]
    quantiles: dict[str, tuple[float, ...]]
    spacing: tuple[float, float, float]
    stripped: bool
    isotropic: bool
    origin: dict[str, str] = field(default_factory=dict)

    def level_features(self, contrast: str, thickness_mm: float | None = None) -> list[float]:
        """What LevelNet reads of one source (model.heads.level)."""
        thickness = self.spacing[2] if thickness_mm is None else thickness_mm
        return [*self.quantiles[contrast], thickness / 5.0, float(self.stripped)]


def save_case(case: Case, path: Path) -> None:
    """One compressed .npz, written aside and renamed."""
    part = path.with_suffix(".part.npz")
    arrays: dict[str, npt.NDArray[np.generic]] = {f"c_{k}": v for k, v in case.contrasts.items()}
    arrays |= {f"q_{k}": np.array(v) for k, v in case.quantiles.items()}
    arrays |= {
        "brain": np.packbits(case.brain),
        "lesion": np.packbits(case.lesion),
        "spacing": np.array(case.spacing),
        "flags": np.array([case.stripped, case.isotropic]),
        "origin": np.array([f"{k}={v}" for k, v in case.origin.items()]),
    }
    np.savez(part, **arrays)  # type: ignore[arg-type]
    part.rename(path)


def load_case(path: Path) -> Case:
    """The case that `save_case` wrote."""
    with np.load(path) as z:
        contrasts = {k[2:]: z[k] for k in z.files if k.startswith("c_")}
        shape = next(iter(contrasts.values())).shape
        count = int(np.prod(shape))

        def mask(name: str) -> npt.NDArray[np.bool_]:
            return np.unpackbits(z[name])[:count].reshape(shape).astype(bool)

        return Case(
            name=path.stem,
            contrasts=contrasts,
            brain=mask("brain"),
            lesion=mask("lesion"),
            quantiles={k[2:]: tuple(float(v) for v in z[k]) for k in z.files if k.startswith("q_")},
            spacing=(float(z["spacing"][0]), float(z["spacing"][1]), float(z["spacing"][2])),
            stripped=bool(z["flags"][0]),
            isotropic=bool(z["flags"][1]),
            origin=dict(line.split("=", 1) for line in z["origin"]),
        )

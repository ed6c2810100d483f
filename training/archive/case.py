"""One prepared patient: every contrast on one grid in the standard pose, normalised, with its brain mask."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.errors import TrainingError

SCHEMA = 1
FACTS = "case.json"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A patient ready for training or evaluation.

    Attributes:
        name: the case. Splits are made by `patient_key`.
        contrasts: contrast -> (S, H, W) float16, 1.0 = the 99.5th percentile inside the brain.
        brain, lesion: (S, H, W) bool; lesion is empty where none is known.
        quantiles: contrast -> histogram inside the brain (model.imaging.QUANTILES).
        spacing: (column, row, slice) mm.
        stripped: the skull was removed by the publisher.
        isotropic: may be cut in any plane.
        origin: file -> sha256 of what it was made from.
        patient: salted hash of the patient; the case's name where nothing else is known (`patient_key`).
        site: whose scanner made it, "unknown" where nobody said.
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
    patient: str = ""
    site: str = "unknown"

    @property
    def marks(self) -> frozenset[str]:
        """Short digests of the files that it was made from: the same under every salt, and they name nobody."""
        return frozenset(digest[:16] for digest in self.origin.values())

    @property
    def patient_key(self) -> str:
        """What tells patients apart."""
        return self.patient or self.name

    def level_features(self, contrast: str, thickness_mm: float | None = None) -> list[float]:
        """What LevelNet reads of one source (model.heads.level)."""
        thickness = self.spacing[2] if thickness_mm is None else thickness_mm
        return [*self.quantiles[contrast], thickness / 5.0, float(self.stripped)]


def save_case(case: Case, path: Path) -> None:
    """Write a case in the form of the path, aside first and then renamed: one .npz, else a folder of .npy arrays.

    The folder is what `load_case` maps into memory: an archive may be larger than it.
    """
    if path.suffix == ".npz":
        _save_file(case, path)
    else:
        save_folder(case, path)


def load_case(path: Path) -> Case:
    """The case that `save_case` wrote; the arrays of a folder stay on disk until they are read.

    Raises:
        TrainingError: the folder is not whole.
    """
    return load_folder(path) if path.is_dir() else _load_file(path)


def save_folder(case: Case, path: Path, more: Mapping[str, Any] | None = None) -> None:
    """`<CONTRAST>.npy` float16, `brain.npy` and `lesion.npy` bool, all (S, H, W), and `case.json` with `more`."""
    part = path.with_name(f".{path.name}.part")
    if part.exists():
        shutil.rmtree(part)
    part.mkdir(parents=True)
    for contrast, array in case.contrasts.items():
        np.save(part / f"{contrast}.npy", np.asarray(array, dtype=np.float16))
    np.save(part / "brain.npy", case.brain)
    np.save(part / "lesion.npy", case.lesion)
    facts = {
        "schema": SCHEMA,
        "name": case.name,
        "patient": case.patient,
        "site": case.site,
        "contrasts": list(case.contrasts),
        "shape": list(case.brain.shape),
        "spacing": list(case.spacing),
        "stripped": case.stripped,
        "isotropic": case.isotropic,
        "quantiles": {name: list(values) for name, values in case.quantiles.items()},
        "lesion": bool(np.any(case.lesion)),
        "origin": case.origin,
        **(more or {}),
    }
    for file in part.iterdir():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    with (part / FACTS).open(
        "w"
    ) as handle:  # says that the case is whole: on the disk after all it speaks of
        handle.write(json.dumps(facts, indent=1) + "\n")
        handle.flush()
        os.fsync(handle.fileno())
    if path.exists():
        shutil.rmtree(path)
    part.rename(path)


def load_folder(path: Path) -> Case:
    """The case of a folder, its arrays mapped into memory, read-only."""
    try:
        facts = json.loads((path / FACTS).read_text())
        arrays = {
            name: np.load(path / f"{name}.npy", mmap_mode="r")
            for name in (*facts["contrasts"], "brain", "lesion")
        }
        shape = tuple(facts["shape"])
        spacing = tuple(float(value) for value in facts["spacing"])
        if len(spacing) != 3 or any(array.shape != shape for array in arrays.values()):
            raise ValueError("its arrays are not of one shape")
        return Case(
            name=facts["name"],
            contrasts={name: arrays[name] for name in facts["contrasts"]},
            brain=arrays["brain"],
            lesion=arrays["lesion"],
            quantiles={name: tuple(map(float, values)) for name, values in facts["quantiles"].items()},
            spacing=(spacing[0], spacing[1], spacing[2]),
            stripped=bool(facts["stripped"]),
            isotropic=bool(facts["isotropic"]),
            origin=dict(facts["origin"]),
            patient=facts["patient"],
            site=facts["site"],
        )
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise TrainingError(
            code="case",
            subject=f"case {path.name}",
            reason=f"it is not a whole prepared case ({error})",
            cure="Run `medk2n train prepare` again: it makes anew what is not whole",
        ) from error


def _save_file(case: Case, path: Path) -> None:
    part = path.with_suffix(".part.npz")
    arrays: dict[str, npt.NDArray[np.generic]] = {f"c_{k}": v for k, v in case.contrasts.items()}
    arrays |= {f"q_{k}": np.array(v) for k, v in case.quantiles.items()}
    arrays |= {
        "brain": np.packbits(case.brain),
        "lesion": np.packbits(case.lesion),
        "spacing": np.array(case.spacing),
        "flags": np.array([case.stripped, case.isotropic]),
        "origin": np.array([f"{k}={v}" for k, v in case.origin.items()]),
        "whose": np.array([case.patient, case.site]),
    }
    np.savez(part, **arrays)  # type: ignore[arg-type]
    part.rename(path)


def _load_file(path: Path) -> Case:
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
            origin=dict(str(line).split("=", 1) for line in z["origin"]),
            patient=str(z["whose"][0]) if "whose" in z.files else "",
            site=str(z["whose"][1]) if "whose" in z.files else "unknown",
        )

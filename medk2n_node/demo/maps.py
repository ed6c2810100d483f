"""A head made of tissue fractions, from the MNI152 maps that ship inside nilearn's wheel.

The files are read where the wheel put them, without importing nilearn (its import takes seconds and pulls
scikit-learn). Maps: ICBM 152 2009a symmetric, Fonov 2011, NeuroImage 54:313. The wheel has grey, white and a
skull-stripped T1; cerebrospinal fluid, skull and scalp are added here as shells by distance from the brain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medk2n_node.errors import NodeError

Floats = npt.NDArray[np.float32]

_FILES = {
    "template": "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz",
    "grey": "mni_icbm152_gm_tal_nlin_sym_09a_converted.nii.gz",
    "white": "mni_icbm152_wm_tal_nlin_sym_09a_converted.nii.gz",
}

# Shells by distance from the brain's surface in mm: (tissue, from, to, share). The diploe of the skull holds
# marrow; what is missing to 1 is air. Thicknesses after Li 2015, Forensic Sci Int 255:100 (calvaria 6 to 8 mm).
_SHELLS: tuple[tuple[str, float, float, float], ...] = (
    ("csf", 0.0, 2.5, 1.0),
    ("bone", 2.5, 4.5, 1.0),
    ("bone", 4.5, 6.5, 0.5),
    ("fat", 4.5, 6.5, 0.4),
    ("bone", 6.5, 8.5, 1.0),
    ("fat", 8.5, 11.5, 0.9),
    ("muscle", 11.5, 13.5, 1.0),
)

# Plaques of multiple sclerosis beside the ventricles and under the cortex: MNI centre and radius in mm.
_LESIONS: tuple[tuple[float, float, float, float], ...] = (
    (-24.0, -32.0, 24.0, 5.0),
    (25.0, -28.0, 26.0, 4.0),
    (-22.0, 16.0, 22.0, 4.5),
    (24.0, 8.0, 26.0, 3.5),
    (-28.0, -8.0, 32.0, 3.5),
    (28.0, -48.0, 22.0, 5.0),
    (-34.0, 20.0, 14.0, 3.0),
    (20.0, 34.0, 14.0, 3.5),
)


@dataclass(frozen=True, kw_only=True)
class Head:
    """Tissue fractions on one grid; `affine` maps [i, j, k, 1] to patient coordinates in mm (LPS).

    `brain` is 1 inside the brain, its ventricles included.
    """

    fractions: Mapping[str, Floats]
    brain: Floats
    affine: npt.NDArray[np.float64]


def _folder() -> Path:
    found = find_spec("nilearn")
    places = list(found.submodule_search_locations or ()) if found is not None else []
    if not places:
        raise NodeError(
            code="demo_maps",
            subject="the phantom head",
            reason="the package nilearn, whose wheel holds the tissue maps, is not installed",
            cure='Install the extra with: pip install "medk2n[demo]", or show a study of your own with --study',
            exit_code=1,
        )
    return Path(places[0]) / "datasets" / "data"


def head() -> Head:
    """Read the maps and build the head (1 mm, about 3 s); NodeError when nilearn is not installed."""
    import nibabel
    from scipy import ndimage

    folder = _folder()
    images: dict[str, Any] = {name: nibabel.load(folder / file) for name, file in _FILES.items()}
    data = {name: np.asarray(image.dataobj, dtype=np.float32) / 255.0 for name, image in images.items()}
    # RAS to LPS: DICOM's patient axes point to the left and to the back (PS3.3 C.7.6.2.1.1).
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(images["template"].affine, dtype=np.float64)
    data, affine = _cropped(data, affine)

    brain = ndimage.binary_fill_holes(data["template"] > 0.02)
    brain = ndimage.binary_closing(brain, iterations=2)
    fluid = np.clip(1.0 - data["grey"] - data["white"], 0.0, 1.0)
    # The maps are means of 152 brains; the power 2.5 makes one brain's edges of them.
    powers = {"grey": data["grey"], "white": data["white"], "csf": fluid}
    powers = {name: part * part * np.sqrt(part) for name, part in powers.items()}
    total = sum(powers.values()) + 1e-6
    fractions: dict[str, Floats] = {
        name: np.where(brain, part / total, 0.0).astype(np.float32) for name, part in powers.items()
    }
    centre = _deep(data["grey"].shape, affine)
    fractions["deep_grey"] = fractions["grey"] * centre
    fractions["grey"] = fractions["grey"] * (1.0 - centre)
    _add_lesions(fractions, affine)
    _add_shells(fractions, np.asarray(ndimage.distance_transform_edt(~brain), dtype=np.float32))
    return Head(fractions=fractions, brain=brain.astype(np.float32), affine=affine)


def _cropped(
    data: dict[str, Floats], affine: npt.NDArray[np.float64]
) -> tuple[dict[str, Floats], npt.NDArray[np.float64]]:
    """The maps cut to the brain and room for its shells."""
    margin = 16  # voxels of 1 mm
    found = np.argwhere(data["template"] > 0.02)
    start = np.maximum(found.min(axis=0) - margin, 0)
    stop = np.minimum(found.max(axis=0) + 1 + margin, data["template"].shape)
    box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ start
    return {name: part[box] for name, part in data.items()}, moved


def _coordinates(shape: tuple[int, ...], affine: npt.NDArray[np.float64]) -> list[Floats]:
    """MNI x, y, z in mm of every voxel, as arrays that broadcast (the affine is axis-aligned)."""
    found: list[Floats] = []
    for axis in range(3):
        sign = -1.0 if axis < 2 else 1.0  # LPS back to MNI's RAS
        line = sign * (affine[axis, axis] * np.arange(shape[axis]) + affine[axis, 3])
        found.append(line.astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)]))
    return found


def _deep(shape: tuple[int, ...], affine: npt.NDArray[np.float64]) -> Floats:
    """1 around the basal ganglia and the thalamus, falling to 0 over a few mm."""
    x, y, z = _coordinates(shape, affine)
    radius = np.sqrt((x / 33.0) ** 2 + ((y + 6.0) / 28.0) ** 2 + ((z - 6.0) / 17.0) ** 2)
    return np.asarray(np.clip((1.1 - radius) / 0.2, 0.0, 1.0), dtype=np.float32)


def _add_lesions(fractions: dict[str, Floats], affine: npt.NDArray[np.float64]) -> None:
    """Replace white matter by lesion inside soft-edged balls."""
    x, y, z = _coordinates(fractions["white"].shape, affine)
    lesion = np.zeros_like(fractions["white"])
    for cx, cy, cz, radius in _LESIONS:
        distance = np.sqrt((x - cx) ** 2 + (y - cy) ** 2 + ((z - cz) / 1.3) ** 2)
        lesion = np.maximum(lesion, np.clip((radius + 1.0 - distance) / 2.0, 0.0, 1.0))
    fractions["lesion"] = (lesion * fractions["white"]).astype(np.float32)
    fractions["white"] = (fractions["white"] * (1.0 - lesion)).astype(np.float32)


def _add_shells(fractions: dict[str, Floats], distance: Floats) -> None:
    """Add fluid, skull and scalp outside the brain, each edge spread over a voxel."""
    for tissue, start, end, share in _SHELLS:
        shell = np.clip(distance - start + 0.5, 0.0, 1.0) * np.clip(end - distance + 0.5, 0.0, 1.0)
        shell = np.where(distance > 0.0, shell * share, 0.0).astype(np.float32)
        fractions[tissue] = fractions[tissue] + shell if tissue in fractions else shell

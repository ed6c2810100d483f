"""The phantom study: T1 and T2 of a head are scanned, FLAIR is missing but known.

A scan is computed as a scanner would see it: the signal of the tissues, averaged over the thickness of a slice,
shaded by the coil, with Rician noise (Gudbjartsson and Patz 1995, Magn Reson Med 34:910). The head moves a
little between the two series, as heads do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medk2n_node.demo.maps import Floats, Head
from training.simulation import InversionRecovery, Sequence, SpinEcho, simulate

Affine = npt.NDArray[np.float64]

FIELD_T = 3.0
SEQUENCES: dict[str, Sequence] = {
    "T1": SpinEcho(tr_ms=550, te_ms=10, field_t=FIELD_T),
    "T2": SpinEcho(tr_ms=4500, te_ms=100, train_ms=190, field_t=FIELD_T),
    "FLAIR": InversionRecovery(tr_ms=9000, te_ms=120, ti_ms=2500, train_ms=220, field_t=FIELD_T),
}

_NOISE = 0.012  # of the 99.5th percentile inside the brain
_SHADING = 0.15  # how much brighter the centre is than the rim at 3 T
_STORED = 1100.0  # the 99.5th percentile inside the brain, as a stored value of 12 bits


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Where the voxels of a scan lie: `affine` maps [c, r, s, 1] to LPS mm, `shape` is (S, R, C)."""

    affine: Affine
    shape: tuple[int, int, int]


def axial_grid(*, slices: int = 28, spacing_mm: float = 5.0, tilt_deg: float = 8.0) -> Grid:
    """Axial slices of 1 mm in-plane, tilted about the left-right axis as along the AC-PC line."""
    rows, columns = 224, 192
    tilt = np.radians(tilt_deg)
    row = np.array([1.0, 0.0, 0.0])
    column = np.array([0.0, np.cos(tilt), -np.sin(tilt)])
    normal = np.cross(row, column)
    centre = np.array([0.0, 18.0, 12.0])  # of the MNI brain, LPS
    middle = np.array([(columns - 1) / 2, (rows - 1) / 2, (slices - 1) / 2])
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = row, column, normal * spacing_mm
    affine[:3, 3] = centre - affine[:3, :3] @ middle
    return Grid(affine=affine, shape=(slices, rows, columns))


def motion(*, shift_mm: tuple[float, float, float], turn_deg: float) -> Affine:
    """A rigid motion of the head (4x4, LPS mm): a turn about the vertical axis, then a shift."""
    angle = np.radians(turn_deg)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = shift_mm
    return matrix


def look(head: Head, image: Floats, grid: Grid, moved: Affine, *, sub_slices: int = 3) -> Floats:
    """`image` (on the head's own grid) as the slices of `grid` see it, averaged over their thickness.

    `moved` is the head's motion. Returns (S, R, C) float32; outside the image 0.
    """
    from scipy import ndimage

    to_voxel = np.linalg.inv(head.affine) @ np.linalg.inv(moved) @ grid.affine
    slices, rows, columns = grid.shape
    seen = np.zeros(grid.shape, dtype=np.float32)
    c, r = np.meshgrid(np.arange(columns, dtype=np.float64), np.arange(rows, dtype=np.float64))
    plane = np.stack([c, r, np.zeros_like(c), np.ones_like(c)]).reshape(4, -1)
    offsets = (np.arange(sub_slices) + 0.5) / sub_slices - 0.5
    for index in range(slices):
        for offset in offsets:
            plane[2] = index + offset
            voxels = (to_voxel @ plane)[:3]
            part = ndimage.map_coordinates(image, voxels, order=1, mode="constant", cval=0.0)
            seen[index] += part.reshape(rows, columns) / sub_slices
    return seen


def ideal(head: Head, contrast: str, grid: Grid, moved: Affine) -> Floats:
    """The image without noise or shading: the truth that a synthetic one is compared with."""
    return look(head, simulate(head.fractions, SEQUENCES[contrast]), grid, moved)


def scan(head: Head, contrast: str, grid: Grid, moved: Affine, *, seed: int) -> npt.NDArray[np.uint16]:
    """The image as a scanner would store it: shaded, noisy, 12 bits; the same for the same seed."""
    image = ideal(head, contrast, grid, moved)
    brain = look(head, head.brain, grid, moved, sub_slices=1) > 0.5
    level = float(np.percentile(image[brain], 99.5))
    shaded = image / level * _shading(grid.shape)
    random = np.random.default_rng(seed)
    real = shaded + random.normal(0.0, _NOISE, image.shape)
    imaginary = random.normal(0.0, _NOISE, image.shape)
    stored = np.hypot(real, imaginary) * _STORED
    return np.clip(np.rint(stored), 0, 4095).astype(np.uint16)


def _shading(shape: tuple[int, int, int]) -> npt.NDArray[np.float64]:
    """Receive profile: brightest in the middle, and a little brighter towards the back of the coil."""
    s, r, c = (
        np.linspace(-1.0, 1.0, size).reshape([-1 if a == axis else 1 for a in range(3)])
        for axis, size in enumerate(shape)
    )
    return 1.0 + _SHADING * (0.5 - (0.3 * s**2 + 0.6 * r**2 + 0.6 * c**2)) + 0.05 * r

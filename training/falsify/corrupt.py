"""What can be wrong with a study without anybody noticing, done to a prepared case on purpose.

Each takes a case and gives one that is wrong in exactly one way; the randomness comes in as a generator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from training.archive import Case

#: Millimetres and degrees of a source that lies elsewhere: what a patient who moved between two series leaves behind.
SHIFT_MM, TURN_DEG = (5.0, 12.0), (5.0, 12.0)
#: A planted lesion: radius in mm and change of signal in units of the contrast's p99.5.
RADIUS_MM, CHANGE = (5.0, 9.0), (0.3, 0.5)
#: Share of k-space lines taken while the head lay elsewhere, and where it lay, in mm.
GHOSTED, GHOST_MM = (0.2, 0.4), (4.0, 10.0)


def _with(case: Case, **volumes: npt.NDArray[np.float32]) -> Case:
    made = {name: volume.astype(np.float16) for name, volume in volumes.items()}
    return replace(case, contrasts={**case.contrasts, **made})


def _between(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(rng.uniform(*bounds))


def _volume(case: Case, source: str) -> npt.NDArray[np.float32]:
    return np.asarray(case.contrasts[source], dtype=np.float32)


def swap_labels(case: Case, source: str, rng: np.random.Generator) -> Case:
    """The source and another one are called by each other's name."""
    other = str(rng.choice([name for name in case.contrasts if name != source]))
    names = {source: other, other: source}
    return replace(
        case,
        contrasts={name: case.contrasts[names.get(name, name)] for name in case.contrasts},
        quantiles={name: case.quantiles[names.get(name, name)] for name in case.quantiles},
    )


def shift(case: Case, source: str, rng: np.random.Generator) -> Case:
    """The source lies 5 to 12 mm away within the slice, in a random direction."""
    angle, size = rng.uniform(0, 2 * np.pi), _between(rng, SHIFT_MM)
    move = (0.0, size * np.sin(angle) / case.spacing[1], size * np.cos(angle) / case.spacing[0])
    moved = ndimage.shift(_volume(case, source), move, order=1, mode="constant", cval=0.0)
    return _with(case, **{source: moved})


def rotate(case: Case, source: str, rng: np.random.Generator) -> Case:
    """The source is turned by 5 to 12 degrees within the slice, about the middle of the brain."""
    turn = np.deg2rad(_between(rng, TURN_DEG)) * rng.choice((-1, 1))
    centre = np.array(ndimage.center_of_mass(np.asarray(case.brain)))
    matrix = np.eye(3)
    matrix[1:, 1:] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    turned = ndimage.affine_transform(
        _volume(case, source), matrix, offset=centre - matrix @ centre, order=1, mode="constant", cval=0.0
    )
    return _with(case, **{source: turned})


def move_during_scan(case: Case, source: str, rng: np.random.Generator) -> Case:
    """A share of the k-space lines of each slice was taken while the head lay elsewhere: ghosts along the columns."""
    volume = _volume(case, source)
    lines = volume.shape[1]
    k = np.fft.fftshift(np.fft.fft2(volume, axes=(1, 2)), axes=(1, 2))
    frequency = np.fft.fftshift(np.fft.fftfreq(lines))
    away = _between(rng, GHOST_MM) / case.spacing[1]
    hit = np.less(rng.random(lines), _between(rng, GHOSTED))
    hit[lines // 2 - lines // 24 : lines // 2 + lines // 24] = False  # the middle sets contrast and place
    k = k * np.where(hit, np.exp(-2j * np.pi * frequency * away), 1.0)[None, :, None]
    made = np.abs(np.fft.ifft2(np.fft.ifftshift(k, axes=(1, 2)), axes=(1, 2)))
    return _with(case, **{source: made.astype(np.float32)})


def plant_lesion(case: Case, source: str, rng: np.random.Generator) -> Case:
    """A ball of other signal somewhere in the brain, in this source alone."""
    spacing = np.array(case.spacing[::-1])
    depth = ndimage.distance_transform_edt(np.asarray(case.brain), sampling=(1e3, *spacing[1:]))
    radius = _between(rng, RADIUS_MM)
    inside = np.argwhere((depth > radius) & ~np.asarray(case.lesion))
    if not len(inside):
        inside = np.argwhere(np.asarray(case.brain))
    centre = inside[int(rng.integers(len(inside)))]
    grid = np.indices(case.brain.shape, dtype=np.float32)
    mm = np.sqrt(sum(((grid[a] - centre[a]) * spacing[a]) ** 2 for a in range(3)))
    ball = np.clip((radius + 1.0 - mm) / 2.0, 0.0, 1.0)
    volume = _volume(case, source)
    level = float(volume[tuple(centre)])
    sign = -1.0 if level > 0.6 else 1.0  # towards where there is room for a change
    texture = 1.0 + 0.1 * rng.standard_normal(volume.shape).astype(np.float32)
    return _with(case, **{source: np.clip(volume + sign * _between(rng, CHANGE) * ball * texture, 0, 2)})


def erase_lesion(case: Case, source: str, rng: np.random.Generator) -> Case | None:
    """The largest lesion is painted over with what surrounds it, in this source alone; None where none is known."""
    labels, count = ndimage.label(np.asarray(case.lesion))
    if not count:
        return None
    largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    wide = ndimage.binary_dilation(largest, iterations=2)
    volume = _volume(case, source)
    known = ((~wide) & np.asarray(case.brain)).astype(np.float32)
    sigma = (0.0, 6.0, 6.0)
    weight = ndimage.gaussian_filter(known, sigma)
    around = ndimage.gaussian_filter(volume * known, sigma) / np.maximum(weight, 1e-4)
    spread = float(np.std(volume[known > 0] - around[known > 0]))
    noise = ndimage.gaussian_filter(rng.standard_normal(volume.shape), (0, 1, 1)).astype(np.float32)
    painted = np.clip(around + 0.5 * spread * noise / max(float(noise.std()), 1e-6), 0, 2)
    edge = ndimage.gaussian_filter(wide.astype(np.float32), (0, 1, 1))
    return _with(case, **{source: volume * (1 - edge) + painted * edge})


Corruption = Callable[[Case, str, np.random.Generator], Case | None]

CORRUPTIONS: Mapping[str, Corruption] = {
    "label swap": swap_labels,
    "shift": shift,
    "rotation": rotate,
    "motion": move_during_scan,
    "lesion planted": plant_lesion,
    "lesion erased": erase_lesion,
}

"""How far a study contradicts itself, one number per suspicion, from what the node has at inference and nothing else.

Higher is more suspicious. Each looks at every source as the others say it should be (`remake`) and reports the worst.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy import ndimage, signal

from model import Bundle
from model.identity import identity_probabilities
from model.slices import Stack
from training.falsify.remake import Remade, remake

Floats = npt.NDArray[np.float32]

#: Pixels of about this many mm are enough to see that a head lies elsewhere, or that a ball of 7 mm is foreign.
COARSE_MM, FINE_MM = 3.0, 2.0
#: Moves that are tried, in coarse pixels and degrees.
SHIFTS, TURNS = range(-4, 5), (-10.0, -5.0, 0.0, 5.0, 10.0)
#: Radius in mm of the ball that is looked for, and how far around it its surroundings reach.
BALL_MM, RING_MM = 7.0, 4.0
#: Below this the residual of a flat region is taken for this (units of p99.5).
LEAST_NOISE = 0.03

SCORES = ("disagreement", "exchange", "misplacement", "foreign", "identity", "expected", "distance")


def agreement(one: Remade) -> float:
    """Correlation of a source with what the others say it should be, inside the brain; 0 where one is constant."""
    a, b = one.acquired[one.brain], one.remade[one.brain]
    return _correlation(a, b)


def misplacement(one: Remade, pixel_mm: float) -> float:
    """By how much the correlation would grow if the source were moved within the slice; 0 = it lies where it should."""
    factor = max(1, round(COARSE_MM / pixel_mm))
    acquired, remade = _coarser(one.acquired * one.brain, factor), _coarser(one.remade * one.brain, factor)
    brain = _coarser(one.brain.astype(np.float32), factor) > 0.5
    if not brain.any():
        return 0.0
    still = _correlation(acquired[brain], remade[brain])
    best = still
    for turn in TURNS:
        turned = remade if turn == 0 else _turned(remade, turn)
        where = brain if turn == 0 else _turned(brain.astype(np.float32), turn) > 0.5
        for down in SHIFTS:
            for across in SHIFTS:
                move = (down, across)
                inside = np.roll(where, move, axis=(1, 2))
                best = max(best, _correlation(acquired[inside], np.roll(turned, move, axis=(1, 2))[inside]))
    return best - still


def foreign(one: Remade, pixel_mm: float) -> float:
    """The most striking ball in what the others do not explain: its mean against its surroundings, in their deviations.

    The residual is that after the best line from the remade source to the acquired one, so that a level is no lesion.
    """
    factor = max(1, round(FINE_MM / pixel_mm))
    step = pixel_mm * factor
    brain = one.brain
    slope, offset = _line(one.remade[brain], one.acquired[brain])
    residual = _coarser((one.acquired - (slope * one.remade + offset)) * brain, factor)
    mask = _coarser(brain.astype(np.float32), factor)
    inner, outer = BALL_MM / step, (BALL_MM + RING_MM) / step
    size = int(np.ceil(outer))
    y, x = np.mgrid[-size : size + 1, -size : size + 1]
    r = np.hypot(y, x)
    ball, ring = (r <= inner).astype(np.float32), ((r > inner) & (r <= outer)).astype(np.float32)
    (n1, m1, v1), (n2, m2, v2) = (_moments(residual, mask, kernel) for kernel in (ball, ring))
    whole = (n1 > 0.98 * ball.sum()) & (n2 > 0.85 * ring.sum())
    t = np.abs(m1 - m2) / np.sqrt(v1 + v2 + LEAST_NOISE**2)
    return float(t[whole].max()) if whole.any() else 0.0


def exchange(bundle: Bundle, stack: Stack, made: Mapping[str, Remade], own: Mapping[str, float]) -> float:
    """Would the study contradict itself less if two of its labels were exchanged? Positive: it would.

    Half of it is the mean agreement of the sources, half what the judge of identity says of the two images.
    """
    names = tuple(stack.arrays)
    if len(names) < 2:
        return 0.0
    # One slice tells: it holds thousands of voxels, and every pair costs a network call.
    middle = int(np.argmax(stack.brain.sum(axis=(1, 2))))
    only = np.zeros(stack.head.shape, bool)
    only[middle] = True
    stack = replace(stack, head=stack.head & only, brain=stack.brain & only)
    at = int(np.flatnonzero(next(iter(made.values())).z == middle)[0])
    now = float(np.mean([agreement(_at(one, at)) for one in made.values()]))
    best = -np.inf
    for a, b in combinations(names, 2):
        other = {a: b, b: a}
        order = [names.index(other.get(name, name)) for name in names]
        swapped = replace(
            stack,
            arrays={name: stack.arrays[other.get(name, name)] for name in names},
            levels=stack.levels[order],
        )
        then = float(np.mean([agreement(one) for one in remake(bundle, swapped).values()]))
        best = max(best, then - now + own.get(f"{a}<>{b}", 0.0))
    return best


def _at(one: Remade, index: int) -> Remade:
    """One slice of it."""
    k = slice(index, index + 1)
    return Remade(
        z=one.z[k], acquired=one.acquired[k], remade=one.remade[k], half_width=one.half_width[k],
        brain=one.brain[k],
    )  # fmt: skip


def identities(bundle: Bundle, stack: Stack) -> dict[str, dict[str, float]]:
    """Source -> contrast -> probability; empty without a judge."""
    if bundle.identity is None:
        return {}
    return {
        name: identity_probabilities(bundle.identity, array, stack.brain)
        for name, array in stack.arrays.items()
    }


def _pair_evidence(looks: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Pair of sources -> a tenth of the log odds that they were exchanged, by their looks alone, within +-0.3."""
    out = {}
    for a, b in combinations(looks, 2):
        if all(name in looks[c] for name in (a, b) for c in (a, b)):
            odds = np.log(looks[a][b] + 0.01) + np.log(looks[b][a] + 0.01)
            odds -= np.log(looks[a][a] + 0.01) + np.log(looks[b][b] + 0.01)
            out[f"{a}<>{b}"] = float(np.clip(odds / 10, -0.3, 0.3))
    return out


def scores_of(
    bundle: Bundle, stack: Stack, pixel_mm: float, *, expected: float, distance: float | None
) -> dict[str, float]:
    """Every score of a study of sources; `expected` and `distance` are those of its result, None = not known: 0."""
    made = remake(bundle, stack)
    looks = identities(bundle, stack)
    return {
        "disagreement": 1 - float(np.mean([agreement(one) for one in made.values()])) if made else 0.0,
        "exchange": exchange(bundle, stack, made, _pair_evidence(looks)),
        "misplacement": max((misplacement(one, pixel_mm) for one in made.values()), default=0.0),
        "foreign": max((foreign(one, pixel_mm) for one in made.values()), default=0.0),
        "identity": 1 - min((p.get(name, 1.0) for name, p in looks.items()), default=1.0),
        "expected": expected,
        "distance": 0.0 if distance is None else distance,
    }


def _correlation(a: Floats, b: Floats) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / size if size > 0 else 0.0


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    spread = float(np.var(x))
    slope = 0.0 if spread == 0 else float(np.mean((x - x.mean()) * (y - y.mean()))) / spread
    return slope, float(y.mean()) - slope * float(x.mean())


def _coarser(images: npt.NDArray[np.float32], factor: int) -> Floats:
    """(n, H, W) -> means of blocks of factor x factor."""
    n, h, w = images.shape
    h, w = h // factor * factor, w // factor * factor
    blocks = images[:, :h, :w].reshape(n, h // factor, factor, w // factor, factor)
    coarse: Floats = blocks.mean(axis=(2, 4), dtype=np.float32)
    return coarse


def _turned(images: Floats, degrees: float) -> Floats:
    turned: Floats = ndimage.rotate(images, degrees, axes=(2, 1), reshape=False, order=1)
    return turned


def _moments(values: Floats, mask: Floats, kernel: Floats) -> tuple[Floats, Floats, Floats]:
    """Count, mean and variance of the masked values under the kernel, at every place; values are 0 outside."""
    count = np.maximum(signal.fftconvolve(mask, kernel[None], mode="same", axes=(1, 2)), 1e-3)
    mean = signal.fftconvolve(values, kernel[None], mode="same", axes=(1, 2)) / count
    square = signal.fftconvolve(values**2, kernel[None], mode="same", axes=(1, 2)) / count
    return count, mean, np.maximum(square - mean**2, 0)

"""What a bundle says of a prepared case, exactly as the node lets it: crop, closed loop, its own way to combine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from model import Bundle
from model.imaging.grid import THICK_MM
from model.personal.pfm import UNKNOWN
from model.slices import Decoded, Stack, decode
from model.synthesis import head_mask
from training.archive import Case

Floats = npt.NDArray[np.float64]

#: Voxels kept of one measurement: its quantiles are then exact to a tenth of a percent.
VOXELS = 20_000
#: Narrower half-widths are taken for this (units of the target's p99.5): a ratio to nothing says nothing.
LEAST_HALF_WIDTH = 1e-4
#: Slices given to the network at once.
BATCH = 8


@dataclass(frozen=True, kw_only=True)
class Ratios:
    """One target of one case from one set of sources: |truth - image| / half-width inside the brain.

    Attributes:
        patient: the exchangeable unit. site: what the network was told.
        ratios: inside the brain; lesion: the same in the lesion alone, empty where none is known.
        expected, error: expected mean absolute error (QualityFeedback) and the true one, units of p99.5.
        half_width: mean inside the brain, unscaled.
    """

    case: str
    patient: str
    site: str
    sources: tuple[str, ...]
    target: str
    ratios: Floats
    lesion: Floats
    expected: float
    error: float
    half_width: float


def chosen_slices(case: Case, most: int) -> npt.NDArray[np.intp]:
    """At most `most` slices that hold brain, evenly spread."""
    z = np.flatnonzero(np.asarray(case.brain).any(axis=(1, 2)))
    return z[np.unique(np.linspace(0, len(z) - 1, min(most, len(z))).round().astype(int))]


def stack_of(case: Case, sources: tuple[str, ...], *, most: int, site: int = 0) -> Stack:
    """The sources as the network takes them, at most `most` slices of them to be made."""
    arrays = {c: np.asarray(case.contrasts[c], dtype=np.float32) for c in sources}
    brain = np.asarray(case.brain)
    only = np.zeros(len(brain), bool)
    only[chosen_slices(case, most)] = True
    return Stack(
        arrays=arrays,
        levels=torch.tensor([case.level_features(c) for c in sources], dtype=torch.float32),
        head=head_mask(arrays, brain) & only[:, None, None],
        brain=brain & only[:, None, None],
        thick=not (case.isotropic or (case.spacing[2] <= THICK_MM and len(brain) > 3)),
        site=site,
    )


def decoded(
    bundle: Bundle,
    case: Case,
    sources: tuple[str, ...],
    targets: tuple[str, ...],
    *,
    most: int,
    site: int = 0,
) -> tuple[Decoded, Stack]:
    """The targets of a case, and the stack that they were made from."""
    stack = stack_of(case, sources, most=most, site=site)
    run = decode(bundle, stack, targets, device="cpu", batch_slices=BATCH, progress=lambda fraction: None)
    return run, stack


def measure(
    bundle: Bundle,
    case: Case,
    sources: tuple[str, ...],
    targets: tuple[str, ...],
    *,
    most: int,
    site: str = UNKNOWN,
) -> list[Ratios]:
    """How the intervals of the targets lie to the truth; the case has all sources and targets."""
    run, stack = decoded(bundle, case, sources, targets, most=most, site=bundle.sites[site])
    lesion = np.asarray(case.lesion) & stack.brain
    out = []
    for j, target in enumerate(targets):
        truth = np.asarray(case.contrasts[target], dtype=np.float32)
        wrong = np.abs(truth - run.image[:, j])
        ratio = wrong / np.maximum(run.half_width[:, j], LEAST_HALF_WIDTH)
        out.append(
            Ratios(
                case=case.name,
                patient=case.patient_key,
                site=site,
                sources=sources,
                target=target,
                ratios=_some(ratio[stack.brain]),
                lesion=_some(ratio[lesion]),
                expected=float(run.error[j, 0]),
                error=float(wrong[stack.brain].mean(dtype=np.float64)),
                half_width=float(run.half_width[:, j][stack.brain].mean(dtype=np.float64)),
            )
        )
    return out


def _some(values: npt.NDArray[np.float32]) -> Floats:
    """At most VOXELS of the values, evenly spaced in their order of size, so that every quantile is kept."""
    ordered = np.sort(values.astype(np.float64))
    if len(ordered) <= VOXELS:
        return ordered
    return ordered[np.linspace(0, len(ordered) - 1, VOXELS).round().astype(int)]

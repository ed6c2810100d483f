"""The arms of a downstream experiment: what stands in each channel of the segmenter.

real: every contrast as it was scanned. minus: without the missing one. synthetic: the missing one made from the others.
The lesion mask, the slices and the order of the other channels are the same in all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from training.archive import Case
from training.errors import TrainingError
from training.peers import Method, brain_slices


class Arm(StrEnum):
    """What the segmenter is given."""

    REAL = "real"
    MINUS = "real minus one"
    SYNTHETIC = "real plus synthetic"


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Slices of one case for one arm.

    Attributes:
        image: (n, C, H, W) float32, 0 outside the brain; truth: (n, H, W) bool; brain: (n, H, W) bool.
        channels: what each of the C channels holds, such as "T1" and "FLAIR (synthetic)".
    """

    case: str
    patient: str
    image: npt.NDArray[np.float32]
    truth: npt.NDArray[np.bool_]
    brain: npt.NDArray[np.bool_]
    channels: tuple[str, ...]


def stack(
    case: Case,
    arm: Arm,
    contrasts: Sequence[str],
    missing: str,
    made: tuple[npt.NDArray[np.float32], npt.NDArray[np.intp]] | None = None,
    every: int = 1,
) -> Stack:
    """The channels of one arm.

    Args:
        contrasts: all of them, in channel order; missing: the one that is left out or made.
        made: the synthetic slices (n, H, W) and their numbers; the arm SYNTHETIC alone needs it.

    Raises:
        ValueError: the synthetic arm without synthetic slices, or slices that are not those of the arm.
    """
    z = brain_slices(case, every)
    brain = case.brain[z]
    names, planes = [], []
    for name in contrasts:
        if name != missing or arm is Arm.REAL:
            names.append(name)
            planes.append(case.contrasts[name][z].astype(np.float32))
        elif arm is Arm.SYNTHETIC:
            if made is None or not np.array_equal(made[1], z):
                raise ValueError(f"{case.name}: no synthetic {missing} for these slices")
            names.append(f"{name} (synthetic)")
            planes.append(made[0])
    image = np.stack(planes, axis=1) * brain[:, None]
    return Stack(
        case=case.name,
        patient=case.patient_key,
        image=image.astype(np.float32),
        truth=case.lesion[z] & brain,
        brain=brain,
        channels=tuple(names),
    )


def arms_of(
    cases: Sequence[Case], contrasts: Sequence[str], missing: str, method: Method, every: int = 1
) -> dict[Arm, list[Stack]]:
    """All three arms of every case; the missing contrast is made from exactly the other contrasts."""
    sources = tuple(c for c in contrasts if c != missing)
    out: dict[Arm, list[Stack]] = {arm: [] for arm in Arm}
    for case in cases:
        images, z = method.predict(case, sources, (missing,), every)
        for arm in Arm:
            made = (images[:, 0], z) if arm is Arm.SYNTHETIC else None
            out[arm].append(stack(case, arm, contrasts, missing, made, every))
    return out


def usable(cases: Sequence[Case], contrasts: Sequence[str], split: str, least: int) -> list[Case]:
    """The cases that have a lesion and all contrasts.

    Raises:
        TrainingError: too_small: fewer than `least`.
    """
    found = [c for c in cases if c.lesion.any() and all(name in c.contrasts for name in contrasts)]
    if len(found) < least:
        raise TrainingError(
            code="too_small",
            subject=f"{split} cases",
            reason=f"{len(found)} of {len(cases)} have a lesion mask and all of {', '.join(contrasts)}; "
            f"at least {least} are needed",
            cure="Prepare a tree with lesion masks, such as one in the form of BraTS or ISLES.",
        )
    return found

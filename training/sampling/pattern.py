"""Which sources to which targets: modality-consistent batches under a curriculum.

One pattern holds for a whole batch, so that every case in it has all sources and targets (modality-consistent batch
sampling, PMM-Synth) and the batch goes through as one call. The curriculum's stages and ratios are Med-K2N's:
1 -> 1, K -> 1, 1 -> N, K -> N; sources and targets are disjoint in all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np


class Stage(StrEnum):
    """Stages of the curriculum."""

    ONE_TO_ONE = "1->1"
    MANY_TO_ONE = "K->1"
    ONE_TO_MANY = "1->N"
    MANY_TO_MANY = "K->N"


RATIOS: dict[Stage, float] = {
    Stage.ONE_TO_ONE: 0.2,
    Stage.MANY_TO_ONE: 0.2,
    Stage.ONE_TO_MANY: 0.3,
    Stage.MANY_TO_MANY: 0.3,
}


def stage_at(progress: float, ratios: dict[Stage, float] | None = None) -> Stage:
    """The stage at a fraction 0..1 of the training."""
    total = 0.0
    for stage, ratio in (ratios or RATIOS).items():
        total += ratio
        if progress < total:
            return stage
    return Stage.MANY_TO_MANY


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """Labels of sources and targets, disjoint, canonical order."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]


class PatternSampler:
    """Draws patterns from the contrast sets that the cases really have.

    Args:
        available: one set of contrasts per case; weights: how often each case should count.
        always: a contrast that every pattern must have, as a source or as a target; empty for none.
    """

    def __init__(
        self, available: Sequence[Sequence[str]], weights: Sequence[float], always: str = ""
    ) -> None:
        fits = [len(a) > 1 and (not always or always in a) for a in available]
        if not any(fits):
            which = f" of which one is {always}" if always else ""
            raise ValueError(
                f"no case has two contrasts{which}: there is nothing to learn a translation from"
            )
        self.available, self.always = [tuple(a) for a in available], always
        usable = np.array([w if fit else 0.0 for fit, w in zip(fits, weights, strict=True)])
        self.probability = usable / usable.sum()

    def draw(self, stage: Stage, rng: np.random.Generator) -> Pattern:
        """A pattern that at least one case can fill."""
        have = self.available[int(rng.choice(len(self.available), p=self.probability))]
        order = [have[k] for k in rng.permutation(len(have))]
        if self.always:  # first place: a target; last place: a source
            order.remove(self.always)
            order.insert(0 if rng.random() < 0.5 else len(order), self.always)
        most = len(order) - 1
        n = 1 if stage in (Stage.ONE_TO_ONE, Stage.MANY_TO_ONE) else int(rng.integers(1, min(most, 2) + 1))
        most = len(order) - n
        many = stage in (Stage.MANY_TO_ONE, Stage.MANY_TO_MANY)
        k = int(rng.integers(min(2, most), min(most, 3) + 1)) if many else 1
        keep = {c: i for i, c in enumerate(have)}
        return Pattern(
            sources=tuple(sorted(order[-k:] if self.always else order[n : n + k], key=keep.__getitem__)),
            targets=tuple(sorted(order[:n], key=keep.__getitem__)),
        )

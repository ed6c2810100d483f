"""What each step of a training sees: a stage of the curriculum, a pattern, a batch, and each target's key source.

A step draws from a generator of its own, so that a resumed run sees what the uninterrupted one would have seen. The
machines of a distributed training share stage and pattern, and draw slices of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.network import MedK2N
from training.archive import Case
from training.loop.recipe import Recipe, stage_of
from training.sampling import Batch, BatchSchedule, Pattern, PatternSampler, Sampler, Stage, candidates
from training.simulation.labels import LabelHead


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One step: `keys` are positions among the batch's sources; `rebuilt` is the source to be reconstructed."""

    stage: Stage
    pattern: Pattern
    batch: Batch
    keys: list[int]
    rebuilt: int


#: Third part of the seed of the key sources of several machines; no machine has this number.
KEYS = 2**31 - 1


class Plan:
    """The steps of a recipe on these cases, for one of `world` machines.

    Raises:
        ValueError: no case has two contrasts, or none the contrast that alone is taught.
    """

    def __init__(
        self,
        recipe: Recipe,
        cases: Sequence[Case],
        weights: Sequence[float],
        heads: Sequence[LabelHead],
        sites: Sequence[int] = (),
        *,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.recipe, self.rank, self.world = recipe, rank, world
        kind, name = recipe.grows
        self.always = name if kind == "contrast" else ""
        numbers = list(sites) if sites and recipe.pfm else [0] * len(cases)
        self.patterns = PatternSampler([tuple(c.contrasts) for c in cases], weights, self.always)
        self.sampler = Sampler(
            cases, weights, heads, size=recipe.size, simulated=recipe.simulated, sites=numbers,
            spoilt=recipe.spoilt, contrasts=recipe.network.contrasts, forget_site=recipe.forget_site,
        )  # fmt: skip
        self.schedule: BatchSchedule | None = None
        if recipe.mcbs:
            usable = [k for k, c in enumerate(cases) if _teaches(c, self.always)]
            self.sampler.cases = [cases[k] for k in usable]
            self.sampler.sites = [numbers[k] for k in usable]
            self.schedule = BatchSchedule(
                [len(candidates(c.brain)) for c in self.sampler.cases], self.sampler.sites,
                [tuple(c.contrasts) for c in self.sampler.cases],
                size=recipe.batch, seed=recipe.seed, rank=rank, world=world,
            )  # fmt: skip

    def at(self, step: int, network: MedK2N) -> Draw:
        """The step `step`; the network is asked for its key sources."""
        recipe = self.recipe
        shared = np.random.default_rng([recipe.seed, step])
        own = shared if self.rank == 0 else np.random.default_rng([recipe.seed, step, self.rank])
        stage = stage_of(step / recipe.steps, recipe, shared)
        if self.schedule is not None:
            planned = self.schedule.at(step)
            have = tuple(c for c in recipe.network.contrasts if c in planned.available)
            pattern = PatternSampler([have], [1.0], self.always).draw(stage, shared)
            batch = self.sampler.fill(pattern, planned.samples, own)
        else:
            pattern = self.patterns.draw(stage, shared)
            few = len(pattern.sources) + len(pattern.targets) <= 3
            count = recipe.batch if few else max(min(2, recipe.batch), recipe.batch * 3 // 4)
            batch = self.sampler.draw(pattern, count, own)
        keys = None
        # Of all machines alike, whatever slices each has drawn: the history of a pair is of one pair.
        common = own if self.world == 1 else np.random.default_rng([recipe.seed, step, KEYS])
        if common.random() < recipe.random_key:
            keys = [int(common.integers(len(batch.sources))) for _ in batch.targets]
        keys = sound(network.keys(batch.sources, batch.targets) if keys is None else keys, batch)
        return Draw(stage=stage, pattern=pattern, batch=batch, keys=keys, rebuilt=step % len(batch.sources))


def _teaches(case: Case, always: str) -> bool:
    return len(case.contrasts) > 1 and (not always or always in case.contrasts)


def sound(keys: list[int], batch: Batch) -> list[int]:
    """The same keys, but for a spoilt one: what an auxiliary source can be turned down against is a sound key."""
    bad = batch.spoilt.any(dim=0).tolist()
    good = [i for i, spoilt in enumerate(bad) if not spoilt]
    return [k if not bad[k] else good[k % len(good)] for k in keys]

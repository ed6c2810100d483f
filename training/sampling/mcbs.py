"""MCBS, the modality-consistent batch scheduler of PMM-Synth: its three steps, as they stand in the paper.

1. Grouping: samples of the same site with the same contrasts form a group.
2. Padding: a group is filled up to a multiple of the batch size with duplicates of its own samples.
3. Shuffling: each group is shuffled and cut into batches, and the batches of all groups are shuffled.

A sample is a part of a case's slices, so that an epoch passes once through every head and a thick volume counts less
than a fine one. With several machines the cases of a group are dealt out among them: at each step all machines have a
batch of the same group, of different cases, and learn the same pattern.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Samples of one case in an epoch, at most; it has no more than slices.
MOST_SAMPLES = 24


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A case by its number, and the part of its slices, 0 to 1, that one is drawn from."""

    case: int
    span: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Samples of one site that have the same contrasts."""

    site: int
    available: tuple[str, ...]
    samples: tuple[Sample, ...]


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A batch of the schedule: samples of one group."""

    site: int
    available: tuple[str, ...]
    samples: tuple[Sample, ...]


def samples_of(slices: Sequence[int], most: int = MOST_SAMPLES) -> list[Sample]:
    """The samples of cases that have so many usable slices each: even parts of them, lowest first."""
    return [
        Sample(case=case, span=(k / parts, (k + 1) / parts))
        for case, count in enumerate(slices)
        for parts in (max(1, min(most, count)),)
        for k in range(parts)
    ]


def group(samples: Sequence[Sample], sites: Sequence[int], available: Sequence[Sequence[str]]) -> list[Group]:
    """Step 1: samples of the same site and the same contrasts, in a fixed order.

    Args:
        sites, available: by case; the order of a case's contrasts does not matter.
    """
    found: dict[tuple[int, tuple[str, ...]], list[Sample]] = {}
    for one in samples:
        found.setdefault((sites[one.case], tuple(sorted(available[one.case]))), []).append(one)
    return [
        Group(site=site, available=contrasts, samples=tuple(found[site, contrasts]))
        for site, contrasts in sorted(found)
    ]


def pad(samples: Sequence[Sample], size: int, rng: np.random.Generator) -> list[Sample]:
    """Step 2: duplicates, drawn at random from the same samples, until `size` divides the count."""
    short = -len(samples) % size
    return [*samples, *(samples[int(k)] for k in rng.integers(len(samples), size=short))]


def cut(samples: Sequence[Sample], size: int, rng: np.random.Generator) -> list[tuple[Sample, ...]]:
    """Step 3, within a group: shuffled, then batches that do not overlap."""
    order = rng.permutation(len(samples))
    mixed = [samples[int(k)] for k in order]
    return [tuple(mixed[start : start + size]) for start in range(0, len(mixed), size)]


def deal(samples: Sequence[Sample], world: int, rng: np.random.Generator) -> list[list[Sample]]:
    """A group's samples among `world` machines, case by case; sample by sample where it has fewer cases than that."""
    if world == 1:
        return [list(samples)]
    cases = sorted({one.case for one in samples})
    if len(cases) < world:
        mixed = [samples[int(k)] for k in rng.permutation(len(samples))]
        return [mixed[r::world] or mixed for r in range(world)]
    order = [cases[int(k)] for k in rng.permutation(len(cases))]
    whose = {case: place % world for place, case in enumerate(order)}
    return [[one for one in samples if whose[one.case] == r] for r in range(world)]


class BatchSchedule:
    """The batches of every epoch for one of `world` machines; the same seed gives the same schedule.

    Args:
        slices, sites, available: by case: usable slices, site number, contrasts.
        size: B, samples in a batch of one machine.
        rank: which machine this is, 0 to world - 1.

    Raises:
        ValueError: no case, or a rank that the world does not have.
    """

    def __init__(
        self,
        slices: Sequence[int],
        sites: Sequence[int],
        available: Sequence[Sequence[str]],
        *,
        size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if not slices or not 0 <= rank < world:
            raise ValueError(
                f"a schedule needs cases ({len(slices)}) and a rank ({rank}) of its world ({world})"
            )
        self.groups = group(samples_of(slices), sites, available)
        self.size, self.seed, self.rank, self.world = size, seed, rank, world
        self._kept: tuple[int, list[Planned]] = (-1, [])
        self._ends: list[
            int
        ] = []  # of the epochs so far: with several machines they differ in length a little

    def epoch(self, number: int) -> list[Planned]:
        """This machine's batches of an epoch, in order; every machine has as many, of the same groups."""
        if self._kept[0] == number:
            return self._kept[1]
        rng = np.random.default_rng([self.seed, 1, number])
        planned: list[Planned] = []
        for one in self.groups:
            shares = [pad(share, self.size, rng) for share in deal(one.samples, self.world, rng)]
            most = max(len(share) for share in shares)
            # A machine with fewer samples repeats some, so that none waits for another.
            full = [
                share + [share[int(k)] for k in rng.integers(len(share), size=most - len(share))]
                for share in shares
            ]
            batches = [cut(share, self.size, rng) for share in full][self.rank]
            planned += [Planned(site=one.site, available=one.available, samples=batch) for batch in batches]
        order = rng.permutation(len(planned))
        self._kept = (number, [planned[int(k)] for k in order])
        return self._kept[1]

    def at(self, step: int) -> Planned:
        """The batch of a step of the training, counted from 0 through all epochs."""
        while not self._ends or self._ends[-1] <= step:
            self._ends.append((self._ends or [0])[-1] + len(self.epoch(len(self._ends))))
        number = bisect_right(self._ends, step)
        return self.epoch(number)[step - (self._ends[number - 1] if number else 0)]

"""The three steps of the modality-consistent batch scheduler, and the same among several machines."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.network import MedK2N
from tests.unit.training.cases import small_case
from training.loop import Plan, Recipe
from training.sampling.mcbs import BatchSchedule, Sample, cut, deal, group, pad, samples_of

FULL, LESS = ("T1", "T2", "FLAIR"), ("T1", "FLAIR")
SITES = (1, 1, 2, 1, 2)
AVAILABLE = (FULL, LESS, FULL, ("FLAIR", "T2", "T1"), FULL)


def _schedule(rank: int = 0, world: int = 1, seed: int = 3, size: int = 4) -> BatchSchedule:
    return BatchSchedule([5, 7, 6, 3, 9], SITES, AVAILABLE, size=size, seed=seed, rank=rank, world=world)


def test_step_1_samples_of_one_site_with_the_same_contrasts_form_a_group() -> None:
    groups = group(samples_of([2, 1, 2, 1, 1]), SITES, AVAILABLE)
    found = {(g.site, g.available): {s.case for s in g.samples} for g in groups}
    assert found == {
        (1, ("FLAIR", "T1")): {1},
        (1, ("FLAIR", "T1", "T2")): {0, 3},  # the order in which a case names its contrasts is nothing
        (2, ("FLAIR", "T1", "T2")): {2, 4},  # the same contrasts at another site: another group
    }


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 999))
@settings(max_examples=60, deadline=None)
def test_step_2_a_group_is_filled_up_with_its_own_samples(count: int, size: int, seed: int) -> None:
    samples = [Sample(case=k) for k in range(count)]
    full = pad(samples, size, np.random.default_rng(seed))
    assert len(full) % size == 0 and len(full) - count < size
    assert full[:count] == samples and set(full) == set(samples)


def test_step_3_batches_of_a_group_do_not_overlap_and_all_batches_are_mixed() -> None:
    samples = [Sample(case=k) for k in range(12)]
    batches = cut(samples, 4, np.random.default_rng(0))
    assert [len(b) for b in batches] == [4, 4, 4]
    assert sorted(s.case for b in batches for s in b) == list(range(12))
    assert [s.case for b in batches for s in b] != list(range(12))
    order = [(b.site, b.available) for b in _schedule().epoch(0)]
    assert order != sorted(order), "groups one after the other would not be mixed"


def test_every_batch_is_of_one_site_and_one_set_of_contrasts_and_an_epoch_shows_everything() -> None:
    schedule = _schedule()
    seen: Counter[Sample] = Counter()
    for batch in schedule.epoch(0):
        assert len(batch.samples) == 4
        assert {SITES[s.case] for s in batch.samples} == {batch.site}
        assert {tuple(sorted(AVAILABLE[s.case])) for s in batch.samples} == {batch.available}
        seen.update(batch.samples)
    assert set(seen) == set(samples_of([5, 7, 6, 3, 9]))
    padded = sum(seen.values()) - len(seen)
    assert padded == (-7 % 4) + (-(5 + 3) % 4) + (-(6 + 9) % 4)


def test_an_epoch_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    assert _schedule().epoch(2) == _schedule().epoch(2)
    assert _schedule().epoch(2) != _schedule().epoch(3)
    assert _schedule(seed=4).epoch(2) != _schedule().epoch(2)


def test_a_step_is_found_without_walking_the_epochs_before_it() -> None:
    schedule, steps = _schedule(), len(_schedule().epoch(0))
    walked = [b for e in range(3) for b in _schedule().epoch(e)]
    assert [schedule.at(k) for k in reversed(range(3 * steps))] == walked[::-1]


def test_two_machines_have_batches_of_the_same_group_and_of_different_cases() -> None:
    cases = 8
    ranks = [
        BatchSchedule([5] * cases, [1, 1, 1, 1, 2, 2, 2, 2], [FULL] * cases, size=3, seed=1, rank=r, world=2)
        for r in range(2)
    ]
    for epoch in range(3):
        one, other = (r.epoch(epoch) for r in ranks)
        assert len(one) == len(other)
        assert [(b.site, b.available) for b in one] == [(b.site, b.available) for b in other]
        for mine, theirs in zip(one, other, strict=True):
            assert not {s.case for s in mine.samples} & {s.case for s in theirs.samples}
        assert {s for b in (*one, *other) for s in b.samples} == set(samples_of([5] * cases))


def test_a_group_of_one_case_is_dealt_out_by_its_slices() -> None:
    shares = deal(samples_of([6]), 2, np.random.default_rng(0))
    assert sorted(s.span for share in shares for s in share) == sorted(s.span for s in samples_of([6]))
    assert not set(shares[0]) & set(shares[1])


def test_two_machines_learn_the_same_pattern_in_every_step() -> None:
    cases = [small_case(str(k), FULL if k % 2 else LESS, 1.0 - k / 20) for k in range(6)]
    recipe = Recipe(steps=12, batch=2, size=(64, 64), mcbs=True, simulated=0.0)
    network = MedK2N(recipe.network)
    plans = [Plan(recipe, cases, [1.0] * 6, [], rank=r, world=2) for r in range(2)]
    for step in range(12):
        one, other = (p.at(step, network) for p in plans)
        assert one.pattern == other.pattern and one.stage == other.stage
        assert one.keys == other.keys, "a pair of one machine must be the same pair of the other"
        assert not one.batch.x.equal(other.batch.x)


def test_a_rank_outside_its_world_is_refused() -> None:
    with pytest.raises(ValueError, match="rank"):
        _schedule(rank=2, world=2)

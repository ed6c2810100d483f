"""Delays double up to the longest, are spread by chance, and end when the time to give up has come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medk2n_node.delivery.backoff import BackoffRules, delay_seconds, given_up

RULES = BackoffRules(first_seconds=10, longest_seconds=1800, give_up_after=timedelta(hours=72))


@pytest.mark.parametrize(
    ("attempts", "longest"), [(1, 10), (2, 20), (3, 40), (8, 1280), (9, 1800), (500, 1800)]
)
def test_the_delay_doubles_up_to_the_longest(attempts: int, longest: float) -> None:
    assert delay_seconds(attempts, RULES, 0.0) == pytest.approx(longest / 2)
    assert delay_seconds(attempts, RULES, 0.999999) == pytest.approx(longest, rel=1e-5)


@given(attempts=st.integers(1, 10_000), chance=st.floats(0, 1, exclude_max=True))
def test_every_delay_lies_between_half_the_first_and_the_longest(attempts: int, chance: float) -> None:
    assert 5 <= delay_seconds(attempts, RULES, chance) <= 1800


def test_a_delay_without_an_attempt_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one attempt"):
        delay_seconds(0, RULES, 0.5)


def test_an_object_is_given_up_when_its_time_is_over_and_not_before() -> None:
    written = datetime(2025, 3, 1, tzinfo=UTC)
    assert not given_up(written, written + timedelta(hours=71, minutes=59), RULES)
    assert given_up(written, written + timedelta(hours=72), RULES)

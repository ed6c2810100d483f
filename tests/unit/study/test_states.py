"""The table of arrows: every allowed one can be walked, every other one raises."""

from __future__ import annotations

from itertools import product

import pytest

from medk2n_node.study.states import (
    ACTIVE,
    FINAL,
    TRANSITIONS,
    IllegalTransition,
    State,
    can_be_superseded,
    check,
)

ARROWS = list(product([None, *State], State))


@pytest.mark.parametrize(("old", "new"), [arrow for arrow in ARROWS if arrow in TRANSITIONS])
def test_every_arrow_of_the_table_is_allowed_and_says_when(old: State | None, new: State) -> None:
    check(old, new)
    assert TRANSITIONS[(old, new)].strip()


@pytest.mark.parametrize(("old", "new"), [arrow for arrow in ARROWS if arrow not in TRANSITIONS])
def test_every_other_arrow_raises_and_names_both_ends(old: State | None, new: State) -> None:
    with pytest.raises(IllegalTransition, match=new.value) as caught:
        check(old, new)
    assert ("nothing" if old is None else old.value) in str(caught.value)


def test_every_state_can_be_reached_from_the_first_instance() -> None:
    reached: set[State | None] = {None}
    while True:
        further = {new for old, new in TRANSITIONS if old in reached} - reached
        if not further:
            break
        reached |= further
    assert reached == {None, *State}


def test_nothing_leaves_a_final_state_and_something_leaves_every_other() -> None:
    left = {old for old, _ in TRANSITIONS}
    assert not left & FINAL
    assert set(State) - FINAL <= left


def test_all_unfinished_work_can_be_superseded_and_finished_work_cannot() -> None:
    assert all(can_be_superseded(state) for state in ACTIVE)
    assert not any(can_be_superseded(state) for state in FINAL)

"""The states of a study revision and the arrows between them, as data.

One enum, one table: the code that moves a revision, the tests that walk every arrow and the diagram in the
documentation all read `TRANSITIONS`. A revision goes left to right and never back, except where a person
(`studies retry`) or changed weights ask for a decision to be taken again.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType


class State(Enum):
    """Where a revision stands; the value is what the database and the commands show."""

    RECEIVING = "RECEIVING"
    """instances are arriving"""
    SETTLED = "SETTLED"
    """the set of instances is frozen; waiting to be planned"""
    COMPLETE = "COMPLETE"
    """nothing is missing, or nothing new is to be made"""
    HELD = "HELD"
    """a person has to decide; the reason and what would release it are stored"""
    REFUSED = "REFUSED"
    """cannot be done safely; the reason is stored"""
    PLANNED = "PLANNED"
    """the plan is stored; waiting for the device"""
    SYNTHESIZING = "SYNTHESIZING"
    """volumes are being read and made"""
    ENCODED = "ENCODED"
    """the objects are on disk, hashed, with their UIDs"""
    DELIVERING = "DELIVERING"
    """some destination has not answered for every object yet"""
    DELIVERED = "DELIVERED"
    """every destination accepted every object"""
    FAILED = "FAILED"
    """all attempts are spent; the last error is stored and nothing is lost"""
    SUPERSEDED = "SUPERSEDED"
    """a newer revision took over before this one ended"""


TRANSITIONS: Mapping[tuple[State | None, State], str] = MappingProxyType(
    {
        (None, State.RECEIVING): "an instance arrived that no revision holds yet",
        (State.RECEIVING, State.SETTLED): "the sender has finished, or the longest wait is over",
        (State.SETTLED, State.PLANNED): "the plan makes at least one target",
        (State.SETTLED, State.COMPLETE): "the plan makes nothing, and nothing is wrong",
        (State.SETTLED, State.HELD): "the plan needs a person",
        (State.SETTLED, State.REFUSED): "the plan finds nothing it can do safely",
        (State.SETTLED, State.FAILED): "planning ended in an error on every attempt",
        (State.SETTLED, State.SUPERSEDED): "a newer revision took over",
        (State.HELD, State.SETTLED): "a person asked for a new decision, or the model can be used again",
        (State.HELD, State.REFUSED): "a person rejected the study",
        (State.HELD, State.SUPERSEDED): "a newer revision took over",
        (State.REFUSED, State.SETTLED): "a person asked for a new decision",
        (State.REFUSED, State.SUPERSEDED): "a newer revision took over",
        (State.PLANNED, State.SYNTHESIZING): "the device is free",
        (State.PLANNED, State.SETTLED): "the model was exchanged after the plan was made",
        (State.PLANNED, State.FAILED): "all attempts are spent",
        (State.PLANNED, State.SUPERSEDED): "a newer revision took over",
        (State.SYNTHESIZING, State.ENCODED): "every object is on disk",
        (State.SYNTHESIZING, State.REFUSED): "the images or the model give a reason not to",
        (State.SYNTHESIZING, State.FAILED): "all attempts are spent",
        (State.SYNTHESIZING, State.SETTLED): "the model that it began with is gone",
        (State.SYNTHESIZING, State.SUPERSEDED): "a newer revision took over",
        (State.ENCODED, State.DELIVERING): "the outbox is written",
        (State.ENCODED, State.SUPERSEDED): "a newer revision took over",
        (State.DELIVERING, State.DELIVERED): "every destination accepted every object",
        (State.DELIVERING, State.FAILED): "a destination did not accept every object in the time allowed",
        (State.DELIVERING, State.SUPERSEDED): "a newer revision took over",
        (State.FAILED, State.SETTLED): "a person asked for another attempt at the plan",
        (State.FAILED, State.PLANNED): "a person asked for another attempt at the synthesis",
        (State.FAILED, State.DELIVERING): "a person asked for another attempt at the delivery",
        (State.FAILED, State.SUPERSEDED): "a newer revision took over",
    }
)
"""Every allowed arrow and what makes a revision take it."""

ACTIVE: frozenset[State] = frozenset(
    {State.SETTLED, State.PLANNED, State.SYNTHESIZING, State.ENCODED, State.DELIVERING}
)
"""States in which a worker owes the revision something."""

FINAL: frozenset[State] = frozenset({State.COMPLETE, State.DELIVERED, State.SUPERSEDED})
"""States that nothing leaves."""


class IllegalTransition(Exception):
    """A revision was asked to move along an arrow that is not in the table."""

    def __init__(self, old: State | None, new: State) -> None:
        self.old = old
        self.new = new
        start = "nothing" if old is None else old.value
        allowed = ", ".join(sorted(to.value for frm, to in TRANSITIONS if frm is old)) or "none"
        super().__init__(f"a revision cannot go from {start} to {new.value} (allowed: {allowed})")


def check(old: State | None, new: State) -> None:
    """Raise `IllegalTransition` unless the table has the arrow."""
    if (old, new) not in TRANSITIONS:
        raise IllegalTransition(old, new)


def can_be_superseded(state: State) -> bool:
    """True when a newer revision ends this one: its work is unfinished, or its verdict is outdated."""
    return (state, State.SUPERSEDED) in TRANSITIONS

"""Executor ids are leases: never the same id to two live processes, always somebody for a dead one's work."""

from __future__ import annotations

from datetime import timedelta

import pytest

from medk2n_node.study import slots
from tests.unit.study.desk import Desk


def everybody_lives(pid: int) -> bool:
    return True


def acquire(desk: Desk, pid: int, host: str = "h", alive: slots.ProcessAlive = everybody_lives) -> slots.Slot:
    with desk.store.session() as session:
        return slots.acquire(session, desk.now, host, pid, alive=alive)


def test_two_live_workers_get_two_ids(desk: Desk) -> None:
    assert [acquire(desk, 1).executor_id, acquire(desk, 2).executor_id] == ["worker-0", "worker-1"]


def test_a_restarted_worker_takes_the_id_of_the_process_that_was_killed_here(desk: Desk) -> None:
    acquire(desk, 1)
    assert acquire(desk, 2, alive=lambda pid: pid != 1).executor_id == "worker-0"


def test_a_process_of_another_machine_is_dead_only_when_its_lease_ran_out(desk: Desk) -> None:
    acquire(desk, 1, host="other")
    assert acquire(desk, 2, alive=lambda pid: False).executor_id == "worker-1"
    desk.wait(slots.LEASE.total_seconds() + 1)
    assert acquire(desk, 3).executor_id == "worker-0"


def test_a_worker_whose_slot_was_taken_learns_it_at_the_next_beat(desk: Desk) -> None:
    old = acquire(desk, 1)
    desk.wait(slots.LEASE.total_seconds() + 1)
    acquire(desk, 2)
    with desk.store.session() as session, pytest.raises(slots.SlotLost, match="worker-0 was taken over"):
        slots.beat(session, old, desk.now)


def test_beating_keeps_the_slot(desk: Desk) -> None:
    mine = acquire(desk, 1, host="other")
    for _ in range(10):
        desk.wait(5)
        with desk.store.session() as session:
            slots.beat(session, mine, desk.now)
    assert acquire(desk, 2).executor_id == "worker-1"


def test_a_released_slot_is_free_at_once(desk: Desk) -> None:
    mine = acquire(desk, 1, host="other")
    with desk.store.session() as session:
        slots.release(session, mine)
    assert acquire(desk, 2).executor_id == "worker-0"


def test_a_live_worker_holds_a_dead_slot_while_it_recovers_and_then_drops_it(desk: Desk) -> None:
    acquire(desk, 1, host="other")
    mine = acquire(desk, 2)
    desk.now += slots.LEASE + timedelta(seconds=1)
    with desk.store.session() as session:
        slots.beat(session, mine, desk.now)
        assert slots.dead_slots(session, mine, desk.now, alive=everybody_lives) == ["worker-0"]
        assert slots.seize(session, "worker-0", mine, desk.now, alive=everybody_lives)
    assert acquire(desk, 3).executor_id == "worker-2"
    with desk.store.session() as session:
        assert not slots.seize(session, "worker-0", mine, desk.now, alive=everybody_lives)
        slots.drop(session, "worker-0", mine)


def test_this_very_process_is_alive_and_an_impossible_one_is_not() -> None:
    import os

    assert slots.process_alive(os.getpid())
    assert not slots.process_alive(2**22 - 3)

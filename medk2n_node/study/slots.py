"""Executor ids as leased slots: who may call itself `worker-0`, and who takes over when it dies.

The durable engine recovers the unfinished work of a dead worker only under that worker's own executor id, and
two live workers under one id would run every step twice. So an id is a row with a heartbeat: a starting worker
takes the first slot whose holder is dead, or makes a new one; a live worker that meets a dead slot recovers its
work and removes the row. Leases change hands by compare-and-set on the heartbeat, so one taker wins.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from sqlalchemy import CursorResult, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from medk2n_node.store.tables import WorkerSlot

LEASE = timedelta(seconds=30)
"""A holder that has not written its heartbeat for this long is dead."""

HEARTBEAT_SECONDS = 5.0
"""Six beats fit into a lease: a few may be late on a busy machine before the slot is lost."""

RELEASED = datetime(1970, 1, 1, tzinfo=UTC)
"""The heartbeat of a slot whose worker ended in order: free at once."""

ProcessAlive = Callable[[int], bool]


class SlotLost(Exception):
    """Another worker holds the slot now; the process that thought it had it must end at once."""


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A lease on an executor id, held by this process."""

    executor_id: str
    host: str
    pid: int


def this_host() -> str:
    """A name for the set of processes among which a process id means something.

    Two containers may share a host name and never a process-id namespace.
    """
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return f"{socket.gethostname()}{namespace and '/' + namespace}"


def process_alive(pid: int) -> bool:
    """True when a process with this id runs on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def is_dead(row: WorkerSlot, now: datetime, host: str, alive: ProcessAlive) -> bool:
    """Whether the holder of a slot is gone: its lease ran out, or it ran here and its process ended."""
    if now - row.heartbeat_at > LEASE:
        return True
    return row.host == host and not alive(row.pid)


def acquire(
    session: Session, now: datetime, host: str, pid: int, *, alive: ProcessAlive = process_alive
) -> Slot:
    """Take the first dead slot, or a new one. Commit the session at once: the lease starts then."""
    rows = session.scalars(select(WorkerSlot).order_by(WorkerSlot.executor_id)).all()
    for row in rows:
        if is_dead(row, now, host, alive) and _take(session, row, now, host, pid):
            return Slot(executor_id=row.executor_id, host=host, pid=pid)
    number = len(rows)
    while True:
        executor_id = f"worker-{number}"
        try:
            with session.begin_nested():
                session.add(WorkerSlot(executor_id=executor_id, host=host, pid=pid, heartbeat_at=now))
        except IntegrityError:
            number += 1  # another worker that starts now was faster
            continue
        return Slot(executor_id=executor_id, host=host, pid=pid)


def beat(session: Session, slot: Slot, now: datetime) -> None:
    """Renew the lease; raises SlotLost when another worker has taken the slot over."""
    renewed = cast(
        CursorResult[Any],
        session.execute(
            update(WorkerSlot)
            .where(
                WorkerSlot.executor_id == slot.executor_id,
                WorkerSlot.host == slot.host,
                WorkerSlot.pid == slot.pid,
                WorkerSlot.heartbeat_at > RELEASED,
            )
            .values(heartbeat_at=now)
        ),
    )
    if renewed.rowcount != 1:
        raise SlotLost(f"{slot.executor_id} was taken over by another worker")


def release(session: Session, slot: Slot) -> None:
    """Give the slot back at an orderly end; its unfinished work goes to whoever takes it next."""
    session.execute(
        update(WorkerSlot)
        .where(
            WorkerSlot.executor_id == slot.executor_id,
            WorkerSlot.host == slot.host,
            WorkerSlot.pid == slot.pid,
        )
        .values(heartbeat_at=RELEASED)
    )


def dead_slots(
    session: Session, slot: Slot, now: datetime, *, alive: ProcessAlive = process_alive
) -> list[str]:
    """Executor ids of other workers that are gone."""
    rows = session.scalars(select(WorkerSlot).where(WorkerSlot.executor_id != slot.executor_id)).all()
    return [row.executor_id for row in rows if is_dead(row, now, slot.host, alive)]


def seize(
    session: Session, executor_id: str, slot: Slot, now: datetime, *, alive: ProcessAlive = process_alive
) -> bool:
    """Hold a dead slot beside one's own while its work is recovered; False when it lives or another took it.

    It must be held meanwhile: a worker that started under this id now would have its fresh work recovered too.
    """
    row = session.get(WorkerSlot, executor_id)
    if row is None or not is_dead(row, now, slot.host, alive):
        return False
    return _take(session, row, now, slot.host, slot.pid)


def drop(session: Session, executor_id: str, slot: Slot) -> None:
    """Remove a seized slot after its work was recovered."""
    session.execute(
        delete(WorkerSlot).where(
            WorkerSlot.executor_id == executor_id, WorkerSlot.host == slot.host, WorkerSlot.pid == slot.pid
        )
    )


def _take(session: Session, row: WorkerSlot, now: datetime, host: str, pid: int) -> bool:
    taken = cast(
        CursorResult[Any],
        session.execute(
            update(WorkerSlot)
            .where(WorkerSlot.executor_id == row.executor_id, WorkerSlot.heartbeat_at == row.heartbeat_at)
            .values(host=host, pid=pid, heartbeat_at=now)
            .execution_options(synchronize_session=False)
        ),
    )
    return taken.rowcount == 1


def _is_zombie(pid: int) -> bool:
    """A killed process that its parent has not collected yet still answers signal 0 (Linux only)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        return stat.rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False

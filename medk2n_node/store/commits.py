"""Group commit: threads that have something to write wait for one commit together.

A commit costs the same for one row as for twenty. The first thread to come commits what all the waiting
threads handed in, in the order in which they came; a thread that is alone waits for nobody. Every caller
returns only after its own change is committed, or raises the error that its change met.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from medk2n_node.errors import StoreError

Change = Callable[[Connection], None]


@dataclass(kw_only=True)
class _Waiting:
    change: Change
    done: bool = False
    error: Exception | None = None


class GroupCommit:
    """Runs changes of many threads on one database in as few transactions as possible."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._queue: list[_Waiting] = []
        self._queue_lock = threading.Lock()
        self._leader = threading.Lock()
        self._connection: Connection | None = None

    def run(self, change: Change) -> None:
        """Commit `change`; it may be run twice (the second time alone) when another of its group failed.

        Raises:
            StoreError: the database did not take it.
        """
        mine = _Waiting(change=change)
        with self._queue_lock:
            self._queue.append(mine)
        with self._leader:
            if not mine.done:
                with self._queue_lock:
                    group, self._queue = self._queue, []
                self._commit(group)
        if isinstance(mine.error, SQLAlchemyError):
            raise StoreError(
                code="database_failed",
                subject=f"node.database {self._engine.url.render_as_string(hide_password=True)}",
                reason=f"a row could not be written ({str(mine.error).splitlines()[0]})",
                cure="Check that the database is reachable and has space",
            ) from mine.error
        if mine.error is not None:
            raise mine.error

    def _commit(self, group: list[_Waiting]) -> None:
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            with self._connection.begin():
                for waiting in group:
                    waiting.change(self._connection)
        except Exception as error:  # noqa: BLE001 - handed to the thread whose change it was
            self._disconnect()
            if len(group) == 1:
                group[0].error = error
            else:
                for waiting in group:
                    self._commit([waiting])
        finally:
            for waiting in group:
                waiting.done = True

    def close(self) -> None:
        """Give the connection back."""
        with self._leader:
            self._disconnect()

    def _disconnect(self) -> None:
        """The next commit takes a connection of its own: this one may be the fault."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

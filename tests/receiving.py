"""A listener within the test's own process, and what it has stored."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import DeclarativeBase

from medk2n_node.config import Config
from medk2n_node.listener import Listener
from medk2n_node.store import Store, open_store
from medk2n_node.store.tables import Instance
from tests.objects import data_set_bytes

Row = TypeVar("Row", bound=DeclarativeBase)


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """A running listener and its store."""

    listener: Listener
    store: Store

    @property
    def port(self) -> int:
        """The port to send to."""
        return self.listener.port

    def rows(self, table: type[Row]) -> list[Row]:
        """All rows of a table."""
        with self.store.reading() as session:
            return list(session.scalars(select(table)))

    def stored(self) -> dict[str, bytes]:
        """The data sets that were taken in, by SOP Instance UID."""
        return {row.sop_uid: data_set_bytes(self.store.path(row.path)) for row in self.rows(Instance)}


@contextmanager
def receiver(config: Config, **store_options: Any) -> Iterator[Receiver]:
    """Start a listener for the block."""
    store = open_store(config, **store_options)
    listener = Listener(config, store)
    listener.start()
    try:
        yield Receiver(listener=listener, store=store)
    finally:
        listener.stop()
        store.close()


def settled(condition: Callable[[], bool], *, within_s: float = 10.0) -> bool:
    """Whether `condition` becomes true within a while."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True

"""The database connection: SQLite as it must be set for several processes, or PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from medk2n_node.errors import StoreError

BUSY_SECONDS = 30.0
BEGIN = "medk2n_begin"
"""Execution option: how a transaction on SQLite begins, IMMEDIATE (default) or DEFERRED."""

Synchronous = Literal["FULL", "NORMAL"]


def connect(url_text: str, *, synchronous: Synchronous = "FULL") -> Engine:
    """An engine for the database URL.

    SQLite runs with a write-ahead log, so readers and the one writer do not block each other, and a writer waits
    for the other instead of failing. Transactions begin IMMEDIATE: one that reads first and then writes would
    otherwise fail at once, without waiting, when another wrote in between. `synchronous="NORMAL"` spares the
    sync of every commit; a power failure may then lose the last commits, never the database's consistency. It is
    for rows that can be rebuilt from files.

    Raises:
        StoreError: the URL is not one of a database that the node can use.
    """
    try:
        url = make_url(url_text)
    except ArgumentError as error:
        raise _unusable(url_text, "this is not a database URL") from error
    backend = url.get_backend_name()
    if backend == "sqlite":
        return _sqlite(url, synchronous)
    if backend == "postgresql":
        return create_engine(
            url.set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,
            pool_size=10,
            hide_parameters=True,  # an error that is logged must not repeat the rows it was about
        )
    raise _unusable(url.render_as_string(hide_password=True), f"{backend} is not supported")


def _sqlite(url: URL, synchronous: Synchronous) -> Engine:
    if not url.database or url.database == ":memory:":
        raise _unusable(str(url), "a database in memory cannot be shared by the node's processes")
    try:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(str(url), f"its folder cannot be made ({error.strerror})") from error
    engine = create_engine(
        url,
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
        pool_size=10,
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # the driver begins no transaction of its own; see _begin
        for pragma in (
            "PRAGMA journal_mode=WAL",
            f"PRAGMA synchronous={synchronous}",
            "PRAGMA foreign_keys=ON",
        ):
            connection.execute(pragma)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get(BEGIN, 'IMMEDIATE')}")

    return engine


def _unusable(url: str, reason: str) -> StoreError:
    return StoreError(
        code="database_unusable",
        subject=f"node.database {url}",
        reason=reason,
        cure="A valid example: sqlite:///var/medk2n.db, or postgresql+psycopg://user:password@host/name",
    )

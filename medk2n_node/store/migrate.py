"""Bring the database to the tables of this version, at start, by the migrations that ship in the package."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from medk2n_node.errors import StoreError

SCRIPTS = Path(__file__).parent / "migrations"
_ADVISORY_KEY = 5_233_011_112  # any constant; the lock is known by it in PostgreSQL


def migrate(engine: Engine) -> None:
    """Create or upgrade the tables. Several processes may call it at once: one does the work.

    Raises:
        StoreError: the database cannot be reached, or was written by a newer version of the node.
    """
    shown = engine.url.render_as_string(hide_password=True)
    try:
        with _only_one(engine), engine.begin() as connection:
            config = alembic_config(connection)
            command.upgrade(config, "head")
    except CommandError as error:
        raise StoreError(
            code="database_newer",
            subject=f"node.database {shown}",
            reason=f"its tables were made by another version of the node ({error})",
            cure=f"Use a node that knows them; this one knows up to {head()}",
        ) from error
    except (SQLAlchemyError, OSError) as error:
        raise StoreError(
            code="database_unusable",
            subject=f"node.database {shown}",
            reason=f"the database cannot be opened ({str(error).splitlines()[0]})",
            cure="Check that it is reachable and that this user may write to it",
        ) from error


def alembic_config(connection: Connection) -> AlembicConfig:
    """The alembic configuration for migrations over an open connection."""
    config = AlembicConfig()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def head() -> str:
    """The revision that this version of the node expects."""
    return ScriptDirectory(str(SCRIPTS)).get_current_head() or ""


@contextmanager
def _only_one(engine: Engine) -> Iterator[None]:
    """A lock over all processes that open this database."""
    if engine.dialect.name == "sqlite":
        with Path(f"{engine.url.database}.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        return
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _ADVISORY_KEY})
        connection.commit()
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _ADVISORY_KEY})
            connection.commit()

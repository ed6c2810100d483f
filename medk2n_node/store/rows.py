"""The statements by which received objects and associations are written to the index.

Those that run for every object received are compiled once for each database dialect and go to the driver as
text: building and compiling them anew costs many times what running them does.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Dialect, bindparam, case, insert, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import ClauseElement

from medk2n_node.store.tables import (
    Association,
    Base,
    Conflict,
    Instance,
    Quarantine,
    Series,
    Study,
    utc_text,
)

_TABLES = Base.metadata.tables
_ASSOCIATION = _TABLES[Association.__tablename__]
_INSTANCE = _TABLES[Instance.__tablename__]
_SERIES = _TABLES[Series.__tablename__]
_STUDY = _TABLES[Study.__tablename__]
_TOUCH = (
    update(_ASSOCIATION).where(_ASSOCIATION.c.id == bindparam("association")).values(last_at=bindparam("at"))
)
_OPEN = insert(_ASSOCIATION)
_CLOSE = (
    update(_ASSOCIATION)
    .where(_ASSOCIATION.c.id == bindparam("association"), _ASSOCIATION.c.closed_at.is_(None))
    .values(closed_at=bindparam("at"), ending=bindparam("how"))
)
_CLOSE_CRASHED = (
    update(_ASSOCIATION)
    .where(_ASSOCIATION.c.listener == bindparam("name"), _ASSOCIATION.c.closed_at.is_(None))
    .values(closed_at=bindparam("at"), ending="crashed")
)
_ADD_CONFLICT = insert(_TABLES[Conflict.__tablename__])
_ADD_QUARANTINE = insert(_TABLES[Quarantine.__tablename__])


class InstanceWriter:
    """Writes the row of an instance, with its study and series where they are new."""

    def __init__(self, dialect: Dialect) -> None:
        # ON CONFLICT is the same clause in both dialects but has no common construct in SQLAlchemy.
        insert_into: Any = (postgresql if dialect.name == "postgresql" else sqlite).insert
        study = insert_into(_STUDY)
        later = case(
            (study.excluded.last_at > _STUDY.c.last_at, study.excluded.last_at), else_=_STUDY.c.last_at
        )
        upsert = study.on_conflict_do_update(index_elements=[_STUDY.c.study_uid], set_={"last_at": later})
        columns = ("study_uid", "patient_hash", "first_at", "last_at", "calling_ae")
        self._study = _Compiled(upsert, dialect, columns)
        self._series = _Compiled(insert_into(_SERIES).on_conflict_do_nothing(), dialect, _SERIES.c.keys())
        self._instance = _Compiled(
            insert_into(_INSTANCE).on_conflict_do_nothing(), dialect, _INSTANCE.c.keys()
        )
        self._touch = _Compiled(_TOUCH, dialect, None)

    def add(self, connection: Connection, row: Mapping[str, Any], *, modality: str) -> None:
        """Write `row` (the columns of `instance`). Repeating it changes nothing."""
        at = utc_text(row["received_at"])
        values = {**row, "received_at": at, "first_at": at, "last_at": at, "modality": modality}
        self._study.run(connection, values)
        self._series.run(connection, values)
        self._instance.run(connection, values)
        self._touch.run(connection, {"association": row["association_id"], "at": at})


class _Compiled:
    """A statement as text for one driver; times must be given as text."""

    def __init__(self, statement: ClauseElement, dialect: Dialect, columns: Any) -> None:
        compiled: Any = statement.compile(dialect=dialect, column_keys=columns)
        self._text = str(compiled)
        self._names: tuple[str, ...] = tuple(compiled.positiontup or compiled.params)
        self._positional = bool(compiled.positiontup)

    def run(self, connection: Connection, values: Mapping[str, Any]) -> None:
        if self._positional:
            connection.exec_driver_sql(self._text, tuple(values[name] for name in self._names))
        else:
            connection.exec_driver_sql(self._text, {name: values[name] for name in self._names})


def add_conflict(connection: Connection, row: dict[str, Any]) -> None:
    """The row of other bytes under a known UID."""
    connection.execute(_ADD_CONFLICT, row)


def add_quarantine(connection: Connection, row: dict[str, Any]) -> None:
    """The row of bytes that could not be taken in."""
    connection.execute(_ADD_QUARANTINE, row)


def open_association(connection: Connection, row: dict[str, Any]) -> None:
    """The row of an association that has just been accepted."""
    connection.execute(_OPEN, row)


def touch_association(connection: Connection, association_id: str, at: datetime) -> None:
    """Something arrived over the association."""
    connection.execute(_TOUCH, {"association": association_id, "at": at})


def close_association(connection: Connection, association_id: str, at: datetime, ending: str) -> None:
    """The association is over."""
    connection.execute(_CLOSE, {"association": association_id, "at": at, "how": ending})


def close_crashed(connection: Connection, listener: str, at: datetime) -> int:
    """Close what a dead process left open under the name of a listener; gives how many there were."""
    return connection.execute(_CLOSE_CRASHED, {"name": listener, "at": at}).rowcount

"""The statements by which received objects and associations are written to the index.

They are built once for each database dialect and only bound afterwards: building one costs many times what
running it does, and four of them run for every object received.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Table, bindparam, case, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.base import Executable

from medk2n_node.store.tables import Association, Base, Conflict, Instance, Quarantine, Series, Study

_TABLES = Base.metadata.tables
_ASSOCIATION = _TABLES[Association.__tablename__]
_INSTANCE = _TABLES[Instance.__tablename__]
_HELD = select(_INSTANCE.c.sha256).where(_INSTANCE.c.sop_uid == bindparam("uid"))
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


def add_instance(connection: Connection, row: dict[str, Any], *, modality: str) -> None:
    """The row of an instance, with its study and series where they are new. Repeating it changes nothing."""
    add_study, add_series, add_row = _upserts(connection.dialect.name)
    at = row["received_at"]
    study = {name: row[name] for name in ("study_uid", "patient_hash", "calling_ae")}
    connection.execute(add_study, {**study, "first_at": at, "last_at": at})
    connection.execute(
        add_series,
        {"series_uid": row["series_uid"], "study_uid": row["study_uid"], "modality": modality},
    )
    connection.execute(add_row, row)
    touch_association(connection, row["association_id"], at)


def held(connection: Connection, sop_uid: str) -> str | None:
    """SHA-256 of the instance that is held under a UID, or None."""
    found: str | None = connection.execute(_HELD, {"uid": sop_uid}).scalar()
    return found


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


@cache
def _upserts(dialect: str) -> tuple[Executable, Executable, Executable]:
    # ON CONFLICT is the same clause in both dialects but has no common construct in SQLAlchemy.
    insert_into: Any = (postgresql if dialect == "postgresql" else sqlite).insert
    study: Table = _TABLES[Study.__tablename__]
    add_study = insert_into(study)
    later = case(
        (add_study.excluded.last_at > study.c.last_at, add_study.excluded.last_at), else_=study.c.last_at
    )
    return (
        add_study.on_conflict_do_update(index_elements=[study.c.study_uid], set_={"last_at": later}),
        insert_into(_TABLES[Series.__tablename__]).on_conflict_do_nothing(),
        insert_into(_INSTANCE).on_conflict_do_nothing(),
    )

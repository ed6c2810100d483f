"""The tables of the node: what was received, what was decided about it, what was sent.

One truth for every process: the listener writes what arrived, the worker writes what it decided and
did, pages and commands read. Times are timezone-aware UTC; they are kept as ISO 8601 text of fixed
width, so they sort and compare alike in SQLite and PostgreSQL. No table holds a patient's name or
identifier: `patient_hash` is a salted digest that only tells two patients apart.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, Dialect, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

UID_LENGTH = 64  # PS3.5 section 9.1
AE_LENGTH = 16  # PS3.5 section 6.2, VR AE
MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"


def utc_text(value: datetime) -> str:
    """An aware time as the tables hold it."""
    if value.tzinfo is None:
        raise ValueError(f"a time without a timezone ({value.isoformat()}) cannot be stored; use UTC")
    return value.astimezone(UTC).isoformat(timespec="microseconds")


class UtcTime(TypeDecorator[datetime]):
    """An aware datetime, stored as `2025-01-31T12:00:00.000000+00:00`."""

    impl = String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        return None if value is None else utc_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)


class Base(DeclarativeBase):
    """The declarative base; `Base.metadata` is what the migrations must end at."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcTime,
        dict[str, Any]: JSON(none_as_null=True),
    }


class Study(Base):
    """A study as its Study Instance UID names it. `problem_*`: a study-level finding, such as two patients."""

    __tablename__ = "study"

    study_uid: Mapped[str] = mapped_column(String(UID_LENGTH), primary_key=True)
    patient_hash: Mapped[str] = mapped_column(String(64))
    first_at: Mapped[datetime]
    last_at: Mapped[datetime] = mapped_column(index=True)
    calling_ae: Mapped[str] = mapped_column(String(AE_LENGTH))
    problem_code: Mapped[str | None] = mapped_column(String(64))
    problem_words: Mapped[str | None] = mapped_column(Text)


class Series(Base):
    """A series; `study_uid` is that of its first instance."""

    __tablename__ = "series"

    series_uid: Mapped[str] = mapped_column(String(UID_LENGTH), primary_key=True)
    study_uid: Mapped[str] = mapped_column(ForeignKey("study.study_uid"), index=True)
    modality: Mapped[str] = mapped_column(String(16), default="")


class Instance(Base):
    """One object on disk. `sha256` and `size` are of the data set exactly as it was received."""

    __tablename__ = "instance"

    sop_uid: Mapped[str] = mapped_column(String(UID_LENGTH), primary_key=True)
    sop_class: Mapped[str] = mapped_column(String(UID_LENGTH))
    series_uid: Mapped[str] = mapped_column(ForeignKey("series.series_uid"), index=True)
    study_uid: Mapped[str] = mapped_column(ForeignKey("study.study_uid"), index=True)
    transfer_syntax: Mapped[str] = mapped_column(String(UID_LENGTH))
    path: Mapped[str] = mapped_column(String(255))
    """Relative to the storage root; `Store.path(row.path)` gives the file (DICOM Part 10)."""
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    received_at: Mapped[datetime]
    calling_ae: Mapped[str] = mapped_column(String(AE_LENGTH))
    association_id: Mapped[str] = mapped_column(String(32), index=True)
    patient_hash: Mapped[str] = mapped_column(String(64))


class Association(Base):
    """One association with a sender; open while `closed_at` is null.

    `ending`: released | aborted | lost | timeout | shutdown | crashed (the listener died with it open).
    """

    __tablename__ = "association"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    calling_ae: Mapped[str] = mapped_column(String(AE_LENGTH))
    peer: Mapped[str] = mapped_column(String(64))
    listener: Mapped[str] = mapped_column(String(255), default="")
    opened_at: Mapped[datetime]
    last_at: Mapped[datetime]
    closed_at: Mapped[datetime | None] = mapped_column(index=True)
    ending: Mapped[str | None] = mapped_column(String(16))


class Quarantine(Base):
    """Bytes that could not be taken in, kept with the reason."""

    __tablename__ = "quarantine"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    received_at: Mapped[datetime] = mapped_column(index=True)
    path: Mapped[str] = mapped_column(String(255))
    code: Mapped[str] = mapped_column(String(64))
    words: Mapped[str] = mapped_column(Text)
    calling_ae: Mapped[str] = mapped_column(String(AE_LENGTH))
    study_uid: Mapped[str | None] = mapped_column(String(UID_LENGTH), index=True)
    sop_uid: Mapped[str | None] = mapped_column(String(UID_LENGTH))


class Conflict(Base):
    """Other bytes under a SOP Instance UID that is already held: set aside, the first is kept."""

    __tablename__ = "conflict"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    sop_uid: Mapped[str] = mapped_column(String(UID_LENGTH), index=True)
    path: Mapped[str] = mapped_column(String(255))
    sha256: Mapped[str] = mapped_column(String(64))
    received_at: Mapped[datetime]
    calling_ae: Mapped[str] = mapped_column(String(AE_LENGTH))


class Revision(Base):
    """A frozen set of instances of a study and all that was decided and done about it."""

    __tablename__ = "revision"
    __table_args__ = (UniqueConstraint("study_uid", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    study_uid: Mapped[str] = mapped_column(ForeignKey("study.study_uid"), index=True)
    number: Mapped[int]
    state: Mapped[str] = mapped_column(String(16), index=True)
    set_hash: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    code: Mapped[str | None] = mapped_column(String(64))
    words: Mapped[str | None] = mapped_column(Text)
    release: Mapped[str | None] = mapped_column(Text)
    evidence: Mapped[dict[str, Any]] = mapped_column(default=dict)
    plan: Mapped[dict[str, Any] | None]
    stage: Mapped[str | None] = mapped_column(String(32))
    attempt: Mapped[int] = mapped_column(default=0)
    report: Mapped[dict[str, Any] | None]


class RevisionInstance(Base):
    """Which instances a revision is made of."""

    __tablename__ = "revision_instance"

    revision_id: Mapped[int] = mapped_column(ForeignKey("revision.id"), primary_key=True)
    sop_uid: Mapped[str] = mapped_column(ForeignKey("instance.sop_uid"), primary_key=True)


class Transition(Base):
    """Every change of state of a revision, in order; `old` is null for the first."""

    __tablename__ = "transition"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    revision_id: Mapped[int] = mapped_column(ForeignKey("revision.id"), index=True)
    old: Mapped[str | None] = mapped_column(String(16))
    new: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime]
    code: Mapped[str | None] = mapped_column(String(64))
    words: Mapped[str | None] = mapped_column(Text)


class ResultInstance(Base):
    """One object that we made, on disk; `sha256` is of the whole file.

    `kind`: series | enhanced | uncertainty | overlay | summary | report | rejection. `contrast` is empty for a
    report, which is about the whole study.
    """

    __tablename__ = "result_instance"

    sop_uid: Mapped[str] = mapped_column(String(UID_LENGTH), primary_key=True)
    revision_id: Mapped[int] = mapped_column(ForeignKey("revision.id"), index=True)
    series_uid: Mapped[str] = mapped_column(String(UID_LENGTH), index=True)
    contrast: Mapped[str] = mapped_column(String(16))
    path: Mapped[str] = mapped_column(String(255))
    sha256: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(16), server_default="series")
    sop_class: Mapped[str] = mapped_column(String(UID_LENGTH), server_default=MR_IMAGE_STORAGE)


class TruthScore(Base):
    """How a synthetic series compared with a real series of its contrast that came later (drift).

    Measured inside the brain: `psnr_db`, and `error`, the mean absolute error in units of the real series' 99.5th
    percentile there; null with the reason in `words` where they could not be measured.
    """

    __tablename__ = "truth_score"
    __table_args__ = (UniqueConstraint("synthetic_series_uid", "truth_series_uid"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    study_uid: Mapped[str] = mapped_column(ForeignKey("study.study_uid"), index=True)
    revision_id: Mapped[int] = mapped_column(ForeignKey("revision.id"))
    contrast: Mapped[str] = mapped_column(String(16))
    synthetic_series_uid: Mapped[str] = mapped_column(String(UID_LENGTH))
    truth_series_uid: Mapped[str] = mapped_column(String(UID_LENGTH))
    model_digest: Mapped[str] = mapped_column(String(64), index=True)
    psnr_db: Mapped[float | None]
    error: Mapped[float | None]
    voxels: Mapped[int] = mapped_column(default=0)
    words: Mapped[str] = mapped_column(Text)
    measured_at: Mapped[datetime]


class Delivery(Base):
    """The ledger: one row per object and destination. `state`: OPEN | DONE | DEAD."""

    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("sop_uid", "destination"),
        Index("ix_delivery_due", "destination", "state", "next_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    revision_id: Mapped[int] = mapped_column(ForeignKey("revision.id"), index=True)
    sop_uid: Mapped[str] = mapped_column(ForeignKey("result_instance.sop_uid"))
    destination: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(8), default="OPEN")
    attempts: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[datetime]
    last_status: Mapped[str | None] = mapped_column(String(64))
    last_error: Mapped[str | None] = mapped_column(Text)
    done_at: Mapped[datetime | None]


class WorkerSlot(Base):
    """An executor id leased to a live worker; a stale heartbeat frees it for another."""

    __tablename__ = "worker_slot"

    executor_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    host: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int]
    heartbeat_at: Mapped[datetime]

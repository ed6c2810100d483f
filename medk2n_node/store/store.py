"""The store: the one door to the files and the tables."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from medk2n_node.config import Config
from medk2n_node.store import rows
from medk2n_node.store.commits import GroupCommit
from medk2n_node.store.engine import BEGIN, Synchronous, connect
from medk2n_node.store.files import StorageFiles, sync_folder, write_synced
from medk2n_node.store.intake import Desk, Intake, Outcome
from medk2n_node.store.migrate import migrate
from medk2n_node.store.part10 import FileHeader
from medk2n_node.store.sweep import SweepReport, sweep

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The clock of the running node."""
    return datetime.now(UTC)


def open_store(
    config: Config,
    *,
    clock: Clock = utc_now,
    synchronous: Synchronous = "FULL",
    free_bytes: Callable[[], int] | None = None,
    step: Callable[[str], None] = lambda name: None,
) -> Store:
    """Open the storage folder and the database of `config`, making or upgrading them where needed.

    Args:
        clock: gives aware UTC times.
        synchronous: SQLite's promise on power failure; NORMAL only where every row can be rebuilt from files.
        free_bytes: the free disk space; None asks the file system.
        step: called with the name of each step of an intake; tests stop the process there.

    Raises:
        StoreError: the folder or the database cannot be used.
    """
    files = StorageFiles(config.storage_path)
    engine = connect(config.node.database, synchronous=synchronous)
    migrate(engine)
    return Store(
        files=files,
        engine=engine,
        clock=clock,
        reserve_bytes=config.listener.disk_reserve_mb << 20,
        free_bytes=free_bytes or files.free_bytes,
        step=step,
    )


class Store:
    """Files and tables of one node. Safe for use by many threads; open one per process."""

    def __init__(
        self,
        *,
        files: StorageFiles,
        engine: Engine,
        clock: Clock,
        reserve_bytes: int,
        free_bytes: Callable[[], int],
        step: Callable[[str], None],
    ) -> None:
        self.engine = engine
        self.clock = clock
        self._files = files
        self._commits = GroupCommit(engine)
        self._reading = engine.execution_options(**{BEGIN: "DEFERRED"})
        self._desk = Desk(
            files=files,
            commit=self._commits.run,
            clock=clock,
            reserve_bytes=reserve_bytes,
            free_bytes=free_bytes,
            step=step,
            instances=rows.InstanceWriter(engine.dialect),
        )

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session that may write; committed at the end, rolled back when the block raises."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that only reads: one consistent view, and it never makes a writer wait."""
        with Session(self._reading, expire_on_commit=False) as session, session.begin():
            yield session

    @property
    def root(self) -> Path:
        """The storage root."""
        return self._files.root

    def path(self, relative: str) -> Path:
        """The file of a `path` column."""
        return self._files.path(relative)

    def receive(
        self, *, sop_class: str, sop_uid: str, transfer_syntax: str, calling_ae: str, association_id: str
    ) -> Intake:
        """Begin to take in an object, as the sender announced it. Raises DiskFullError below the watermark."""
        header = FileHeader(
            sop_class=sop_class,
            sop_uid=sop_uid,
            transfer_syntax=transfer_syntax,
            calling_ae=calling_ae,
            association_id=association_id,
        )
        return Intake(self._desk, header)

    def put(
        self,
        data: bytes,
        *,
        sop_class: str,
        sop_uid: str,
        transfer_syntax: str,
        calling_ae: str,
        association_id: str = "",
    ) -> Outcome:
        """Take in a whole encoded data set (no file header) at once."""
        intake = self.receive(
            sop_class=sop_class,
            sop_uid=sop_uid,
            transfer_syntax=transfer_syntax,
            calling_ae=calling_ae,
            association_id=association_id,
        )
        intake.write([data])
        return intake.keep()

    def write_result(self, relative: str, data: bytes) -> str:
        """Write an object that we made below `results/`, durably; gives its SHA-256.

        Writing the same bytes again is the same as writing them once; other bytes under the name replace it.
        """
        target = self._files.path(f"results/{relative}")
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{uuid.uuid4().hex}.part")
        write_synced(part, data)
        part.replace(target)
        sync_folder(target.parent)
        return hashlib.sha256(data).hexdigest()

    def sweep(self) -> SweepReport:
        """Find again what a crash left behind; call it before the listener opens its port."""
        return sweep(self._desk, self.engine)

    def open_association(self, *, calling_ae: str, peer: str, listener: str) -> str:
        """Note that an association was accepted; gives its id."""
        association_id, now = uuid.uuid4().hex, self.clock()
        row = {
            "id": association_id,
            "calling_ae": calling_ae,
            "peer": peer,
            "listener": listener,
            "opened_at": now,
            "last_at": now,
        }
        self._commits.run(lambda connection: rows.open_association(connection, row))
        return association_id

    def close_association(self, association_id: str, ending: str) -> None:
        """Note that an association is over."""
        now = self.clock()
        self._commits.run(lambda connection: rows.close_association(connection, association_id, now, ending))

    def close_crashed(self, listener: str) -> int:
        """Close the associations that a dead listener of this name left open; gives how many."""
        now, closed = self.clock(), 0

        def change(connection: Connection) -> None:
            nonlocal closed
            closed = rows.close_crashed(connection, listener, now)

        self._commits.run(change)
        return closed

    def close(self) -> None:
        """Give up the connections and the incoming folder."""
        self._files.close()
        self._commits.close()
        self.engine.dispose()

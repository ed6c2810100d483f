"""One object on its way in: bytes as sent, made durable, filed, indexed (DESIGN section 5).

The order of steps is the promise behind 0x0000: `.part` written and synced, checked, linked into place, folder
synced, row committed. A crash between any two of them leaves a `.part` that was never acknowledged, or a
file that the sweep finds and indexes again.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection

from medk2n_node.errors import StoreError
from medk2n_node.store import rows
from medk2n_node.store.commits import Change
from medk2n_node.store.files import StorageFiles, sync_folder, write_vectors
from medk2n_node.store.part10 import FileHeader, decode_header, encode_header
from medk2n_node.store.structure import Identity, UnreadableError, identify, peek

_FLUSH_BYTES = 1 << 20
_WATERMARK_EVERY = 16 << 20

Kind = Literal["stored", "duplicate", "conflict", "quarantined"]


class DiskFullError(StoreError):
    """The free disk space is below the reserve."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of an object; `code` and `words` say why, where it was not simply stored."""

    kind: Kind
    sop_uid: str
    code: str = ""
    words: str = ""


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What an intake works with. `step` is called with the name of each step as it is done."""

    files: StorageFiles
    commit: Callable[[Change], None]
    clock: Callable[[], datetime]
    reserve_bytes: int
    free_bytes: Callable[[], int]
    step: Callable[[str], None]
    instances: rows.InstanceWriter

    def check_space(self) -> None:
        """Raises DiskFullError below the watermark; nothing needs to be reset when there is space again."""
        if self.reserve_bytes and self.free_bytes() < self.reserve_bytes:
            raise DiskFullError(
                code="disk_reserve",
                subject="storage",
                reason=f"less than {self.reserve_bytes >> 20} MiB are free",
                cure="Free disk space, or lower listener.disk_reserve_mb",
            )


class Intake:
    """An object being received. Write to it, then call one of keep, set_aside and refuse.

    Every failure of disk or database is a StoreError; after one, call refuse.
    """

    def __init__(self, desk: Desk, header: FileHeader) -> None:
        desk.check_space()
        self._desk = desk
        self._header = header
        self._prefix = encode_header(header)
        with _disk_errors():
            self._part = desk.files.new_part()
            self._descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640)
        self._waiting: list[bytes | memoryview] = [self._prefix]
        self._waiting_bytes = 0
        self._next_space_check = _WATERMARK_EVERY
        self._digest = hashlib.sha256()
        self.size = 0
        """Bytes of the data set received so far."""

    def write(self, parts: Sequence[bytes | memoryview]) -> None:
        """Take the next bytes; they must not change afterwards. Raises StoreError (DiskFullError)."""
        for part in parts:
            self._digest.update(part)
            self._waiting_bytes += len(part)
            self.size += len(part)
        self._waiting += parts
        if self._waiting_bytes >= _FLUSH_BYTES:
            with _disk_errors():
                self._flush()
            if self.size >= self._next_space_check:
                self._next_space_check = self.size + _WATERMARK_EVERY
                self._desk.check_space()

    def _flush(self) -> None:
        write_vectors(self._descriptor, self._waiting)
        self._waiting, self._waiting_bytes = [], 0

    def keep(self) -> Outcome:
        """Make the object durable, file it and index it; returns once the row is committed.

        Raises:
            StoreError: it could not be kept; it must not be acknowledged.
        """
        with _disk_errors():
            self._flush()
            self._desk.step("written")
            os.fsync(self._descriptor)
            self._desk.step("synced")
            try:
                identity = self._identify()
            except UnreadableError as error:
                return self._to_quarantine(error.code, str(error))
            finally:
                self._close()
            return self._file(identity)

    def set_aside(self, code: str, words: str) -> Outcome:
        """Keep what was received so far in quarantine. Raises StoreError."""
        with _disk_errors():
            self._flush()
            os.fsync(self._descriptor)
            self._close()
            return self._to_quarantine(code, words)

    def refuse(self) -> None:
        """Drop what was received of an object that is refused for want of space: the sender keeps it."""
        self._close()
        self._part.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _identify(self) -> Identity:
        if self.size == 0:
            raise UnreadableError("empty", "the object holds no bytes at all")
        with (
            mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ) as mapped,
            memoryview(mapped) as whole,
            whole[len(self._prefix) :] as data,
        ):
            identity = identify(data, self._header.transfer_syntax)
        if identity.sop_uid != self._header.sop_uid:
            raise UnreadableError(
                "instance_mismatch",
                f"the sender announced SOP Instance UID {self._header.sop_uid}, the object says {identity.sop_uid}",
            )
        if identity.sop_class != self._header.sop_class:
            raise UnreadableError(
                "class_mismatch",
                f"the sender announced SOP Class {self._header.sop_class}, the object says {identity.sop_class}",
            )
        return identity

    def _file(self, identity: Identity) -> Outcome:
        desk, sha256 = self._desk, self._digest.hexdigest()
        relative = desk.files.instance_path(identity.sop_uid)
        now = desk.clock()
        if not desk.files.place(self._part, relative):
            return self._again(identity, relative, sha256, now)
        desk.step("placed")
        row = instance_row(self._header, identity, desk.files, relative, self.size, sha256, now)
        desk.commit(lambda connection: desk.instances.add(connection, row, modality=identity.modality))
        desk.step("committed")
        return Outcome(kind="stored", sop_uid=identity.sop_uid)

    def _again(self, identity: Identity, relative: str, sha256: str, now: datetime) -> Outcome:
        """The UID is held already: the same bytes are a success, others are set aside."""
        desk, sop_uid = self._desk, identity.sop_uid
        try:
            first = adopt(desk, relative)
        except UnreadableError as error:
            raise StoreError(
                code="damaged",
                subject=relative,
                reason=f"the object held under SOP Instance UID {sop_uid} is damaged on disk ({error})",
                cure="Check the disk; move the file away and send the object again",
            ) from error
        if first == sha256:
            desk.commit(
                lambda connection: rows.touch_association(connection, self._header.association_id, now)
            )
            self._part.unlink()
            return Outcome(kind="duplicate", sop_uid=sop_uid)
        words = f"other bytes under SOP Instance UID {sop_uid}, which is held already; the first are kept"
        conflict = desk.files.conflict_path(sop_uid, sha256)
        if desk.files.place(self._part, conflict):
            row = {
                "sop_uid": sop_uid,
                "path": conflict,
                "sha256": sha256,
                "received_at": now,
                "calling_ae": self._header.calling_ae,
            }

            def write(connection: Connection) -> None:
                rows.add_conflict(connection, row)
                rows.touch_association(connection, self._header.association_id, now)

            desk.commit(write)
        else:
            self._part.unlink()  # these very bytes have been set aside before
        return Outcome(kind="conflict", sop_uid=sop_uid, code="duplicate_uid", words=words)

    def _to_quarantine(self, code: str, words: str) -> Outcome:
        quarantine(self._desk, self._part, code, words)
        return Outcome(kind="quarantined", sop_uid=self._header.sop_uid, code=code, words=words)


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            code="disk_failed",
            subject="storage",
            reason=f"a file could not be written ({error.strerror or error})",
            cure="Check the disk: its space, its health, the rights of this user",
        ) from error


def instance_row(
    header: FileHeader,
    identity: Identity,
    files: StorageFiles,
    relative: str,
    size: int,
    sha256: str,
    received_at: datetime,
) -> dict[str, Any]:
    """The columns of `instance`."""
    return {
        "sop_uid": identity.sop_uid,
        "sop_class": identity.sop_class,
        "series_uid": identity.series_uid,
        "study_uid": identity.study_uid,
        "transfer_syntax": header.transfer_syntax,
        "path": relative,
        "size": size,
        "sha256": sha256,
        "received_at": received_at,
        "calling_ae": header.calling_ae,
        "association_id": header.association_id,
        "patient_hash": files.patient_hash(identity.patient),
    }


def adopt(desk: Desk, relative: str) -> str:
    """Make sure that a filed object has its row; gives the SHA-256 of its data set.

    Raises:
        UnreadableError: the file is not a whole object of ours.
    """
    path = desk.files.path(relative)
    if path.stat().st_size == 0:
        raise UnreadableError("empty", "the file holds no bytes at all")
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as whole,
    ):
        try:
            header, start = decode_header(whole)
        except ValueError as error:
            raise UnreadableError("not_dicom", str(error)) from error
        with whole[start:] as data:
            sha256 = hashlib.sha256(data).hexdigest()
            identity = identify(data, header.transfer_syntax)
            size = len(data)
        received_at = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, tz=UTC)
    row = instance_row(header, identity, desk.files, relative, size, sha256, received_at)
    desk.commit(lambda connection: desk.instances.add(connection, row, modality=identity.modality))
    return sha256


def quarantine(desk: Desk, file: Path, code: str, words: str) -> None:
    """Move a file into quarantine, with a row that says why and names the UIDs that could still be read."""
    now = desk.clock()
    relative = desk.files.quarantine_path(now)
    calling_ae, found = _what_can_be_read(file)
    desk.files.place(file, relative)
    sync_folder(file.parent)
    row = {
        "received_at": now,
        "path": relative,
        "code": code,
        "words": words,
        "calling_ae": calling_ae,
        "study_uid": found.get("study_uid"),
        "sop_uid": found.get("sop_uid"),
    }
    desk.commit(lambda connection: rows.add_quarantine(connection, row))


def _what_can_be_read(file: Path) -> tuple[str, dict[str, str]]:
    if file.stat().st_size == 0:
        return "", {}
    with (
        file.open("rb") as opened,
        mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as whole,
    ):
        try:
            header, start = decode_header(whole)
        except ValueError:
            return "", {}
        with whole[start:] as data:
            found = dict(peek(data, header.transfer_syntax))
    if header.sop_uid:
        found.setdefault("sop_uid", header.sop_uid)
    return header.calling_ae, found

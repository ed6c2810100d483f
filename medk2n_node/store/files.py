"""The storage folder: where each kind of file lies, and how a file becomes durable.

    instances/ab/cdef....dcm   objects received; the name is a hash of the SOP Instance UID, so no peer names a file
    conflicts/  quarantine/    other bytes under a known UID; bytes that could not be taken in
    results/                   objects that we made
    incoming/<lock id>/*.part  objects on their way in, one folder for each living process
    salt                       the salt of the patient hashes

A file is written beside its place, synced, linked into place, and the folder is synced. A name is never
overwritten: linking fails where the name exists.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import hmac
import os
import secrets
import shutil
import threading
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO

from medk2n_node.errors import StoreError

FOLDERS = ("incoming", "instances", "conflicts", "quarantine", "results")
_VECTOR = 512  # below IOV_MAX (1024 on Linux)


class StorageFiles:
    """The storage root. Relative paths are what the tables hold."""

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            self._create()
        except OSError as error:
            raise StoreError(
                code="storage_unusable",
                subject=str(root),
                reason=f"the storage folder cannot be used ({error.strerror or error})",
                cure="Set node.storage to a folder that this user may write to",
            ) from error
        self._salt = self._read_salt()
        self._guard = threading.Lock()
        self._incoming: Path | None = None
        self._lock: IO[bytes] | None = None

    def _create(self) -> None:
        for name in FOLDERS:
            (self.root / name).mkdir(parents=True, exist_ok=True)
        created = False
        for prefix in range(256):
            folder = self.root / "instances" / f"{prefix:02x}"
            if not folder.is_dir():
                folder.mkdir(exist_ok=True)
                created = True
        if created:
            for folder in (self.root / "instances", self.root, self.root.parent):
                sync_folder(folder)

    def _read_salt(self) -> bytes:
        file = self.root / "salt"
        if not file.exists():
            drawn = self.root / f"salt.{uuid.uuid4().hex}"
            write_synced(drawn, secrets.token_bytes(32))
            drawn.chmod(0o600)
            place_new(drawn, file)  # another process may have been first: then its salt is the one
        return file.read_bytes()

    def path(self, relative: str) -> Path:
        """The file of a relative path, which must lie inside the root."""
        path = self.root / relative
        if ".." in Path(relative).parts or Path(relative).is_absolute():
            raise StoreError(
                code="path_outside", subject=relative, reason="the path leaves the storage folder", cure=""
            )
        return path

    def instance_path(self, sop_uid: str) -> str:
        """Relative path of a received object."""
        name = hashlib.sha256(sop_uid.encode("ascii")).hexdigest()[:40]
        return f"instances/{name[:2]}/{name[2:]}.dcm"

    def conflict_path(self, sop_uid: str, sha256: str) -> str:
        """Relative path of other bytes under a UID that is held."""
        name = hashlib.sha256(sop_uid.encode("ascii")).hexdigest()[:40]
        return f"conflicts/{name[:2]}/{name[2:]}-{sha256[:16]}.dcm"

    def quarantine_path(self, now: datetime) -> str:
        """A new relative path for bytes that could not be taken in."""
        return f"quarantine/{now:%Y-%m-%d}/{uuid.uuid4().hex}.dcm"

    def patient_hash(self, patient: bytes) -> str:
        """The salted digest that stands for a patient."""
        return hmac.new(self._salt, patient, hashlib.sha256).hexdigest()

    def free_bytes(self) -> int:
        """What this user may still write to the file system of the root."""
        return shutil.disk_usage(self.root).free

    def new_part(self) -> Path:
        """A new name in this process's incoming folder; the folder's lock tells others that it is in use."""
        with self._guard:
            while self._incoming is None:
                self._claim(self.root / "incoming" / uuid.uuid4().hex)
            return self._incoming / f"{uuid.uuid4().hex}.part"

    def _claim(self, folder: Path) -> None:
        """Make a folder ours; a sweep of another process that looks at it in that moment may take it away."""
        folder.mkdir()
        try:
            lock = (folder / "lock").open("wb")
        except FileNotFoundError:
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return
        if not (folder / "lock").exists():
            lock.close()
            return
        self._lock, self._incoming = lock, folder

    def leftovers(self) -> Iterator[Path]:
        """The `.part` files of processes that no longer live; empty folders are removed on the way."""
        for folder in sorted((self.root / "incoming").iterdir()):
            if not folder.is_dir() or folder == self._incoming:
                continue
            try:
                lock = (folder / "lock").open("ab")
            except FileNotFoundError:
                continue  # another sweep was here first
            with lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue  # its process lives
                yield from sorted(folder.glob("*.part"))
                if not any(folder.glob("*.part")):
                    (folder / "lock").unlink(missing_ok=True)
                    folder.rmdir()

    def instance_files(self) -> Iterator[str]:
        """The relative path of every received object on disk."""
        for folder in sorted((self.root / "instances").iterdir()):
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.endswith(".dcm"):
                        yield f"instances/{folder.name}/{entry.name}"

    def place(self, part: Path, relative: str) -> bool:
        """Give a synced `part` its place for good; False (and nothing changed) where the name exists."""
        target = self.path(relative)
        if not target.parent.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            sync_folder(target.parent.parent)
        return place_new(part, target)

    def close(self) -> None:
        """Give up the incoming folder; what is left in it is for the next sweep."""
        if self._lock is not None and self._incoming is not None:
            if not any(self._incoming.glob("*.part")):
                (self._incoming / "lock").unlink()
                self._incoming.rmdir()
            self._lock.close()
            self._lock = self._incoming = None


def write_vectors(descriptor: int, parts: Sequence[bytes | memoryview]) -> None:
    """Write all of `parts` in order, however the system splits it."""
    for start in range(0, len(parts), _VECTOR):
        batch = list(parts[start : start + _VECTOR])
        while batch:
            written = os.writev(descriptor, batch)
            while batch and written >= len(batch[0]):
                written -= len(batch.pop(0))
            if batch and written:
                batch[0] = memoryview(batch[0])[written:]


def write_synced(path: Path, data: bytes) -> None:
    """Write a new file and sync it; the name must not exist."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    try:
        write_vectors(descriptor, [data])
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def place_new(part: Path, target: Path) -> bool:
    """Move a synced file to a name that must not exist and sync the folder; False where it exists.

    A hard link followed by an unlink does it without a moment in which the name could be overwritten. File
    systems without hard links get a rename; there the name is looked up first.
    """
    try:
        os.link(part, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        if target.exists():
            return False
        part.rename(target)
        sync_folder(target.parent)
        return True
    sync_folder(target.parent)
    part.unlink()
    return True


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""The models that the node keeps, below its storage root, and which of them is in service.

models/<digest>/     one bundle, as it was put into service; never changed, never deleted
models/service.json  the history of what was in service (`record`)
models/lock          held while the history changes
"""

from __future__ import annotations

import fcntl
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from medk2n_node.config import Config
from medk2n_node.errors import StoreError, UsageError
from medk2n_node.models.record import Change, Record, read_record, write_record
from medk2n_node.store.files import sync_folder

if TYPE_CHECKING:
    from model.bundle import BundleFacts

FOLDER = "models"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A version on the shelf: its digest is the name of its folder."""

    digest: str
    folder: Path
    kept_at: datetime


class Shelf:
    """The models of one storage root. The folder is made when the first model is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, digest: str) -> Path:
        """The folder of a version, whether it is there or not."""
        return self.folder / digest

    def record(self) -> Record:
        """What is in service, and the history; raises StoreError."""
        return read_record(self.folder)

    def versions(self) -> list[Kept]:
        """Every version that is kept, oldest first; a look at names, nothing is verified."""
        if not self.folder.is_dir():
            return []
        found = [
            Kept(digest=one.name, folder=one, kept_at=datetime.fromtimestamp(one.stat().st_mtime, UTC))
            for one in self.folder.iterdir()
            if one.is_dir() and len(one.name) == 64 and "." not in one.name
        ]
        return sorted(found, key=lambda one: (one.kept_at, one.digest))

    def keep(self, folder: Path) -> BundleFacts:
        """Take a bundle in, as it is, and give what it says of itself.

        A version that is on the shelf already is left alone, unless it was damaged there: then it is moved aside and
        the sound one takes its place.

        Raises:
            BundleError: the bundle that is offered is not whole.
        """
        from model import BundleError
        from model.bundle import copy_sealed, verify_bundle

        offered = verify_bundle(folder)
        target = self.path(offered.digest)
        self._make()
        if target.is_dir():
            try:
                return verify_bundle(target)
            except BundleError:
                target.rename(self.folder / f"{offered.digest}.damaged-{uuid.uuid4().hex[:8]}")
        part = self.folder / f"{offered.digest}.part-{uuid.uuid4().hex[:8]}"
        if copy_sealed(folder, part) != offered.digest:
            shutil.rmtree(part)
            raise StoreError(
                code="model_changed",
                subject=str(folder),
                reason="the bundle changed while it was read",
                cure="Wait until it is written, and try again",
            )
        sync_folder(part)
        try:
            part.rename(target)
        except OSError:
            if not target.is_dir():
                raise
            shutil.rmtree(part)  # another command has kept the same version meanwhile
        sync_folder(self.folder)
        return verify_bundle(target)

    def use(
        self,
        folder: Path,
        *,
        who: str,
        reason: str,
        now: datetime,
        judged: str | None = None,
        since: Record | None = None,
    ) -> Change | None:
        """Put a bundle into service; None (and nothing written) when it is in service already.

        It is opened and tried first; the one that it replaces is kept, so that a rollback gives exactly it.

        Args:
            judged: the digest that was compared with the model in force; another one in the folder is refused.
            since: the record when that was done; a model that was put into service meanwhile makes it void.

        Raises:
            BundleError: the bundle cannot be used. StoreError: the record cannot be read or written, or what was
                compared is no longer what would be exchanged.
        """
        from model.bundle import default_folder, open_and_try

        open_and_try(folder)
        facts = self.keep(folder)
        if judged is not None and facts.digest != judged:
            raise _overtaken(str(folder), "another bundle lies there than was compared")
        with self._locked() as record:
            if since is not None and record.changes != since.changes:
                raise _overtaken("the model in service", "it was exchanged while the two were compared")
            before = record.in_service
            if before == facts.digest:
                return None
            if before is None:
                packaged = self.keep(default_folder())
                if packaged.digest == facts.digest and not record.changes:
                    return None
                before = packaged.digest
            change = _change("use", facts, before=before, who=who, reason=reason, now=now)
            write_record(self.folder, [*record.changes, change])
            return change

    def rollback(self, *, who: str, reason: str, now: datetime) -> Change:
        """Return to the model that was in service before the last `use`.

        Raises:
            UsageError: there is nothing to return to. BundleError: that model cannot be used any more.
        """
        from model.bundle import open_and_try

        self._make()
        with self._locked() as record:
            found = record.before()
            if found is None:
                raise UsageError(
                    code="nothing_before",
                    subject="models rollback",
                    reason="no model was in service before the present one",
                    cure="medk2n models list shows what there is; medk2n models use NAME puts one into service",
                )
            folder = self.path(found)
            open_and_try(folder)
            facts = self.keep(folder)
            change = _change(
                "rollback", facts, before=record.in_service or found, who=who, reason=reason, now=now
            )
            write_record(self.folder, [*record.changes, change])
            return change

    def _make(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                code="storage_unusable",
                subject=str(self.folder),
                reason=f"the folder of the models cannot be made ({error.strerror or error})",
                cure="Set node.storage to a folder that this user may write to",
            ) from error

    @contextmanager
    def _locked(self) -> Iterator[Record]:
        """The record, with every other process kept from changing it."""
        with (self.folder / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self.record()


def _overtaken(subject: str, reason: str) -> StoreError:
    return StoreError(
        code="overtaken", subject=subject, reason=reason, cure="Compare again; nothing was changed"
    )


def shelf_of(config: Config) -> Shelf:
    """The shelf below the storage root of a configuration."""
    return Shelf(config.storage_path / FOLDER)


def _change(action: str, facts: BundleFacts, *, before: str, who: str, reason: str, now: datetime) -> Change:
    return Change(
        at=now,
        who=who,
        action="rollback" if action == "rollback" else "use",
        digest=facts.digest,
        name=facts.name,
        version=facts.version,
        before=before,
        reason=reason,
    )

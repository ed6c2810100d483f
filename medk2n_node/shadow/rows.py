"""The rows that shadow mode leaves: one JSON object a line, appended, never changed. No patient data, no UID."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from medk2n_node.config import Config
from medk2n_node.errors import StoreError
from medk2n_node.observe import get_logger

FOLDER, ROWS, LOCK = "shadow", "rows.jsonl", "lock"
log = get_logger("shadow")


@dataclass(frozen=True, kw_only=True)
class ShadowRow:
    """One target of one study, made although it was there.

    Attributes:
        revision: number in this node's own database, so that no study counts twice; says nothing about a patient.
        scanner: manufacturer and model; field_t: tesla, None where not stated; protocol: digest of how the series
            were acquired (`run.protocol_digest`).
        psnr_db, error: by the protocol of the evaluation, None with the reason in `words` where nothing was measured.
        expected: error that the model itself expected. model: digest of the weights.
    """

    at: datetime
    revision: int
    scanner: str
    field_t: float | None
    protocol: str
    target: str
    sources: tuple[str, ...]
    psnr_db: float | None
    error: float | None
    expected: float | None
    abstained: bool
    model: str
    words: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"kind": "row", **asdict(self), "at": self.at.isoformat(), "sources": list(self.sources)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ShadowRow:
        """The inverse; raises KeyError, TypeError or ValueError on anything else."""
        plain = {key: value for key, value in values.items() if key != "kind"}
        plain |= {"at": datetime.fromisoformat(plain["at"]), "sources": tuple(plain["sources"])}
        return cls(**plain)


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A study that was looked at, with or without rows: it is not looked at again.

    `instead` are earlier revisions of the same study: their rows do not count any more.
    """

    at: datetime
    revision: int
    words: str
    instead: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"kind": "tried", **asdict(self), "at": self.at.isoformat(), "instead": list(self.instead)}


class Ledger:
    """The file of one storage root; made with the first row."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / ROWS

    def add(self, rows: Sequence[ShadowRow], tried: Tried) -> None:
        """Append the rows of one study and, last, that it was tried: a crash between them costs a second look."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = [*(json.dumps(row.to_json()) for row in rows), json.dumps(tried.to_json())]
        with self.file.open("ab+") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            size = handle.seek(0, os.SEEK_END)
            if size:
                handle.seek(size - 1)
                # A crash cut the last line short: this study begins on a line of its own.
                if handle.read(1) != b"\n":
                    handle.write(b"\n")
            handle.write(("\n".join(lines) + "\n").encode())
            handle.flush()
            os.fsync(handle.fileno())

    @contextmanager
    def turn(self) -> Iterator[bool]:
        """Whether this process may look for a study: one at a time does; the turn ends with the process at latest."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOCK).open("ab") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def rows(self) -> list[ShadowRow]:
        """One row per study and target, oldest first: of a study that was looked at again the newest one."""
        lines = self._read()
        replaced = {number for one in lines for number in one.get("instead", ())}
        newest = {
            (row.revision, row.target): row
            for row in (ShadowRow.from_json(one) for one in lines if one["kind"] == "row")
        }
        return [row for row in newest.values() if row.revision not in replaced]

    def tried(self) -> set[int]:
        """The revisions that were looked at."""
        return {int(one["revision"]) for one in self._read() if one["kind"] == "tried"}

    def _read(self) -> list[dict[str, Any]]:
        if not self.file.is_file():
            return []
        found = []
        lines = self.file.read_text(encoding="utf-8", errors="replace").splitlines()
        for number, line in enumerate(lines, start=1):
            try:
                one = json.loads(line)
                if one["kind"] == "row":
                    ShadowRow.from_json(one)
            except (ValueError, KeyError, TypeError) as error:
                # A line that a crash cut short is the last one of its study; that study is looked at again.
                log.warning("a line of the shadow rows is skipped", line=number, error=str(error))
                continue
            found.append(one)
        return found


def ledger_of(config: Config) -> Ledger:
    """The rows below the storage root of a configuration; raises StoreError where it cannot be reached."""
    if config.storage_path.exists() and not config.storage_path.is_dir():
        raise StoreError(
            code="storage_unusable",
            subject=str(config.storage_path),
            reason="it is not a folder",
            cure="Set node.storage to a folder",
        )
    return Ledger(config.storage_path / FOLDER)

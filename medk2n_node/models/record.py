"""Which model is in service and how that came about: one small file, replaced whole.

`service.json` holds the history and nothing else; what is in service is what its last line says. So the pointer and
the history can never disagree, and a change is one atomic rename.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from medk2n_node.errors import StoreError
from medk2n_node.store.files import sync_folder, write_synced

FILE = "service.json"
SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Change:
    """One change of the model in service.

    `digest` is in service from then on, `before` was until then.
    """

    at: datetime
    who: str
    action: Literal["use", "rollback"]
    digest: str
    name: str
    version: str
    before: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Plain values; the time as ISO 8601."""
        return {**asdict(self), "at": self.at.isoformat()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Change:
        """The inverse of `to_json`; raises KeyError, TypeError or ValueError on anything else."""
        return cls(**{**values, "at": datetime.fromisoformat(values["at"])})


@dataclass(frozen=True, kw_only=True)
class Record:
    """The history, oldest first."""

    changes: tuple[Change, ...] = ()

    @property
    def in_service(self) -> str | None:
        """The digest in service; None while nobody chose one: the weights that came with the package."""
        return self.changes[-1].digest if self.changes else None

    def before(self) -> str | None:
        """The digest that a rollback returns to; None where there is nothing to return to.

        A rollback undoes the last `use` that is not undone yet, so several in a row walk back through the history.
        """
        undone: list[str] = []
        for change in self.changes:
            if change.action == "use":
                undone.append(change.before)
            elif undone:
                undone.pop()
        return undone[-1] if undone else None


def read_record(folder: Path) -> Record:
    """The record of a folder of models; an empty one where nothing was ever chosen.

    Raises:
        StoreError: the file is there and cannot be understood; nothing is guessed then.
    """
    file = folder / FILE
    try:
        document = json.loads(file.read_bytes())
        if document["schema"] != SCHEMA:
            raise ValueError(f"schema {document['schema']!r}, this version reads {SCHEMA}")
        return Record(changes=tuple(Change.from_json(one) for one in document["changes"]))
    except FileNotFoundError:
        return Record()
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StoreError(
            code="models_record",
            subject=str(file),
            reason=f"the record of the models in service cannot be read ({error})",
            cure="Restore the file from a backup; or move it away to start with the packaged weights",
        ) from error


def write_record(folder: Path, changes: Sequence[Change]) -> Record:
    """Replace the record, durably and at once: a reader sees the old one or the new one."""
    document = {"schema": SCHEMA, "changes": [change.to_json() for change in changes]}
    part = folder / f".{uuid.uuid4().hex}.part"
    write_synced(part, json.dumps(document, indent=1).encode())
    part.replace(folder / FILE)
    sync_folder(folder)
    return Record(changes=tuple(changes))

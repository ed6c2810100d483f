"""After a crash: find again what was kept, set aside what was not finished. Deletes nothing but second names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, select

from medk2n_node.store.engine import BEGIN
from medk2n_node.store.intake import Desk, adopt, quarantine
from medk2n_node.store.part10 import decode_header
from medk2n_node.store.structure import UnreadableError
from medk2n_node.store.tables import Instance


@dataclass(frozen=True, kw_only=True)
class SweepReport:
    """How many files were given their row, and how many were moved to quarantine."""

    adopted: int
    quarantined: int


def sweep(desk: Desk, engine: Engine) -> SweepReport:
    """Set aside the `.part` files of dead processes; give every filed object without a row its row."""
    quarantined = 0
    for part in desk.files.leftovers():
        if _is_second_name(desk, part):
            part.unlink()
            continue
        quarantine(
            desk, part, "interrupted", "the transfer ended before the object was whole; never acknowledged"
        )
        quarantined += 1

    with engine.connect().execution_options(**{BEGIN: "DEFERRED"}) as connection:
        indexed = set(connection.execute(select(Instance.path)).scalars())
    adopted = 0
    for relative in desk.files.instance_files():
        if relative in indexed:
            continue
        try:
            adopt(desk, relative)
        except UnreadableError as error:
            quarantine(
                desk, desk.files.path(relative), error.code, f"found in storage without a row: {error}"
            )
            quarantined += 1
        else:
            adopted += 1
    return SweepReport(adopted=adopted, quarantined=quarantined)


def _is_second_name(desk: Desk, part: Path) -> bool:
    """Whether the object was already filed when the process died: linked into place, not yet unlinked here."""
    try:
        header, _ = decode_header(memoryview(part.read_bytes()[:4096]))
    except ValueError:
        return False
    filed = desk.files.path(desk.files.instance_path(header.sop_uid))
    return filed.exists() and filed.samefile(part)

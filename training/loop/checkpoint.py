"""The state of a training on disk: whole or not there, so that a run may be killed at any moment.

`state.pt` holds all that the next step depends on, and how long the logs were: what a killed run wrote beyond that is
cut off, so that no line stands twice.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from training.errors import TrainingError

STATE = "state.pt"


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write `state.pt` aside, push it to the disk, and put it in the old one's place."""
    part = folder / (STATE + ".part")
    with part.open("wb") as handle:
        torch.save(dict(state), handle)
        handle.flush()
        os.fsync(handle.fileno())
    part.rename(folder / STATE)
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def load_state(folder: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """What `save_state` wrote: tensors and plain values, nothing that runs.

    Raises:
        TrainingError: there is none, or it cannot be read.
    """
    path = folder / STATE
    if not path.is_file():
        raise TrainingError(
            code="missing", subject=str(folder), reason=f"it holds no {STATE}: no training was saved here",
            cure="Name the folder of a training, or start one",
        )  # fmt: skip
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise TrainingError(
            code="damaged", subject=str(path), reason=f"it cannot be read ({error})", cure="Start the training anew",
        ) from error  # fmt: skip
    return state


class Log:
    """A CSV that only grows, and can be cut back to where a saved state saw it.

    The columns are those of its first row.
    """

    def __init__(self, path: Path, length: int | None = None) -> None:
        """`length` in bytes as the state says; None begins a new log, or goes on with one of an older state."""
        self.path = path
        if path.exists() and length is not None:
            with path.open("r+b") as handle:
                handle.truncate(min(length, path.stat().st_size))

    def write(self, row: Mapping[str, object]) -> None:
        """One line, on its way to the disk when this returns."""
        new = not self.path.exists() or self.path.stat().st_size == 0
        with self.path.open("a", newline="") as handle:
            writer = csv.writer(handle)
            if new:
                writer.writerow(list(row))
            writer.writerow(list(row.values()))

    def sync(self) -> int:
        """Everything written is on the disk; gives the length in bytes."""
        if not self.path.exists():
            return 0
        with self.path.open("rb") as handle:
            os.fsync(handle.fileno())
        return self.path.stat().st_size


def read_log(path: Path) -> list[dict[str, str]]:
    """The lines of a log by column."""
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def differing(stated: Mapping[str, Any], wanted: Mapping[str, Any], but: Sequence[str] = ()) -> list[str]:
    """The keys on which two recipes differ, those of `but` left out."""
    return sorted(k for k in {*stated, *wanted} if k not in but and stated.get(k) != wanted.get(k))

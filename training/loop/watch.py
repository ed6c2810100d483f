"""How a training is watched: a line for each step and each evaluation, curves for TensorBoard, pictures."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

from training.loop.checkpoint import Log

#: The state's names of the two logs and their files. The curve holds every step, the log every evaluation.
LOGS = {"curve": "loss.csv", "log": "log.csv"}


class Watch:
    """Writes what happens into the run's folder; in a distributed training only the first machine does."""

    def __init__(
        self, out: Path, first: int, lengths: Mapping[str, int] | None, *, tensorboard: bool
    ) -> None:
        """`first` is the step to begin with; `lengths` are the logs' as a saved state says, None for a new run."""
        for name, file in LOGS.items():
            if lengths is None and first == 0:
                (out / file).unlink(missing_ok=True)
            setattr(self, name, Log(out / file, None if lengths is None else lengths[name]))
        self.curve: Log
        self.log: Log
        self._board = None
        if tensorboard:
            with warnings.catch_warnings():
                # tensorboard 2.20 asks setuptools for a version by a name that is going away.
                warnings.simplefilter("ignore", DeprecationWarning)
                from torch.utils.tensorboard import SummaryWriter
            # Steps that a killed run had drawn and that are drawn again are taken out of the curves.
            self._board = SummaryWriter(str(out / "tensorboard"), purge_step=first or None)

    def step(self, number: int, stage: str, rate: float, loss: float, terms: Mapping[str, float]) -> None:
        """One step, number `number` counted from 1."""
        self.curve.write({"step": number, "stage": stage, "rate": rate, "loss": loss, **terms})
        if self._board is not None:
            self._board.add_scalar("step/loss", loss, number)
            self._board.add_scalar("step/rate", rate, number)
            for name, value in terms.items():
                self._board.add_scalar(f"term/{name}", value, number)

    def evaluation(
        self, number: int, seconds: float, terms: Mapping[str, float], figures: Mapping[str, float]
    ) -> None:
        """The smoothed terms and the validation figures after a step."""
        self.log.write({"step": number, "seconds": round(seconds), **terms, **figures})
        if self._board is not None:
            for name, value in figures.items():
                self._board.add_scalar(f"validation/{name.replace('>', ' to ')}", value, number)

    def lengths(self) -> dict[str, int]:
        """Both logs are on the disk; their lengths in bytes."""
        return {"curve": self.curve.sync(), "log": self.log.sync()}

    def close(self) -> None:
        """What TensorBoard has not written yet is written."""
        if self._board is not None:
            self._board.close()

"""A short training as a process of its own, which may be killed: `python -m tests.unit.training.short_run OUT [WHERE]`.

WHERE is `gradient:N`, between the gradient of step N and the step itself, or `saving:N`, when the state of N steps has
been written aside and not yet put into its place. The kill is SIGKILL: nothing is tidied up.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch

from model.network import MedK2N
from tests.unit.training.cases import small_case
from training.loop import Recipe, train
from training.losses import Weights

RECIPE = Recipe(
    steps=8, batch=2, accumulate=2, size=(64, 64), warmup=2, evaluate_every=4, save_every=2, mcbs=True,
    weights=Weights(rec=0.3, adversarial=0.1),
)  # fmt: skip


def run(out: Path, recipe: Recipe = RECIPE) -> MedK2N:
    """The training; its validation figure is the sum of all weights, so that it shows any difference."""
    torch.set_num_threads(1)  # the order of a sum over threads is no property of the training
    cases = [
        small_case("a", ("T1", "T2", "FLAIR"), 1.0), small_case("b", ("T1", "FLAIR"), 0.7),
        small_case("c", ("T1", "T2", "FLAIR"), 0.8),
    ]  # fmt: skip
    return train(
        recipe, cases, [1.0] * 3, [], out,
        evaluate=lambda network: {"norm": float(sum(p.detach().abs().sum() for p in network.parameters()))},
        key_score=lambda network: torch.eye(6),
        report=lambda line: None,
    )  # fmt: skip


def _kill_at(where: str) -> None:
    moment, _, number = where.partition(":")
    if moment == "saving":
        rename = Path.rename

        def killed_rename(self: Path, target: Path) -> Path:
            if self.name == "state.pt.part" and torch.load(self, weights_only=True)["step"] == int(number):
                os.kill(os.getpid(), signal.SIGKILL)
            return rename(self, target)

        Path.rename = killed_rename  # type: ignore[method-assign,assignment]
    elif moment == "gradient":
        clip, calls = torch.nn.utils.clip_grad_norm_, [0]

        def killed_clip(*arguments: object) -> torch.Tensor:
            calls[0] += 1
            if calls[0] == int(number):
                os.kill(os.getpid(), signal.SIGKILL)
            return clip(*arguments)  # type: ignore[arg-type]

        torch.nn.utils.clip_grad_norm_ = killed_clip  # type: ignore[assignment]


if __name__ == "__main__":
    _kill_at(sys.argv[2] if len(sys.argv) > 2 else "")
    run(Path(sys.argv[1]))

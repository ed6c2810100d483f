"""Everything that decides what a training does, as one frozen object that is stored with the weights it makes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from model.network import NetworkConfig
from training.losses import Weights
from training.sampling import FORGET_SITE, Stage, stage_at

#: Rows of the paper's table 3 (M-3), each with what the rows before it have.
ROWS = ("B0", "B1", "B2", "B3", "B4", "B5")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what a training does; stored with the weights it makes.

    `adapt`: "full" teaches every weight, "lora" adapters beside the frozen encoder's attention, and all that is not
    encoder. `grow`: "site:NAME" or "contrast:NAME" teaches the rows of that site or contrast and nothing else.
    """

    steps: int = 4000
    batch: int = 6
    accumulate: int = 1  # parts that a batch is sent through in; the gradient is the whole batch's
    size: tuple[int, int] = (160, 128)  # rows, columns: a head is longer than wide
    learning_rate: float = 1.2e-3
    weight_decay: float = 0.02
    warmup: int = 100
    clip: float = 1.0
    ema: float = 0.997
    simulated: float = 0.15
    random_key: float = 0.25
    spoilt: float = 0.35  # share of batches with a source that should be turned down
    evaluate_every: int = 400
    save_every: int = 0  # steps between two saved states; 0: with the evaluations alone
    reconsider: bool = False  # begin the decisions of the weight networks anew (with `start`)
    identity_from: float = 0.25  # share of the steps after which CMIM joins: an image first, then whose it is
    seed: int = 20260214
    adapt: str = "full"
    grow: str = ""
    mcbs: bool = False  # the three steps of PMM-Synth; otherwise a pattern is drawn, then cases that have it
    pfm: bool = True  # the network is told whose images it sees
    forget_site: float = FORGET_SITE
    modules: str = "B5"  # how much of the network decides: a row of the paper's table 3 (`ablated`)
    curriculum: dict[Stage, float] = field(
        default_factory=lambda: {
            Stage.ONE_TO_ONE: 0.12,
            Stage.MANY_TO_ONE: 0.2,
            Stage.ONE_TO_MANY: 0.2,
            Stage.MANY_TO_MANY: 0.48,
        }
    )
    weights: Weights = field(default_factory=Weights)
    network: NetworkConfig = field(default_factory=NetworkConfig)

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Recipe:
        """The recipe that `to_json` wrote; a key that it did not know yet takes its default."""
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        plain["curriculum"] = {Stage(k): v for k, v in plain["curriculum"].items()}
        plain["weights"] = Weights(**plain["weights"])
        plain["network"] = NetworkConfig.from_json(plain["network"])
        return cls(**plain)

    @property
    def grows(self) -> tuple[str, str]:
        """("site" or "contrast", its name) of what alone is taught; two empty texts otherwise."""
        kind, _, name = self.grow.partition(":")
        return kind, name


def ablated(recipe: Recipe, row: str) -> Recipe:
    """The recipe of one row of the paper's table 3: B0 simple average, +PreWeightNet, +ThresholdNet, +EffiWeightNet,
    +CMIM, +curriculum (B5, the whole).

    Raises:
        ValueError: there is no such row.
    """
    at = ROWS.index(row)
    weights = recipe.weights
    if at < 1:
        weights = replace(weights, gate=0.0)
    if at < 4:
        weights = replace(weights, causal=0.0, metric=0.0)
    curriculum = recipe.curriculum if at == 5 else {Stage.MANY_TO_MANY: 1.0}
    return replace(recipe, modules=row, weights=weights, curriculum=curriculum)


def stage_of(progress: float, recipe: Recipe, rng: np.random.Generator) -> Stage:
    """The curriculum's stage, with earlier stages kept in the mix so that nothing learned is lost."""
    reached = list(Stage).index(stage_at(progress, recipe.curriculum))
    share = np.array([0.2, 0.45, 0.1, 0.25])[: reached + 1]
    share[-1] += 0.3
    return list(Stage)[int(rng.choice(reached + 1, p=share / share.sum()))]


def rate_of(step: int, recipe: Recipe) -> float:
    """What the rates of all groups are multiplied by: a linear start, then half a cosine down to a fiftieth."""
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    progress = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

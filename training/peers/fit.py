"""Training a peer: the batches, schedule, weight average and clip of Med-K2N's loop, resumable, with its seed.

A folder per peer and seed holds `peer.json` (what it is, what it cost), `state.pt` (where it stands) and, once it is
done, `weights.pt` (the averaged weights that `load_peers` reads).
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from model.network import MedK2N
from training.archive import Case
from training.errors import TrainingError
from training.loop import Plan, Recipe
from training.loop.recipe import rate_of
from training.peers.catalogue import build_of, equal_width, labels_of, peer_gflop
from training.peers.method import BATCH, Images, Numbers, brain_slices, source_slices
from training.peers.nets import Peer
from training.simulation.labels import LabelHead

FACTS, STATE, WEIGHTS = "peer.json", "state.pt", "weights.pt"
#: Seconds of training between two saved states.
SAVE_S = 60.0
#: Steps that are timed to turn minutes into steps.
PROBE = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class PeerMethod:
    """A trained peer as a method under evaluation."""

    network: Peer
    name: str
    contrasts: tuple[str, ...]
    seed: int | None = None

    @torch.no_grad()
    def predict(
        self, case: Case, sources: tuple[str, ...], targets: tuple[str, ...], every: int = 1
    ) -> tuple[Images, Numbers]:
        """The targets on every `every`-th slice that holds brain (training.peers.Method)."""
        self.network.eval()
        z = brain_slices(case, every)
        height, width = case.brain.shape[1:]
        [(s, t)] = labels_of([(sources, targets)], self.contrasts)
        parts = []
        for start in range(0, len(z), BATCH):
            x = source_slices(case, sources, z[start : start + BATCH])
            parts.append(self.network(x, s, t)[..., :height, :width].numpy())
        return np.concatenate(parts).astype(np.float32), z


class _NoKeys:
    """Stands in for the network that a plan asks for key sources: a peer has none."""

    def keys(self, sources: list[int], targets: list[int]) -> list[int]:
        return [0 for _ in targets]


def train_peer(
    name: str,
    recipe: Recipe,
    cases: Sequence[Case],
    weights: Sequence[float],
    heads: Sequence[LabelHead],
    out: Path,
    *,
    gflop: float,
    patterns: Sequence[tuple[tuple[str, ...], tuple[str, ...]]],
    sites: Sequence[int] = (),
    minutes: float | None = None,
    report: Callable[[str], None] = lambda line: None,
    progress: Callable[[int, int], None] = lambda step, of: None,
    facts: dict[str, Any] | None = None,
) -> PeerMethod:
    """Train one peer with the recipe's seed; goes on where an interrupted call stopped.

    Args:
        recipe: of Med-K2N: steps, batch, size, rate, curriculum. A step of the same number sees the same slices.
        out: this peer's own folder. gflop: what one slice may cost, mean over `patterns`; the width follows.
        sites: numbers of the cases' sites, by which batches are put together; the peers are not told them.
        minutes: in place of `recipe.steps`: as many steps as fit, timed once and kept.

    Raises:
        TrainingError: peers: unknown name; changed: `out` holds a peer of another recipe or cost.
    """
    out.mkdir(parents=True, exist_ok=True)
    contrasts = recipe.network.contrasts
    build, labels = build_of(name), labels_of(patterns, contrasts)
    stated = _read_facts(out)
    if stated is None:
        width, cost = equal_width(build, len(contrasts), gflop, labels, recipe.size)
    else:
        width = int(stated["width"])
        cost = peer_gflop(build, len(contrasts), width, labels, recipe.size)
    torch.manual_seed(recipe.seed)
    network = build(len(contrasts), width)
    if stated is not None:
        recipe = replace(recipe, steps=int(stated["steps"])) if minutes is not None else recipe
    elif minutes is not None:
        recipe = replace(
            recipe, steps=_steps_in(minutes, network, recipe, Plan(recipe, cases, weights, heads, sites))
        )
    recipe = replace(recipe, warmup=min(recipe.warmup, max(1, recipe.steps // 10)))
    wanted = {
        "name": name, "seed": recipe.seed, "width": width, "gflop_per_slice": round(cost, 3), "steps": recipe.steps,
        "batch": recipe.batch, "size": list(recipe.size), "learning_rate": recipe.learning_rate,
        "contrasts": list(contrasts), "parameters": sum(p.numel() for p in network.parameters()), **(facts or {}),
    }  # fmt: skip
    if stated is not None:
        _refuse_other(out, stated, wanted)
    (out / FACTS).write_text(json.dumps({**wanted, "seconds": (stated or {}).get("seconds", 0.0)}, indent=1))
    run = _Run(network, recipe, Plan(recipe, cases, weights, heads, sites), out, wanted)
    run.go(report, progress)
    return PeerMethod(network=run.average, name=name, contrasts=contrasts, seed=recipe.seed)


class _Run:
    """Network, average, optimisers and how far they are."""

    def __init__(
        self,
        network: Peer,
        recipe: Recipe,
        plan: Plan,
        out: Path,
        facts: dict[str, Any],
    ) -> None:
        self.network, self.recipe, self.out, self.facts = network, recipe, out, facts
        self.average = copy.deepcopy(network).eval()
        self.optimizers = _optimizers(network, recipe)
        self.plan = plan
        self.step, self.seconds = 0, 0.0
        if (out / STATE).exists():
            state = torch.load(out / STATE, weights_only=True)
            network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            for player, optimizer in self.optimizers.items():
                optimizer.load_state_dict(state["optimizers"][player])
            self.step, self.seconds = int(state["step"]), float(state["seconds"])

    def go(self, report: Callable[[str], None], progress: Callable[[int, int], None]) -> None:
        recipe, kept, running = self.recipe, self.seconds, math.nan
        while self.step < recipe.steps:
            began = time.monotonic()
            loss = learn(self.network, self.optimizers, self.plan, self.step, recipe)
            rate = min(recipe.ema, (1 + self.step) / (10 + self.step))
            with torch.no_grad():
                for a, b in zip(self.average.parameters(), self.network.parameters(), strict=True):
                    a.lerp_(b, 1 - rate)
            self.step += 1
            self.seconds += time.monotonic() - began
            running = loss if math.isnan(running) else 0.98 * running + 0.02 * loss
            progress(self.step, recipe.steps)
            if self.step % 100 == 0:
                report(f"{self.facts['name']} seed {recipe.seed}: step {self.step}, loss {running:.4f}")
            if self.seconds - kept > SAVE_S:
                self.save()
                kept = self.seconds
        self.save()
        _write(self.out / WEIGHTS, {"average": self.average.state_dict()})
        (self.out / FACTS).write_text(json.dumps({**self.facts, "seconds": round(self.seconds, 1)}, indent=1))

    def save(self) -> None:
        state = {
            "network": self.network.state_dict(), "average": self.average.state_dict(),
            "optimizers": {player: one.state_dict() for player, one in self.optimizers.items()},
            "step": self.step, "seconds": self.seconds,
        }  # fmt: skip
        _write(self.out / STATE, state)


def learn(
    network: Peer, optimizers: dict[str, torch.optim.Optimizer], plan: Plan, step: int, recipe: Recipe
) -> float:
    """One step of every player on the batch of that step; gives the sum of their losses."""
    batch = plan.at(step, cast(MedK2N, _NoKeys())).batch
    network.train()
    total = 0.0
    for player, parameters in network.players().items():
        loss = network.loss(player, batch)
        for other in optimizers.values():
            other.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(parameters, recipe.clip)
        if not torch.isfinite(norm):
            continue  # as in Med-K2N's loop: the step is left out
        for group in optimizers[player].param_groups:
            group["lr"] = recipe.learning_rate * rate_of(step, recipe)
        optimizers[player].step()
        total += float(loss.detach())
    return total


def _optimizers(network: Peer, recipe: Recipe) -> dict[str, torch.optim.Optimizer]:
    return {
        player: torch.optim.AdamW(
            parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.98)
        )
        for player, parameters in network.players().items()
    }


def _steps_in(
    minutes: float,
    network: Peer,
    recipe: Recipe,
    plan: Plan,
) -> int:
    """How many steps fit, by the mean of PROBE steps of a copy; the first one, which warms up, is not counted."""
    trial = copy.deepcopy(network)
    optimizers = _optimizers(trial, recipe)
    learn(trial, optimizers, plan, 0, recipe)
    began = time.monotonic()
    for step in range(1, 1 + PROBE):
        learn(trial, optimizers, plan, step, recipe)
    return max(1, int(60 * minutes * PROBE / (time.monotonic() - began)))


def _refuse_other(out: Path, stated: dict[str, Any], wanted: dict[str, Any]) -> None:
    differ = [key for key, value in wanted.items() if stated.get(key) != value]
    if differ:
        raise TrainingError(
            code="changed",
            subject=str(out / FACTS),
            reason=f"the peer that stands here was begun with another {', '.join(differ)}",
            cure="Go on with the same settings, or train into another folder.",
        )


def _read_facts(folder: Path) -> dict[str, Any] | None:
    file = folder / FACTS
    if not file.exists():
        return None
    try:
        facts: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TrainingError(
            code="peers", subject=str(file), reason=f"it cannot be read ({error})",
            cure="Delete the folder and train this peer again.",
        ) from error  # fmt: skip
    return facts


def _write(path: Path, state: dict[str, Any]) -> None:
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.rename(path)


def load_peers(folder: Path) -> tuple[list[PeerMethod], list[dict[str, Any]], list[str]]:
    """Every trained peer below a folder.

    Returns:
        the methods; what each says of itself (`peer.json`); sentences on those that are not done and are left out.

    Raises:
        TrainingError: peers: a file cannot be read or does not fit.
    """
    methods, facts, unfinished = [], [], []
    for file in sorted(folder.glob(f"*/*/{FACTS}")):
        one = _read_facts(file.parent) or {}
        weights = file.parent / WEIGHTS
        if not weights.exists():
            unfinished.append(
                f"{one['name']} (seed {one['seed']}) is not trained to its end and took no part."
            )
            continue
        network = build_of(one["name"])(len(one["contrasts"]), int(one["width"]))
        try:
            network.load_state_dict(torch.load(weights, weights_only=True)["average"])
        except (RuntimeError, KeyError, EOFError) as error:
            raise TrainingError(
                code="peers", subject=str(weights), reason=f"it does not fit its peer ({error})",
                cure="Delete the folder and train this peer again.",
            ) from error  # fmt: skip
        methods.append(
            PeerMethod(
                network=network.eval(),
                name=one["name"],
                contrasts=tuple(one["contrasts"]),
                seed=int(one["seed"]),
            )
        )
        facts.append(one)
    return methods, facts, unfinished

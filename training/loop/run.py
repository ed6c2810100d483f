"""A training from its first step, or the one after the last that was saved, to its last."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from model.identity import Identity
from model.network import MedK2N
from training.archive import Case
from training.loop.build import begin_with_state, build, finished
from training.loop.checkpoint import STATE, differing, load_state, save_state
from training.loop.history import enter
from training.loop.machine import fabric_of
from training.loop.plan import Draw, Plan
from training.loop.recipe import Recipe, rate_of
from training.loop.step import Outcome, Pupil, Teacher
from training.loop.watch import Watch
from training.losses import Discriminators
from training.simulation.labels import LabelHead

Evaluate = Callable[[MedK2N], dict[str, float]]
#: What a run may change when it is resumed and still be the same training.
FREE = ("save_every",)


def train(
    recipe: Recipe,
    cases: Sequence[Case],
    weights: Sequence[float],
    heads: Sequence[LabelHead],
    out: Path,
    *,
    evaluate: Evaluate,
    key_score: Callable[[MedK2N], torch.Tensor],
    report: Callable[[str], None],
    budget_s: float = math.inf,
    sites: Sequence[int] = (),
    start: Path | None = None,
    identity: Identity | None = None,
    begin: MedK2N | None = None,
    fabric: Fabric | None = None,
    tensorboard: bool = False,
    pictures: Callable[[MedK2N, int], None] | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> MedK2N:
    """Train, resuming from `out/state.pt` when it exists; gives the averaged network as a bundle keeps it.

    A run that was killed, even by SIGKILL within a step, and is called again with the same arguments leaves, on a
    CPU, the same bits as one that was not: weights, averages, `loss.csv` and, but for the seconds, `log.csv`.

    Args:
        sites: the cases' numbers in `recipe.network.sites`.
        start: the state of an earlier training whose averaged weights this one begins with; modules that it did not
            have begin as they are made.
        begin: the network that this one begins with (`build`).
        identity: the frozen tower that judges what contrast an image is (CMIM); without it those losses are left out.
        budget_s: seconds of this call after which the training stops and leaves its state; the learning rate follows
            `recipe.steps`, not the clock.
        fabric: where it runs; default this CPU.
        pictures: called with the averaged network and the number of steps at each evaluation.
        progress: called after each step with the number of steps and the loss.

    Raises:
        ValueError: no case to learn from, or weights of another architecture.
        TrainingError: the recipe cannot be carried out.
    """
    run = _Run(
        recipe, cases, weights, heads, out, evaluate=evaluate, key_score=key_score, report=report, sites=sites,
        start=start, identity=identity, begin=begin, fabric=fabric or fabric_of("cpu"), tensorboard=tensorboard,
        pictures=pictures, progress=progress,
    )  # fmt: skip
    try:
        run.go(budget_s)
    finally:
        run.close()
    return finished(run.average, recipe)


class _Run:
    """What lives as long as a training: network, average, optimizer, and how far they are."""

    def __init__(
        self,
        recipe: Recipe,
        cases: Sequence[Case],
        weights: Sequence[float],
        heads: Sequence[LabelHead],
        out: Path,
        *,
        evaluate: Evaluate,
        key_score: Callable[[MedK2N], torch.Tensor],
        report: Callable[[str], None],
        sites: Sequence[int],
        start: Path | None,
        identity: Identity | None,
        begin: MedK2N | None,
        fabric: Fabric,
        tensorboard: bool,
        pictures: Callable[[MedK2N, int], None] | None,
        progress: Callable[[int, float], None] | None,
    ) -> None:
        self.recipe, self.out, self.fabric = recipe, out, fabric
        self.report = report if fabric.is_global_zero else _silent
        self.evaluate, self.key_score, self.pictures, self.progress = evaluate, key_score, pictures, progress
        out.mkdir(parents=True, exist_ok=True)
        self.network, groups = build(recipe, begin)
        if start is not None:
            begin_with_state(self.network, start, recipe.reconsider)
        optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98))
        self.pupil, self.optimizer = fabric.setup(Pupil(self.network), optimizer)
        self.average = copy.deepcopy(self.network).eval()
        self.judges: Discriminators | None = None
        self.judge: Any = None
        if recipe.weights.adversarial > 0:
            self.judges = Discriminators(len(recipe.network.contrasts))
            learns = torch.optim.AdamW(
                self.judges.parameters(), lr=0.5 * recipe.learning_rate, betas=(0.5, 0.99)
            )
            self.judge, self.judge_optimizer = fabric.setup(self.judges, learns)
        self.plan = Plan(
            recipe, cases, weights, heads, sites, rank=fabric.global_rank, world=fabric.world_size
        )
        self.teacher = Teacher(
            fabric, self.pupil, recipe.weights, contrasts=recipe.network.contrasts,
            accumulate=recipe.accumulate, identity=identity, judges=self.judges,
        )  # fmt: skip
        self.first, self.seconds, self.running = 0, 0.0, dict[str, float]()
        lengths = self._resume() if (out / STATE).exists() else None
        self.watch: Watch | None = None
        if fabric.is_global_zero:
            (out / "recipe.json").write_text(json.dumps(recipe.to_json(), indent=1, default=str))
            self.watch = Watch(out, self.first, lengths, tensorboard=tensorboard)

    def _resume(self) -> dict[str, int] | None:
        state = load_state(self.out, self.fabric.device)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.average.key_score.copy_(self.network.key_score)
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", self.recipe.learning_rate)
        if self.judges is not None and "judges" in state:
            self.judges.load_state_dict(state["judges"])
            self.judge_optimizer.load_state_dict(state["judge_optimizer"])
        self.first, self.seconds = int(state["step"]), float(state.get("seconds", 0.0))
        self.running = dict(state.get("running", {}))
        wanted = json.loads(json.dumps(self.recipe.to_json(), default=str))
        if other := differing(json.loads(state.get("recipe", "{}")) or wanted, wanted, FREE):
            self.report(f"the saved state was made by another recipe: {', '.join(other)} differ")
        lengths: dict[str, int] | None = state.get("logs")
        return lengths

    def go(self, budget_s: float) -> None:
        """Every step that is left, or those that the budget allows."""
        recipe, began, spent = self.recipe, time.monotonic(), self.seconds
        for step in range(self.first, recipe.steps):
            torch.manual_seed(recipe.seed + step)  # nothing draws from it today; what will, resumes
            draw = self.plan.at(step, self.network)
            outcome = self._step(step, draw)
            self.seconds = spent + time.monotonic() - began
            last = step + 1 == recipe.steps or self._agreed(time.monotonic() - began > budget_s)
            due = (step + 1) % recipe.evaluate_every == 0 or step + 1 == recipe.steps
            self._tell(step, draw, outcome)
            if due or last:
                self._evaluate(step + 1, last, planned=due)
            if due or last or (recipe.save_every and (step + 1) % recipe.save_every == 0):
                self._save(step + 1)
            if last:
                break

    def _step(self, step: int, draw: Draw) -> Outcome | None:
        """One step; None where its gradient was not finite and the weights stay as they were."""
        recipe = self.recipe
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * rate_of(step, recipe)
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        outcome = self.teacher.teach(draw, identify=step >= recipe.identity_from * recipe.steps)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip)
        if not torch.isfinite(norm):
            self.report(f"step {step}: gradient not finite, step skipped ({draw.pattern})")
            return None
        self.optimizer.step()
        if self.judges is not None and outcome.synthetic is not None:
            self.judge_optimizer.zero_grad(set_to_none=True)
            outcome.terms["judges"] = self.teacher.judge(self.judge, draw, outcome.synthetic)
            self.judge_optimizer.step()
        self._remember(draw, outcome)
        rate = min(recipe.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            for a, b in zip(self.average.parameters(), self.network.parameters(), strict=True):
                a.lerp_(b, 1 - rate)
        self.average.history.copy_(self.network.history)
        return outcome

    def _remember(self, draw: Draw, outcome: Outcome) -> None:
        """The history of pairs, of all machines alike; of a grown network only what concerns the new contrast."""
        kind, name = self.recipe.grows
        new = self.recipe.network.contrasts.index(name) if kind == "contrast" else -1
        labels = {*draw.batch.sources, *draw.batch.targets}
        if kind and new not in labels:
            return
        measured = outcome.measured
        if self.fabric.world_size > 1:
            told = torch.tensor(float(measured.shape[1] > 0), device=measured.device)
            if float(torch.as_tensor(self.fabric.all_reduce(told, reduce_op="sum"))) < self.fabric.world_size:
                return
            # A key that is spoilt on one machine was exchanged there: the pairs are then not the same.
            pairs = torch.tensor(outcome.pairs, device=measured.device)
            if bool((torch.as_tensor(self.fabric.all_gather(pairs)) != pairs).any()):
                return
            everywhere = torch.as_tensor(self.fabric.all_gather(measured))  # (world, 3, P, B)
            measured = everywhere.permute(1, 2, 0, 3).flatten(2)
        enter(self.network, outcome.pairs, measured, draw.batch)

    def _tell(self, step: int, draw: Draw, outcome: Outcome | None) -> None:
        if outcome is not None:
            for name, value in outcome.terms.items():
                self.running[name] = 0.98 * self.running.get(name, value) + 0.02 * value
            if self.watch is not None:
                rate = float(self.optimizer.param_groups[0]["lr"])
                self.watch.step(step + 1, draw.stage.value, rate, outcome.loss, outcome.terms)
            if self.progress is not None and self.fabric.is_global_zero:
                self.progress(step + 1, outcome.loss)
        if step % 50 == 0:
            terms = " ".join(f"{k} {v:.4f}" for k, v in self.running.items())
            self.report(f"step {step} {self.seconds:.0f} s {draw.stage.value} {terms}")

    def _evaluate(self, steps: int, last: bool, planned: bool) -> None:
        """Figures, pictures, and where needed the single-source scores.

        An evaluation that was not planned, because the time was over, leaves nothing in the network that goes on.
        """
        # Single-source scores cost a pass over all volumes; they change little after the first measurement.
        measure = last or not bool(self.network.key_score.any())
        score = self.network.key_score.clone()
        if self.watch is not None:
            here = self.average if self.fabric.device.type == "cpu" else copy.deepcopy(self.average).cpu()
            if measure:
                score.copy_(self.key_score(here))
                here.key_score.copy_(score)
            figures = self.evaluate(here)
            self.watch.evaluation(steps, self.seconds, self.running, figures)
            if self.pictures is not None:
                self.pictures(here, steps)
            self.report(f"step {steps}: " + ", ".join(f"{k} {v:.3f}" for k, v in figures.items()))
        if measure:
            if self.fabric.world_size > 1:
                score = self.fabric.broadcast(score)
            self.average.key_score.copy_(score)
            if planned:
                self.network.key_score.copy_(score)

    def _save(self, steps: int) -> None:
        if self.watch is not None:
            state: dict[str, Any] = {
                "network": self.network.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "step": steps,
                "seconds": self.seconds,
                "running": self.running,
                "recipe": json.dumps(self.recipe.to_json(), default=str),
                "logs": self.watch.lengths(),
            }
            if self.judges is not None:
                state |= {
                    "judges": self.judges.state_dict(), "judge_optimizer": self.judge_optimizer.state_dict(),
                }  # fmt: skip
            save_state(self.out, state)
        self.fabric.barrier()

    def _agreed(self, stop: bool) -> bool:
        """The first machine's clock decides for all."""
        return stop if self.fabric.world_size == 1 else bool(self.fabric.broadcast(stop))

    def close(self) -> None:
        """What the curves have not written yet is written."""
        if self.watch is not None:
            self.watch.close()


def _silent(line: str) -> None:
    """What the other machines have to say: the first one says it."""

"""The training loop: curriculum, optimiser, weight average, history of pairs, resumable checkpoints."""

from __future__ import annotations

import copy
import csv
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from model.identity import Identity
from model.network import MedK2N
from training.archive import Case
from training.loop.history import update_history
from training.loop.recipe import Recipe, rate_of, stage_of
from training.losses import cmim_loss, total_loss
from training.sampling import Batch, PatternSampler, Sampler
from training.simulation.labels import LabelHead

#: Last layers of the weight networks.
DECISIONS = ("preweight.weight.2.", "threshold.threshold.2.", "effiweight.calculator.2.")


def _sound(keys: list[int], batch: Batch) -> list[int]:
    """The same keys, but for a spoilt one: what an auxiliary source can be turned down against is a sound key."""
    bad = batch.spoilt.any(dim=0).tolist()
    sound = [i for i, spoilt in enumerate(bad) if not spoilt]
    return [k if not bad[k] else sound[k % len(sound)] for k in keys]


def _begin_with(network: MedK2N, path: Path, reconsider: bool) -> None:
    """The averaged weights of another training, but for modules that are new here."""
    earlier = torch.load(path, weights_only=False)["average"]
    # What decides begins anew: a gate that an earlier training has driven into its bound would stay there.
    if reconsider:
        earlier = {k: v for k, v in earlier.items() if not k.startswith(DECISIONS)}
    absent, unknown = network.load_state_dict(earlier, strict=False)
    anew = ("site.", *DECISIONS) if reconsider else ("site.",)
    new = [k for k in absent if ".site." not in k and not k.startswith(anew)]
    if unknown or new:
        raise ValueError(f"{path} is of another architecture: unknown {unknown[:5]}, missing {new[:5]}")


def train(
    recipe: Recipe,
    cases: Sequence[Case],
    weights: Sequence[float],
    heads: Sequence[LabelHead],
    out: Path,
    *,
    evaluate: Callable[[MedK2N], dict[str, float]],
    key_score: Callable[[MedK2N], torch.Tensor],
    report: Callable[[str], None],
    budget_s: float = math.inf,
    sites: Sequence[int] = (),
    start: Path | None = None,
    identity: Identity | None = None,
) -> MedK2N:
    """Train, resuming from `out/state.pt` when it exists; gives the averaged network.

    `sites` are the cases' numbers in `recipe.network.sites`. `start` is the state of an earlier training whose averaged
    weights this one begins with; modules that it did not have begin as they are made.

    `identity` is the frozen tower that judges what contrast an image is (CMIM); without it those losses are left out.

    A training stopped by `budget_s` leaves its state; the learning rate follows `recipe.steps`, not the clock.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    network = MedK2N(recipe.network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if start is not None:
        _begin_with(network, start, recipe.reconsider)
    average = copy.deepcopy(network).eval()
    decay = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=recipe.learning_rate,
        betas=(0.9, 0.98),
    )
    patterns = PatternSampler([tuple(c.contrasts) for c in cases], weights)
    sampler = Sampler(
        cases, weights, heads, size=recipe.size, simulated=recipe.simulated, sites=sites, spoilt=recipe.spoilt,
        contrasts=recipe.network.contrasts,
    )  # fmt: skip
    state_file, log_file = out / "state.pt", out / "log.csv"
    first = 0
    if state_file.exists():
        state = torch.load(state_file, weights_only=False)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first = int(state["step"])
    (out / "recipe.json").write_text(json.dumps(recipe.to_json(), indent=1, default=str))
    began = time.monotonic()
    running: dict[str, float] = {}
    step = first
    for step in range(first, recipe.steps):
        # One generator a step: a resumed run draws what the uninterrupted one would have drawn.
        rng = np.random.default_rng([recipe.seed, step])
        stage = stage_of(step / recipe.steps, recipe, rng)
        pattern = patterns.draw(stage, rng)
        count = (
            recipe.batch
            if len(pattern.sources) + len(pattern.targets) <= 3
            else max(2, recipe.batch * 3 // 4)
        )
        batch = sampler.draw(pattern, count, rng)
        keys = None
        if rng.random() < recipe.random_key:
            keys = [int(rng.integers(len(batch.sources))) for _ in batch.targets]
        keys = _sound(network.keys(batch.sources, batch.targets) if keys is None else keys, batch)
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * rate_of(step, recipe)
        network.train()
        prediction = network(batch.x, batch.sources, batch.targets, batch.levels, keys, batch.site)
        loss, parts = total_loss(prediction, batch, recipe.weights)
        parts |= {"causal": 0.0, "metric": 0.0}
        if identity is not None and step >= recipe.identity_from * recipe.steps:
            causal, metric = cmim_loss(
                identity, prediction.images.mean(dim=2), batch.y,
                [recipe.network.contrasts[j] for j in batch.targets], batch.x[:, :, 1],
            )  # fmt: skip
            loss = loss + recipe.weights.causal * causal + recipe.weights.metric * metric
            parts |= {"causal": float(causal.detach()), "metric": float(metric.detach())}
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
        if not torch.isfinite(norm):
            report(f"step {step}: gradient not finite, step skipped ({pattern})")
            continue
        optimizer.step()
        update_history(network, prediction, batch)
        rate = min(recipe.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            for a, b in zip(average.parameters(), network.parameters(), strict=True):
                a.lerp_(b, 1 - rate)
        average.history.copy_(network.history)
        for name, value in parts.items():
            running[name] = 0.98 * running.get(name, value) + 0.02 * value
        if step % 50 == 0:
            terms = " ".join(f"{k} {v:.4f}" for k, v in running.items())
            report(f"step {step} {time.monotonic() - began:.0f} s {stage.value} {terms}")
        last = step + 1 == recipe.steps or time.monotonic() - began > budget_s
        if (step + 1) % recipe.evaluate_every == 0 or last:
            # Single-source scores cost a pass over all volumes; they change little after the first measurement.
            if last or not network.key_score.any():
                score = key_score(average)
                network.key_score.copy_(score)
                average.key_score.copy_(score)
            figures = evaluate(average)
            new = not log_file.exists()
            with log_file.open("a", newline="") as handle:
                writer = csv.writer(handle)
                if new:
                    writer.writerow(["step", "seconds", *running, *figures])
                writer.writerow(
                    [step + 1, round(time.monotonic() - began), *running.values(), *figures.values()]
                )
            part = state_file.with_suffix(".part")
            torch.save(
                {
                    "network": network.state_dict(),
                    "average": average.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "step": step + 1,
                },
                part,
            )
            part.rename(state_file)
            report(f"step {step + 1}: " + ", ".join(f"{k} {v:.3f}" for k, v in figures.items()))
        if last:
            break
    return average

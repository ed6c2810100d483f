"""How long a step takes on this machine, measured on copies, so that nothing of it stays."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence

import torch
from lightning_fabric import Fabric

from model.network import MedK2N
from training.archive import Case
from training.loop.build import build
from training.loop.plan import Plan
from training.loop.recipe import Recipe
from training.loop.step import Pupil, Teacher
from training.simulation.labels import LabelHead


def seconds_a_step(
    recipe: Recipe,
    cases: Sequence[Case],
    sites: Sequence[int],
    begin: MedK2N | None,
    fabric: Fabric,
    *,
    steps: int = 4,
    heads: Sequence[LabelHead] = (),
) -> float:
    """Mean seconds of a step with many sources and targets (drawing, forward, backward), after one that warms up."""
    network, groups = build(recipe, copy.deepcopy(begin))
    pupil, optimizer = fabric.setup(Pupil(network), torch.optim.AdamW(groups))
    plan = Plan(
        recipe, cases, [1.0] * len(cases), heads, sites, rank=fabric.global_rank, world=fabric.world_size
    )
    teacher = Teacher(
        fabric, pupil, recipe.weights, contrasts=recipe.network.contrasts, accumulate=recipe.accumulate
    )
    began = time.monotonic()
    for step in range(steps + 1):
        if step == 1:
            began = time.monotonic()
        # From the end of the training, where the patterns are the largest.
        teacher.teach(plan.at(recipe.steps - 1 - step, network), identify=False)
        optimizer.step()
        optimizer.zero_grad()
    return (time.monotonic() - began) / steps

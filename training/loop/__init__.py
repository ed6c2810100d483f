"""The training loop: in come a recipe, prepared cases and weights to begin with, out comes a trained network.

It runs on a CPU, a GPU, several GPUs and several machines (Lightning Fabric, started by torchrun), and a run that was
killed goes on as if it had not been. Never: the network (as in internet), the node's database.
"""

from __future__ import annotations

from training.loop.build import build, finished, grown_config, with_sites
from training.loop.checkpoint import load_state, read_log
from training.loop.history import update_history
from training.loop.machine import cpu_computes_bf16, fabric_of
from training.loop.pace import seconds_a_step
from training.loop.plan import Plan
from training.loop.recipe import ROWS, Recipe, ablated, rate_of, stage_of
from training.loop.rows import build_as
from training.loop.run import train
from training.loop.step import Pupil, Teacher

__all__ = [
    "ROWS",
    "Plan",
    "Pupil",
    "Recipe",
    "Teacher",
    "ablated",
    "build",
    "build_as",
    "cpu_computes_bf16",
    "fabric_of",
    "finished",
    "grown_config",
    "load_state",
    "rate_of",
    "read_log",
    "seconds_a_step",
    "stage_of",
    "train",
    "update_history",
    "with_sites",
]

"""The training loop: in come a recipe, prepared cases and weights to begin with, out comes a trained network.

It runs on a CPU, a GPU, several GPUs and several machines (Lightning Fabric, started by torchrun), and a run that was
killed goes on as if it had not been. Never: the network (as in internet), the node's database.
"""

from __future__ import annotations

from training.loop.history import update_history
from training.loop.recipe import Recipe
from training.loop.run import train

__all__ = ["Recipe", "train", "update_history"]

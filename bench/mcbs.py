"""What MCBS is worth: slices a second of whole training steps, batches of one site and contrast set against one slice.

    make bench ARGS=mcbs, or python bench/mcbs.py [--sizes 1,2,4,8,16] [--side 160x128] [--seconds 20] [--json]

Everything of a step counts: drawing and augmenting slices, forward, losses, backward, clipping, AdamW, the average.
Both are measured in the same run, in turns, on the patterns of the last stage (K sources to N targets). Cases are made
up; sites and contrasts differ as in two real archives, so that without MCBS no two slices could share a batch.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

WANTED = 3.0
SETS = (("T1", "T1C", "T2", "FLAIR"), ("T1", "T2", "FLAIR"), ("T2", "DWI", "ADC"))


def _cases(side: tuple[int, int]) -> list[Any]:
    """Six heads of two sites and three sets of contrasts."""
    from training.archive import Case

    rows, columns = side
    z, y, x = np.mgrid[0:16, 0:rows, 0:columns]
    brain = ((y - rows / 2) / (0.4 * rows)) ** 2 + ((x - columns / 2) / (0.4 * columns)) ** 2 < 1
    cases = []
    for k in range(6):
        contrasts = SETS[k % 3]
        shades = {c: ((j + 2) * y + (5 - j) * x + 7 * z) % 97 / 97 for j, c in enumerate(contrasts)}
        cases.append(
            Case(
                name=str(k), contrasts={c: (s * brain).astype(np.float16) for c, s in shades.items()}, brain=brain,
                lesion=np.zeros_like(brain), quantiles=dict.fromkeys(contrasts, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)),
                spacing=(1.0, 1.0, 5.0), stripped=True, isotropic=False,
            )
        )  # fmt: skip
    return cases


def _stepper(batch: int, side: tuple[int, int], device: str) -> Callable[[int], None]:
    """One whole training step at this batch size, as a function of its number."""
    import copy

    import torch
    from torch import nn

    from model.network import NetworkConfig
    from training.loop import Plan, Pupil, Recipe, Teacher, build, fabric_of
    from training.sampling import Stage

    recipe = Recipe(
        batch=batch, size=side, simulated=0.0, mcbs=batch > 1, curriculum={Stage.MANY_TO_MANY: 1.0},
        network=NetworkConfig(sites=("unknown", "north")),
    )  # fmt: skip
    fabric = fabric_of(device)
    network, groups = build(recipe)
    pupil, optimizer = fabric.setup(Pupil(network), torch.optim.AdamW(groups, lr=1e-5))
    average = copy.deepcopy(network)
    cases = _cases(side)
    plan = Plan(recipe, cases, [1.0] * len(cases), [], [k % 2 for k in range(len(cases))])
    teacher = Teacher(fabric, pupil, recipe.weights, contrasts=recipe.network.contrasts)

    def step(number: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        teacher.teach(plan.at(number, network), identify=False)
        nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
        optimizer.step()
        with torch.no_grad():
            for a, b in zip(average.parameters(), network.parameters(), strict=True):
                a.lerp_(b, 0.01)
        if device == "gpu":
            torch.cuda.synchronize()

    return step


def measure(
    say: Callable[[str], None],
    *,
    sizes: Sequence[int] = (1, 4, 16),
    side: tuple[int, int] = (160, 128),
    seconds: float = 20.0,
    device: str = "cpu",
) -> dict[str, Any]:
    """Slices a second for each batch size, and each over batch size 1; `seconds` of work for each size."""
    import torch

    # Patterns differ in cost: every size goes through the same numbers of steps, in turns, so that none is favoured.
    # On a CPU the process's own seconds count, so that what else the machine does has no say.
    clock = time.perf_counter if device == "gpu" or torch.get_num_threads() > 1 else time.process_time
    steppers = {size: _stepper(size, side, device) for size in sizes}
    spent, done = dict.fromkeys(sizes, 0.0), dict.fromkeys(sizes, 0)
    for size in sizes:
        steppers[size](0)
    while min(spent.values()) < seconds:
        size = min(sizes, key=lambda s: spent[s])
        began = clock()
        steppers[size](1 + done[size])
        spent[size] += clock() - began
        done[size] += 1
    rate = {size: size * done[size] / spent[size] for size in sizes}
    best = max(rate, key=lambda s: rate[s])
    gain = rate[best] / rate[1]
    for size in sizes:
        say(
            f"batch {size:>3}: {rate[size]:6.2f} slices/s, {1000 * spent[size] / done[size]:7.0f} ms a step"
            f" ({done[size]} steps), {rate[size] / rate[1]:.2f} x"
        )
    verdict = "reached" if gain >= WANTED else "NOT reached"
    say(f"MCBS at batch {best}: {gain:.2f} times batch size 1; wanted {WANTED:g}: {verdict}")
    return {
        "device": torch.cuda.get_device_name() if device == "gpu" else f"cpu, {torch.get_num_threads()} threads",
        "clock": clock.__name__,
        "side": list(side),
        "slices_per_second": {str(k): round(v, 3) for k, v in rate.items()},
        "gain": round(gain, 3),
        "wanted": WANTED,
        "reached": gain >= WANTED,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="1,4,16", help="batch sizes, 1 among them")
    parser.add_argument("--side", default="160x128", help="rows x columns of a slice")
    parser.add_argument("--seconds", type=float, default=20.0, help="of work for each size")
    parser.add_argument("--device", default="cpu", choices=("cpu", "gpu"))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows, columns = (int(v) for v in given.side.split("x"))
    sizes = tuple(int(v) for v in given.sizes.split(","))
    if 1 not in sizes:
        parser.error("batch size 1 is what the others are compared with")

    def say(line: str) -> None:
        print(line, file=sys.stderr if given.json else sys.stdout, flush=True)

    found = measure(say, sizes=sizes, side=(rows, columns), seconds=given.seconds, device=given.device)
    if given.json:
        print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

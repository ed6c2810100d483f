"""What MCBS is worth: slices a second of whole training steps, batches of one site and contrast set against one slice.

    make bench ARGS=mcbs, or python bench/mcbs.py [--sizes 1,4,16] [--side 160x128] [--seconds 30] [--json]

Everything of a step counts: drawing and augmenting slices, forward, losses, backward, clipping, AdamW, the average.
All are measured in one run, in turns, each turn in a process of its own as a training is: what a batch leaves behind in
the C library's heap slows the next single slices by a third. Both in fp32 and, where the machine computes in it, in
bf16. Patterns (K sources to N targets, those of the last stage) differ in cost by a factor of three, and draws of
different sizes differ in patterns: the median step of each pattern counts, with the same share for every size. The gain
is the best batch over the best of one slice. Cases are made up; sites and contrasts differ as in two real archives, so
that without MCBS no two slices could share a batch.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median
from typing import Any

import numpy as np

WANTED = 3.0
#: Turns of each size, and steps of a turn before any is timed.
TURNS, WARM = 2, 8
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


def _stepper(
    batch: int, side: tuple[int, int], device: str, precision: str
) -> Callable[[int], tuple[int, int]]:
    """One whole training step at this batch size, as a function of its number, which says its (K, N)."""
    import copy

    import torch
    from torch import nn

    from model.network import NetworkConfig
    from training.loop import Plan, Pupil, Recipe, Teacher, build, fabric_of
    from training.sampling import Stage

    recipe = Recipe(
        batch=batch, size=side, simulated=0.0, mcbs=True, curriculum={Stage.MANY_TO_MANY: 1.0},
        network=NetworkConfig(sites=("unknown", "north")),
    )  # fmt: skip
    fabric = fabric_of(device, precision)
    network, groups = build(recipe)
    pupil, optimizer = fabric.setup(Pupil(network), torch.optim.AdamW(groups, lr=1e-5))
    average = copy.deepcopy(network)
    cases = _cases(side)
    plan = Plan(recipe, cases, [1.0] * len(cases), [], [k % 2 for k in range(len(cases))])
    teacher = Teacher(fabric, pupil, recipe.weights, contrasts=recipe.network.contrasts)

    def step(number: int) -> tuple[int, int]:
        optimizer.zero_grad(set_to_none=True)
        draw = plan.at(number, network)
        teacher.teach(draw, identify=False)
        nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
        optimizer.step()
        with torch.no_grad():
            for a, b in zip(average.parameters(), network.parameters(), strict=True):
                a.lerp_(b, 0.01)
        if device == "gpu":
            torch.cuda.synchronize()
        return len(draw.batch.sources), len(draw.batch.targets)

    return step


def _turn(
    batch: int, side: tuple[int, int], device: str, precision: str, seconds: float, turn: int
) -> list[tuple[tuple[int, int], float]]:
    """(K, N) and seconds of each step, steps for this long; each turn goes on where the one before may have ended."""
    step = _stepper(batch, side, device, precision)
    for number in range(WARM):
        step(number)
    found: list[tuple[tuple[int, int], float]] = []
    while sum(each for _, each in found) < seconds:
        began = time.perf_counter()
        pattern = step(WARM + 200 * turn + len(found))
        found.append((pattern, time.perf_counter() - began))
    return found


def _precisions(device: str) -> tuple[str, ...]:
    import torch

    from training.loop import cpu_computes_bf16

    able = torch.cuda.is_bf16_supported() if device == "gpu" else cpu_computes_bf16()
    return ("fp32", "bf16") if able else ("fp32",)


def measure(
    say: Callable[[str], None],
    *,
    sizes: Sequence[int] = (1, 4, 16),
    side: tuple[int, int] = (160, 128),
    seconds: float = 30.0,
    device: str = "cpu",
) -> dict[str, Any]:
    """Slices a second for each precision and batch size, and the best batch over the best of one slice."""
    import torch

    ways = [(precision, size) for precision in _precisions(device) for size in sizes]
    took: dict[tuple[str, int], dict[tuple[int, int], list[float]]] = {way: {} for way in ways}
    for turn in range(TURNS):
        for way in ways:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
                timed = alone.submit(_turn, way[1], side, device, way[0], seconds / TURNS, turn).result()
            for pattern, each in timed:
                took[way].setdefault(pattern, []).append(each)
    done = {way: sum(len(v) for v in took[way].values()) for way in ways}
    shared = set.intersection(*(set(took[way]) for way in ways))
    counts = {p: sum(len(took[way][p]) / done[way] for way in ways) for p in shared}
    rate = {
        way: way[1] * sum(counts.values()) / sum(n * median(took[way][p]) for p, n in counts.items())
        for way in ways
    }
    best, one = (
        max((w for w in ways if (w[1] == 1) == alone), key=lambda w: rate[w]) for alone in (False, True)
    )
    gain = rate[best] / rate[one]
    for way in ways:
        say(
            f"{way[0]}, batch {way[1]:>3}: {rate[way]:6.2f} slices/s, {1000 * way[1] / rate[way]:7.0f} ms a step"
            f" ({done[way]} steps), {rate[way] / rate[one]:.2f} x"
        )
    verdict = "reached" if gain >= WANTED else "NOT reached"
    say(
        f"MCBS at batch {best[1]} in {best[0]}: {gain:.2f} times batch size 1 in {one[0]}, the faster there; "
        f"wanted {WANTED:g}: {verdict}"
    )
    return {
        "device": torch.cuda.get_device_name() if device == "gpu" else f"cpu, {torch.get_num_threads()} threads",
        "side": list(side),
        "slices_per_second": {f"{p} {size}": round(v, 3) for (p, size), v in rate.items()},
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
    parser.add_argument("--seconds", type=float, default=30.0, help="of work for each size")
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

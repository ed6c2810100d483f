"""Med-K2N, its rows B0..B5 and its competitors, each trained from nothing at equal budget, on the same slices.

    make bench ARGS=race, or python bench/race.py [--steps N] [--seeds 1,2,3] [--methods "Med-K2N,plain U-Net"] [--json]

A competitor's width is fitted so that a slice costs it what it costs Med-K2N; one seed draws the same slices, step by
step, for all. Measured are the 14 patterns of bench/validation.py, without the closed loop. A training of 1200 steps
takes 13 to 33 minutes of a core; each keeps its result in the folder of `--out` and is not run twice, and says so where
code or cases are no longer those that made it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from validation import CASES, DATA, FOUR, PATIENTS, prepared

OUT = Path("bench-output/race")
OURS = "Med-K2N"
METHODS = (OURS, "plain U-Net", "DynUNet", "MM-GAN", "MM-Synth")
#: Whole rows of the paper's table 3, and Med-K2N with one thing changed.
VARIANTS = ("B0", "B1", "B2", "B3", "B4", "B5", "no PFM", "MCBS", "batch 1")
STEPS, EVERY = 1200, 20

Say = Callable[[str], None]


def measure(
    say: Say,
    *,
    steps: int = STEPS,
    seeds: Sequence[int] = (1,),
    methods: Sequence[str] = METHODS,
    data: Path = DATA,
    cases: Path = CASES,
    out: Path = OUT,
) -> dict[str, Any]:
    """{method: {seed: {"psnr", "fit", "ssim", "sources": {K: [raw, fit]}, "lesion", "seconds"}}}; {} without data."""
    found = prepared(say, data, cases)
    if found is None:
        return {}
    results: dict[str, dict[str, Any]] = {}
    now = _made_of(found)
    for seed in seeds:
        for method in methods:
            folder = out / f"{method.replace(' ', '-')}-{steps}-{seed}"
            kept = folder / "result.json"
            if not kept.is_file():
                folder.mkdir(parents=True, exist_ok=True)
                began = time.monotonic()
                trained = _trained(method, steps, seed, found, data, folder, say)
                seconds = round(time.monotonic() - began, 1)
                figures = {**_figures(trained, found), "seconds": seconds, "made_of": now}
                kept.write_text(json.dumps(figures, indent=1))
            results.setdefault(method, {})[str(seed)] = one = json.loads(kept.read_text())
            stale = "" if one.get("made_of") == now else " (kept from before: of other code or cases)"
            say(
                f"{method:<12} seed {seed}: {one['psnr']:.2f} dB, {one['fit']:.2f} after the fit, SSIM "
                f"{one['ssim']:.3f}, lesions {one['lesion']:.2f} dB, {one['seconds']:.0f} s{stale}"
            )
    if OURS in results:
        _compare(say, results)
    return results


def _made_of(found: Any) -> str:
    """What a figure follows from: every line of the network and of the training, and the files of the cases."""
    import model
    import training

    seen = hashlib.sha256()
    for package in (model, training):
        root = Path(package.__file__ or "").parent
        for file in sorted(root.rglob("*.py")):
            seen.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes())
    for case in sorted((*found.learned, *found.apart), key=lambda one: one.name):
        seen.update(f"{case.name} {sorted(case.marks)}\0".encode())
    return seen.hexdigest()[:16]


def _compare(say: Say, results: dict[str, dict[str, Any]]) -> None:
    def mean(method: str, reading: str) -> float:
        return float(np.mean([one[reading] for one in results[method].values()]))

    for method in results:
        if method != OURS:
            over = [mean(OURS, reading) - mean(method, reading) for reading in ("psnr", "fit")]
            who = OURS if min(over) > 0 else method if max(over) < 0 else "neither"
            say(f"{OURS} over {method}: {over[0]:+.2f} / {over[1]:+.2f} dB, mean of seeds; ahead: {who}")


def _recipe(method: str, steps: int, seed: int) -> Any:
    from model.network import NetworkConfig
    from training.demonstration import SITES
    from training.loop import Recipe, ablated

    # No source is spoilt: competitors have nothing to turn it down with.
    recipe = Recipe(
        steps=steps, seed=seed, spoilt=0.0, evaluate_every=steps, network=NetworkConfig(sites=tuple(SITES))
    )
    changed = {
        "no PFM": {"pfm": False},
        "MCBS": {"mcbs": True},
        "batch 1": {"batch": 1, "steps": steps * recipe.batch, "evaluate_every": steps * recipe.batch},
    }
    return (
        replace(recipe, **changed[method])
        if method in changed
        else ablated(recipe, method)
        if method in VARIANTS
        else recipe
    )


def _trained(method: str, steps: int, seed: int, found: Any, data: Path, out: Path, say: Say) -> Any:
    """The method, trained; Med-K2N and its variants by the loop, a competitor by its own losses."""
    from model import load_bundle
    from model.bundle import default_folder
    from training.demonstration import case_weight, label_heads, site_of
    from training.evaluate import NetworkMethod, patterns
    from training.fitting import single_source_scores
    from training.loop import train
    from training.peers import PEERS, labels_of, network_gflop, train_peer

    recipe = _recipe(method, steps, seed)
    learned = found.learned
    weights, sites = [case_weight(case) for case in learned], [site_of(case) for case in learned]
    heads = label_heads(data / "labels")
    if method in PEERS:
        four = patterns(FOUR)
        gflop = network_gflop(recipe.network, labels_of(four, recipe.network.contrasts), recipe.size)
        return train_peer(
            method, recipe, learned, weights, heads, out, gflop=gflop, patterns=four, sites=sites, report=say
        )
    if method not in (OURS, *VARIANTS):
        raise SystemExit(f"there is no {method}; there is {', '.join((*METHODS, *VARIANTS))}")
    solid = [case for case in learned if case.brain.shape[0] > 3]
    network = train(
        recipe, learned, weights, heads, out, sites=sites, report=say,
        evaluate=lambda network: {"mean": 0.0},
        key_score=lambda network: single_source_scores(network, solid),
        # CMIM belongs to the last two rows; the judge is the packaged one, which saw none of the patients kept apart.
        identity=load_bundle(default_folder()).identity if method in ("B4", "B5") else None,
    )  # fmt: skip
    # As of an unknown site, like a study from nowhere.
    return NetworkMethod(network=network, name=method, site=0, seed=seed)


def _figures(method: Any, found: Any) -> dict[str, Any]:
    from training.evaluate import evaluate, patterns

    apart = [case for case in found.apart if case.name in PATIENTS]
    rows = evaluate([method], apart, patterns(FOUR), every=EVERY, pictures=0).rows

    def mean(key: str, reading: str, some: Sequence[Any] = rows) -> float:
        return float(np.mean([row.figure(reading, key) for row in some]))

    by_count = {
        str(k): [
            mean("psnr", reading, [row for row in rows if len(row.sources) == k])
            for reading in ("raw", "fit")
        ]
        for k in (1, 2, 3)
    }
    return {
        "psnr": mean("psnr", "raw"), "fit": mean("psnr", "fit"), "ssim": mean("ssim", "raw"), "sources": by_count,
        "lesion": float(np.mean([row.figures["lesion"]["psnr"] for row in rows if row.figures["lesion"]])),
    }  # fmt: skip


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=STEPS, help="of six slices")
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--methods", default=",".join(METHODS), help=f"also {', '.join(VARIANTS)}")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--cases", type=Path, default=CASES)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(given)

    def say(line: str) -> None:
        print(line, file=sys.stderr if asked.json else sys.stdout, flush=True)

    found = measure(
        say, steps=asked.steps, seeds=[int(v) for v in asked.seeds.split(",")], methods=asked.methods.split(","),
        data=asked.data, cases=asked.cases, out=asked.out,
    )  # fmt: skip
    if asked.json:
        print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Train the tower of a bundle and the judge, print what both reach on patients that neither has seen.

python -m training.identity CACHE LABELS BUNDLE [--steps N] [--hold-out CASE ...] [--only tower|judge]
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch

from model.identity import IdentityConfig, save_identity
from training.archive import load_case
from training.demonstration import VALIDATION, label_heads
from training.identity.fit import IdentityRecipe, draw_pool, fit, freeze
from training.identity.judge import default_folder, save_judge
from training.identity.measure import measure
from training.identity.slices import SliceSampler
from training.identity.towers import JUDGE, vision_settings

#: The judge differs from the tower in build and in seed.
RECIPES = {
    "tower": IdentityRecipe(),
    "judge": IdentityRecipe(seed=77003, steps=2200, pool=4500),
}


def main() -> None:
    """Train, measure, and write unless cases were held out on top of the validation patients."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--hold-out", nargs="*", default=[])
    parser.add_argument("--only", choices=("tower", "judge"))
    a = parser.parse_args()
    every = [load_case(p) for p in sorted(a.cache.glob("*.npz"))]
    unseen = (*VALIDATION, *a.hold_out)
    training = [c for c in every if c.name not in unseen]
    validation = [c for c in every if c.name in unseen]
    heads = label_heads(a.labels)
    torch.set_num_threads(1)  # the order of a sum over threads is no property of the training

    def report(line: str) -> None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    for kind in ("tower", "judge"):
        if a.only not in (None, kind):
            continue
        recipe = RECIPES[kind] if a.steps is None else replace(RECIPES[kind], steps=a.steps)
        vision = vision_settings(IdentityConfig()) if kind == "tower" else JUDGE
        config = IdentityConfig(image_size=int(str(vision["image_size"])))
        pool = draw_pool(SliceSampler(training, heads), recipe.pool, config.image_size, recipe.seed)
        report(f"{kind}: {len(pool[1])} slices of {len(training)} patients and of simulated heads")
        clip = fit(vision, config, pool, recipe, report=report)
        identity = freeze(clip, config, own_tower=kind == "tower")
        figures = measure(identity, validation)
        sys.stdout.write(f"{kind}: {figures.sentence}\n")
        facts = {
            "recipe": recipe.to_json(),
            "patients": len(training),
            "held_out": sorted(c.name for c in validation),
            "figures": figures.to_json(),
        }
        if not a.hold_out:
            write = save_identity if kind == "tower" else save_judge
            digest = write(a.bundle if kind == "tower" else default_folder(), identity, facts)
            sys.stdout.write(f"{kind}: sha256 {digest}\n")


if __name__ == "__main__":
    main()

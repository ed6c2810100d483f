"""Does a synthetic FLAIR help who looks for lesions? Dice of a small segmenter on patients kept apart.

    make bench ARGS=downstream, or python bench/downstream.py [--steps N] [--seeds 1,2,3] [--json]

Channels T1, T1C and FLAIR: all scanned, FLAIR left out, FLAIR made by the packaged weights from the other two (in
training and test, or in the test alone). Intervals over patients.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from validation import CASES, DATA, prepared

CHANNELS, MISSING = ("T1", "T1C", "FLAIR"), "FLAIR"
STEPS, SEEDS = 200, (1, 2, 3)

Say = Callable[[str], None]


def measure(
    say: Say, *, data: Path = DATA, cases: Path = CASES, steps: int = STEPS, seeds: Sequence[int] = SEEDS
) -> dict[str, Any]:
    """What `training.downstream` reports; {} without data."""
    from model import load_bundle
    from model.bundle import default_folder
    from training.downstream import downstream
    from training.evaluate import BundleMethod

    found = prepared(say, data, cases)
    if found is None:
        return {}
    bundle = load_bundle(default_folder())
    # As of an unknown site, like a study from nowhere.
    done = downstream(
        BundleMethod(bundle=bundle, site=0), found.learned, found.apart, CHANNELS, MISSING, steps=steps, seeds=seeds,
        report=say, facts={"bundle": bundle.digest},
    )  # fmt: skip
    out = done.to_json()
    for arm, one in out["arms"].items():
        say(f"{arm:<42} Dice {one['mean']:.3f} ({one['low']:.3f} to {one['high']:.3f})")
    gain = out["gain"]
    apart, chance = gain["difference"], "-" if gain["p"] is None else f"{gain['p']:.3f}"
    say(
        f"synthetic {MISSING} adds {apart['mean']:+.3f} ({apart['low']:+.3f} to {apart['high']:+.3f}), Wilcoxon p "
        f"{chance}; the scanned one {gain['possible']:+.3f}"
    )
    return out


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)))
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--cases", type=Path, default=CASES)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(given)

    def say(line: str) -> None:
        print(line, file=sys.stderr if asked.json else sys.stdout, flush=True)

    seeds = [int(v) for v in asked.seeds.split(",")]
    found = measure(say, data=asked.data, cases=asked.cases, steps=asked.steps, seeds=seeds)
    if asked.json:
        print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

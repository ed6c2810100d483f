"""The calibration of the demonstration weights, and what it is worth on each patient where the others made it.

python -m training.calibrate BUNDLE CACHE OUT [--slices N]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from model import load_bundle
from training.calibrate.fact import calibrate
from training.calibrate.sealing import seal_calibrated
from training.demonstration_cases import read_cases


def main() -> None:
    """Write the calibrated bundle and print the coverage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("cache", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--slices", type=int, default=6)
    a = parser.parse_args()
    cases = read_cases(a.cache)
    bundle = load_bundle(a.bundle)

    def progress(stage: str, share: float) -> None:
        sys.stderr.write(f"{stage} {share:.0%}\n")
        sys.stderr.flush()

    # These patients chose between versions of the weights, and are too few in any case: nothing is guaranteed.
    found = calibrate(
        bundle,
        learned=cases.learned,
        calibration=cases.apart,
        exchangeable=False,
        slices=a.slices,
        progress=progress,
    )
    for one in found.left_out:
        lesions = "no lesion" if one.lesion is None else f"lesions {one.lesion:.1%}"
        sys.stderr.write(f"{one.patient}: {one.scaled:.1%}, {one.unscaled:.1%} without factors, {lesions}\n")
    digest = seal_calibrated(a.bundle, a.out, found)
    sys.stdout.write(json.dumps({"digest": digest, **found.to_json()}, indent=1) + "\n")


if __name__ == "__main__":
    main()

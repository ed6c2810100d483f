"""What the packaged weights reach on patients that they never saw, beside what they must reach.

    make bench ARGS=validation, or python bench/validation.py [--data DIR] [--cases DIR] [--every N] [--json]

The 14 patterns of T1, T1C, T2 and FLAIR beside ridge, copy and a constant; lesions apart; how many voxels lie inside
the stated intervals, each patient by the factors of the others; AUROC of what should notice a spoilt study. DIR of
`--data` holds the published files (training/demonstration_cases.py); prepared cases are kept in DIR of `--cases`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parent.parent
DATA = REPOSITORY.parent / "shared" / "data"
CASES = Path("bench-output/cases")
PATIENTS = ("ms_openms26", "gli_tcga_fg6692")
FOUR = ("T1", "T1C", "T2", "FLAIR")
#: dB over ridge, as it comes and after the best linear fit; share of voxels inside intervals stated for 90 %.
WANTED_DB = {"raw": 2.0, "fit": 1.5}
WANTED_INSIDE = (0.85, 0.95)
#: Slices of each case that intervals are measured on.
SLICES = 2

Say = Callable[[str], None]


def prepared(say: Say, data: Path, cases: Path) -> Any:
    """The demonstration's `Cases` (training.demonstration_cases), prepared where they are not; None without data."""
    from training.demonstration_cases import prepare_cases, read_cases

    if not (data / "nifti").is_dir():
        say(f"{data} holds no published cases; name their folder with --data")
        return None

    def progress(name: str, number: int, of: int) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\rprepare {number + 1}/{of} {name:<30}" + ("\n" if number + 1 == of else ""))

    prepare_cases(data, cases, progress)
    return read_cases(cases)


def measure(say: Say, *, data: Path = DATA, cases: Path = CASES, every: int = 20) -> dict[str, Any]:
    """{"patterns", "margins", "lesions", "inside", "falsified"}, each with what is wanted; {} without data."""
    from model import load_bundle
    from model.bundle import default_folder

    found = prepared(say, data, cases)
    if found is None:
        return {}
    bundle = load_bundle(default_folder())
    return {
        "bundle": bundle.digest,
        **_patterns(say, bundle, found, every),
        "inside": _inside(say, bundle, found),
        "falsified": _falsified(say, bundle, found),
    }


def _patterns(say: Say, bundle: Any, found: Any, every: int) -> dict[str, Any]:
    from training.evaluate import BundleMethod, evaluate, patterns
    from training.peers import Constant, Copy, Ridge

    # As of an unknown site, like a study from nowhere.
    methods = [
        BundleMethod(bundle=bundle, site=0), Ridge.fit(found.learned, FOUR), Copy.fit(found.learned), Constant(),
    ]  # fmt: skip
    apart = [case for case in found.apart if case.name in PATIENTS]
    done = evaluate(methods, apart, patterns(FOUR), every=every, pictures=0)
    ours, ridge, *_ = done.methods

    def mean(rows: Iterable[Any], reading: str) -> float:
        return float(np.mean([row.figure(reading) for row in rows]))

    say(
        f"{'sources':<14} {'targets':<14} " + " ".join(f"{name:>17}" for name in done.methods) + "   dB / fit"
    )
    table = []
    for sources, targets in patterns(FOUR):
        row = {
            name: [mean(done.of(name, sources=sources), reading) for reading in WANTED_DB]
            for name in done.methods
        }
        table.append({"sources": sources, "targets": targets, **row})
        figures = " ".join(f"{raw:>9.2f} / {fit:5.2f}" for raw, fit in row.values())
        say(f"{'+'.join(sources):<14} {'+'.join(targets):<14} {figures}")
    margins, lesions = {}, {}
    for name in done.methods:
        rows = done.of(name)
        margins[name] = [mean(done.of(ours), reading) - mean(rows, reading) for reading in WANTED_DB]
        lesions[name] = float(
            np.mean([row.figures["lesion"]["psnr"] for row in rows if row.figures["lesion"]])
        )
        say(
            f"{name:<28} {mean(rows, 'raw'):6.2f} / {mean(rows, 'fit'):5.2f}, lesions alone {lesions[name]:5.2f}"
        )
    for (reading, wanted), over in zip(WANTED_DB.items(), margins[ridge], strict=True):
        say(f"{ours} over {ridge}, {reading}: {over:+.2f} dB; wanted {wanted:g}: {_verdict(over >= wanted)}")
    return {"patterns": table, "margins": margins, "lesions": lesions, "wanted_db": WANTED_DB}


def _inside(say: Say, bundle: Any, found: Any) -> dict[str, Any]:
    from training.calibrate import calibrate

    done = calibrate(
        bundle, learned=found.learned, calibration=found.apart, exchangeable=False, slices=SLICES
    )
    share = float(np.mean([one.scaled for one in done.left_out]))
    lesions = [one.lesion for one in done.left_out if one.lesion is not None]
    reached = WANTED_INSIDE[0] <= share <= WANTED_INSIDE[1]
    say(
        f"inside intervals of 90 %: {share:.1%} of {len(done.left_out)} patients by the factors of the others, worst "
        f"{min(one.scaled for one in done.left_out):.1%}, lesions {np.mean(lesions):.1%};"
        f" wanted {WANTED_INSIDE[0]:.0%} to {WANTED_INSIDE[1]:.0%}: {_verdict(reached)}"
    )
    return {
        "share": share, "wanted": WANTED_INSIDE, "reached": reached, "lesions": float(np.mean(lesions)),
        "patients": [one.to_json() for one in done.left_out],
    }  # fmt: skip


def _falsified(say: Say, bundle: Any, found: Any) -> dict[str, Any]:
    from training.falsify import falsify

    done = falsify(bundle, found.apart).to_json()
    for one in done["kinds"]:
        goal = "" if one["goal"] is None else f"; wanted {one['goal']:g}: {_verdict(one['reached'])}"
        say(f"{one['kind']:<16} told by {one['score']:<14} AUROC {one['auroc']:.2f}{goal}")
    return dict(done)


def _verdict(reached: bool) -> str:
    return "reached" if reached else "NOT reached"


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--cases", type=Path, default=CASES)
    parser.add_argument("--every", type=int, default=20, help="every N-th slice of a volume")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(given)

    def say(line: str) -> None:
        print(line, file=sys.stderr if asked.json else sys.stdout, flush=True)

    found = measure(say, data=asked.data, cases=asked.cases, every=asked.every)
    if asked.json:
        print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

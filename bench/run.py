"""How well the node names series, and how fast this machine receives and synthesises.

    make bench, or python bench/run.py [PART ...] [--json]

classify   how many of the real headers are named right, with and without their names (bench/classify.py has options)
receive    images a second into `medk2n serve listener`, from one and from four DCMTK senders at once
synthesis  seconds and share of every stage for a study of 24 and one of 155 slices; the network for K sources and N
           targets beside the floor that the machine's own matrix product sets, and beside two U-Nets; JSON and a plot
mcbs       slices a second in training: batches of one site and contrast set against one slice at a time
end_to_end seconds from SETTLED to DELIVERED through a whole node and a PACS on this machine, by stage
train_site seconds of `medk2n train site --smoke` on DICOM studies made of the training cases
validation the packaged weights on patients they never saw, beside ridge and copy; intervals; studies spoilt on purpose
downstream Dice of a small segmenter with scanned, without and with synthetic FLAIR; only when it is named
race       Med-K2N and four competitors trained from nothing at equal budget; two hours, hence only when it is named

Figures are for comparing versions on one machine; say which one when you quote them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from classify import measure as classify
from downstream import measure as downstream
from end_to_end import measure as end_to_end
from mcbs import measure as mcbs
from race import measure as race
from receive import measure as receive
from synthesis import measure as synthesis
from train_site import measure as train_site
from validation import measure as validation

PARTS: dict[str, Callable[[Callable[[str], None]], dict[str, Any]]] = {
    "classify": classify,
    "receive": receive,
    "synthesis": synthesis,
    "end_to_end": end_to_end,
    "mcbs": mcbs,
    "train_site": train_site,
    "validation": validation,
    "downstream": downstream,
    "race": race,
}
#: Run only when they are named.
LONG = ("downstream", "race")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "parts", nargs="*", help=f"{', '.join(PARTS)}; all but {' and '.join(LONG)} when none is named"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there is {', '.join(PARTS)}")

    def say(line: str) -> None:
        print(line, file=sys.stderr if given.json else sys.stdout, flush=True)

    found = {name: PARTS[name](say) for name in given.parts or [part for part in PARTS if part not in LONG]}
    folder = Path("bench-output")
    folder.mkdir(exist_ok=True)
    (folder / "bench.json").write_text(json.dumps(found, indent=2) + "\n")
    if given.json:
        print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

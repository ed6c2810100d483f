"""Seconds of `medk2n train site ARCHIVE --smoke`: from DICOM studies to a report and a bundle that may be promoted.

    make bench ARGS=train_site, or python bench/train_site.py [--data DIR] [--out DIR] [--json]

The archive is made of the training cases below DIR/nifti, each a DICOM study of a patient of its own; series that were
never registered to each other stay so.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from validation import DATA

from tests.dicom_archive import dicom_archive
from training.demonstration import VALIDATION
from training.demonstration_cases import LEFT_OUT

LIMIT_S = 600.0

Say = Callable[[str], None]


def measure(say: Say, *, data: Path = DATA, out: Path | None = None) -> dict[str, Any]:
    """{"seconds", "limit_s", "reached", "studies", "offer"}; {} without data. `out` keeps what was made."""
    if not (data / "nifti").is_dir():
        say(f"{data} holds no published cases; name their folder with --data")
        return {}
    cases = [p for p in sorted((data / "nifti").iterdir()) if p.name not in (*VALIDATION, *LEFT_OUT)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if out is None else out
        archive = dicom_archive(folder / "archive", cases)
        command = [sys.executable, "-m", "medk2n_node", "train", "site", str(archive), "--smoke", "--json"]
        began = time.monotonic()
        done = subprocess.run(
            command, env={**os.environ, "MEDK2N__NODE__STORAGE": str(folder / "storage")}, stdout=subprocess.PIPE,
            check=False,
        )  # fmt: skip
        seconds = time.monotonic() - began
        if done.returncode != 0:
            raise SystemExit(f"train site ended with {done.returncode}: {done.stdout.decode()[-2000:]}")
        offer = json.loads(done.stdout)
        there = {name: Path(place).exists() for name, place in offer["places"].items()}
    reached = seconds <= LIMIT_S and all(there.values()) and bool(offer["promotable"])
    say(
        f"train site --smoke, {len(cases)} studies: {seconds:.0f} s, missing: "
        f"{', '.join(name for name, made in there.items() if not made) or 'nothing'}, promotable: "
        f"{offer['promotable']}; wanted {LIMIT_S:.0f} s: {'reached' if reached else 'NOT reached'}"
    )
    return {
        "seconds": round(seconds, 1), "limit_s": LIMIT_S, "reached": reached, "studies": len(cases), "offer": offer,
    }  # fmt: skip


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, help="keep archive, storage and report here")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(given)

    def say(line: str) -> None:
        print(line, file=sys.stderr if asked.json else sys.stdout, flush=True)

    found = measure(say, data=asked.data, out=asked.out)
    if asked.json:
        print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

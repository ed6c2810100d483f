"""How many of the real headers are named right, with and without their names, beside dcm-classifier.

    python bench/classify.py [--table FILE] [--dcm-classifier PYTHON] [--json]

Every row of the table becomes a small DICOM series that states what the row states; they go through
`medk2n classify DIR --headers-only --json`. dcm-classifier (PyPI) pulls 2 GB of packages with pins of its own, so it
is never installed here: PYTHON names the interpreter of an environment that holds it. Without the option it is run
when it can be imported, and left out with a word otherwise.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.unit.dicom_rules.header_rows import rows as read_rows
from tests.unit.dicom_rules.header_score import NONE, TARGETS, Answer, Score, score, write_rows

REPOSITORY = Path(__file__).resolve().parent.parent
TABLE = REPOSITORY.parent / "shared" / "data" / "dicom" / "series-headers.csv"
ANSWERS = ("T1", "T1C", "T2", "FLAIR", "DWI", "ADC", NONE)
PEER_SCRIPT = Path(__file__).resolve().parent / "classify_peer.py"
PEER_WORDS: Mapping[str, str] = {"t1w": "T1", "t2w": "T2", "flair": "FLAIR", "tracew": "DWI", "adc": "ADC"}
PEER_MINUTES = 30

Say = Callable[[str], None]


def measure(say: Say, *, table: Path = TABLE, peer: str = "") -> dict[str, Any]:
    """Score the rules on the table, and the peer beside them where it is there; prints tables through `say`."""
    if not table.is_file():
        say("classify: there is no table of real headers here; name one with --table")
        return {}
    rows = list(read_rows(table))
    found: dict[str, Any] = {"rows": len(rows)}
    for label, blank_names in (("with names", False), ("names blanked", True)):
        with tempfile.TemporaryDirectory() as folder:
            write_rows(rows, Path(folder), blank_names=blank_names)
            answers = _ask_medk2n(Path(folder))
        found[label] = _report(say, f"medk2n, {label}", rows, answers, merged=blank_names)
    python = peer or (sys.executable if importlib.util.find_spec("dcm_classifier") else "")
    if not python:
        say("dcm-classifier: not here; name the Python of an environment that holds it with --dcm-classifier")
        return found
    with tempfile.TemporaryDirectory() as folder:
        write_rows(rows, Path(folder), blank_names=True, complete=True)
        answers = _ask_peer(python, Path(folder))
    # Its answers know no agent and its features hold no text, so one run with T1 and T1C merged says everything.
    found["dcm-classifier"] = _report(say, "dcm-classifier (T1 and T1C merged)", rows, answers, merged=True)
    return found


def _ask_medk2n(folder: Path) -> dict[str, Answer]:
    done = subprocess.run(
        [sys.executable, "-m", "medk2n_node", "classify", str(folder), "--headers-only", "--json"],
        check=True,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )
    return {
        Path(one["path"]).name: Answer(contrast=one["contrast"], usable=one["usable"])
        for study in json.loads(done.stdout)["studies"]
        for one in study["series"]
    }


def _ask_peer(python: str, folder: Path) -> dict[str, Answer]:
    output = folder / "answers.json"
    subprocess.run(
        [python, str(PEER_SCRIPT), str(folder), str(output)],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=PEER_MINUTES * 60,
    )
    said: dict[str, str] = json.loads(output.read_text(encoding="utf-8"))
    return {row_id: Answer(contrast=PEER_WORDS.get(word.lower())) for row_id, word in said.items()}


def _report(
    say: Say,
    title: str,
    rows: Sequence[Mapping[str, str]],
    answers: Mapping[str, Answer],
    *,
    merged: bool,
) -> dict[str, Any]:
    result = score(rows, answers, merged=merged)
    say(f"\n{title}")
    total, right = sum(result.total.values()), sum(result.right.values())
    say(
        f"  right {right} of {total} ({result.share:.1%}), wrong {len(result.wrong)}, abstained "
        f"{len(result.abstained)}; of {result.others} others {len(result.others_named)} were given a contrast, "
        f"{len(result.others_accepted)} as usable"
    )
    if result.wrong:
        say(f"  wrong: {' '.join(result.wrong)}")
    if result.abstained:
        say(f"  abstained: {' '.join(result.abstained)}")
    if result.others_named:
        say(f"  others given a contrast: {' '.join(result.others_named)}")
    _table(say, result)
    say(
        "  by vendor: "
        + ", ".join(
            f"{vendor} {result.right_by_vendor[vendor]}/{count}"
            for vendor, count in sorted(result.total_by_vendor.items())
        )
    )
    return {
        "right": right,
        "of": total,
        "share": round(result.share, 4),
        "wrong": list(result.wrong),
        "abstained": list(result.abstained),
        "others": result.others,
        "others_named": list(result.others_named),
        "others_accepted": list(result.others_accepted),
        "by_truth": {truth: [result.right[truth], count] for truth, count in sorted(result.total.items())},
        "by_vendor": {
            vendor: [result.right_by_vendor[vendor], count]
            for vendor, count in sorted(result.total_by_vendor.items())
        },
        "confusion": {f"{truth} -> {answer}": n for (truth, answer), n in sorted(result.confusion.items())},
    }


def _table(say: Say, result: Score) -> None:
    truths = [*TARGETS, *sorted({truth for truth, _ in result.confusion} - set(TARGETS))]
    say("  truth      " + "".join(f"{answer:>7}" for answer in ANSWERS))
    for truth in truths:
        counts = [result.confusion[truth, answer] for answer in ANSWERS]
        say(f"  {truth:11}" + "".join(f"{count or '.':>7}" for count in counts))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, default=TABLE, help="series-headers.csv")
    parser.add_argument("--dcm-classifier", default="", metavar="PYTHON", help="a Python that can import it")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    given = parser.parse_args()

    def say(line: str) -> None:
        print(line, file=sys.stderr if given.json else sys.stdout, flush=True)

    found = measure(say, table=given.table, peer=given.dcm_classifier)
    if given.json:
        print(json.dumps(found, indent=2))
    return 0 if found else 3


if __name__ == "__main__":
    sys.exit(main())

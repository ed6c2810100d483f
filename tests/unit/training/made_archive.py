"""A prepared archive of small made-up cases, as `medk2n train prepare` leaves one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tests.unit.training.cases import small_case
from training.archive import Shares, Splits, save_case
from training.archive.manifest import files_of, write_manifest
from training.archive.splits import write_splits

FULL = ("T1", "T2", "FLAIR")


def write_archive(
    out: Path,
    *,
    training: int = 3,
    validation: int = 1,
    site: str = "north",
    contrasts: Sequence[Sequence[str]] = (FULL, ("T1", "FLAIR")),
    patients: str = "p",
    scans: str = "",
) -> Path:
    """Patients p0, p1, ...; the first ones train, the last ones validate; their contrasts take turns.

    `scans` are letters: the files that each patient in turn was made from, whatever the patient is called.
    """
    count = training + validation
    sides = {f"{patients}{k}": "training" if k < training else "validation" for k in range(count)}
    cases: dict[str, Mapping[str, object]] = {}
    for k, patient in enumerate(sides):
        have = tuple(contrasts[k % len(contrasts)]) if sides[patient] == "training" else tuple(contrasts[0])
        folder = out / "cases" / f"c{k}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        case = small_case(f"c{k}", have, 1.0 - k / 20, site=site)
        origin = {"T1": scans[k] * 64} if scans else {}
        save_case(replace(case, patient=patient, origin=origin), folder)
        cases[folder.name] = {
            "patient": patient, "site": site, "contrasts": list(have), "files": files_of(folder),
        }  # fmt: skip
    write_splits(Splits(shares=Shares(), seed=0, of=sides), out / "splits.json")
    write_manifest({"schema": 1, "cases": cases, "excluded": []}, out)
    return out

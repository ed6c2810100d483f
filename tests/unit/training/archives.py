"""A prepared archive of made-up cases on disk, as `medk2n train prepare` leaves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from training.archive import Case, Shares, Splits, save_case
from training.archive.manifest import CASES, SCHEMA, SPLITS, files_of, write_manifest
from training.archive.splits import write_splits


def write_archive(folder: Path, cases: Mapping[str, Sequence[Case]]) -> Path:
    """split -> cases, each of a patient of its own."""
    entries = {}
    for case in (case for own in cases.values() for case in own):
        place = folder / CASES / case.name
        place.parent.mkdir(parents=True, exist_ok=True)
        save_case(case, place)
        entries[case.name] = {
            "patient": case.patient_key, "site": case.site, "contrasts": list(case.contrasts),
            "lesion": bool(case.lesion.any()), "work": "", "made": 0, "files": files_of(place),
        }  # fmt: skip
    sides = {case.patient_key: split for split, own in cases.items() for case in own}
    write_splits(Splits(shares=Shares(), seed=1, of=sides), folder / SPLITS)
    write_manifest({"schema": SCHEMA, "cases": entries, "excluded": []}, folder)
    return folder

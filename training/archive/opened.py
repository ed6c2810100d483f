"""A prepared archive, open for reading: its cases by split, its sites, and whether it is enough to learn from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model import CONTRASTS
from training.archive.case import Case, load_case
from training.archive.manifest import CASES, SPLITS, digest_of, fingerprint_of, read_manifest
from training.archive.splits import SPLITS as SIDES
from training.archive.splits import Splits, read_splits
from training.errors import TrainingError

LEAST_TO_TRAIN = 2
"""Patients: with one, nothing tells the patient from the contrast."""
LEAST_TO_VALIDATE = 1


@dataclass(frozen=True, kw_only=True)
class Archive:
    """What `medk2n train prepare` made.

    Attributes:
        sites: names of the sites, "unknown" first, as `NetworkConfig.sites` wants them.
        fingerprint: digest of every byte of the cases and of the splits.
        manifest: the document, as it was read.
    """

    folder: Path
    sites: tuple[str, ...]
    fingerprint: str
    splits: Splits
    manifest: dict[str, Any]

    @property
    def contrasts(self) -> tuple[str, ...]:
        """The contrasts that some case shows, in the usual order."""
        found = {contrast for one in self.manifest["cases"].values() for contrast in one["contrasts"]}
        return tuple(contrast for contrast in CONTRASTS if contrast in found)

    def names(self, split: str) -> tuple[str, ...]:
        """The names of the cases of one split: training, validation or calibration.

        Raises:
            TrainingError: there is no such split.
        """
        if split not in SIDES:
            raise TrainingError(
                code="split",
                subject=split,
                reason="there is no such split",
                cure=f"Name one of {', '.join(SIDES)}",
            )
        whose = {name: one["patient"] for name, one in self.manifest["cases"].items()}
        return tuple(sorted(name for name, patient in whose.items() if self.splits.of[patient] == split))

    def cases(self, split: str) -> list[Case]:
        """The cases of one split, in the order of their names, their arrays mapped into memory."""
        return [load_case(self.folder / CASES / name) for name in self.names(split)]

    def site_number(self, case: Case) -> int:
        """The case's site as a position in `sites`."""
        return self.sites.index(case.site)

    def patients(self, split: str) -> tuple[str, ...]:
        """The patients (salted hashes) of one split who have a case here."""
        return tuple(sorted({self.manifest["cases"][name]["patient"] for name in self.names(split)}))

    def pairs(self, split: str) -> dict[tuple[str, str], int]:
        """(source, target) -> how many patients of the split show both."""
        seen: dict[str, set[tuple[str, str]]] = {}
        for name in self.names(split):
            one = self.manifest["cases"][name]
            both = {(a, b) for a in one["contrasts"] for b in one["contrasts"] if a != b}
            seen.setdefault(one["patient"], set()).update(both)
        return dict(Counter(pair for pairs in seen.values() for pair in pairs))

    def refuse_if_too_small(self, *, train: int = LEAST_TO_TRAIN, validate: int = LEAST_TO_VALIDATE) -> None:
        """Say early what is missing, in numbers.

        Args:
            train, validate: the least numbers of patients that have two contrasts each.

        Raises:
            TrainingError: there is not enough to learn from or to judge by.
        """
        counts = {side: len(self.patients(side)) for side in SIDES}
        learnt, judged = self.pairs("training"), self.pairs("validation")
        missing = []
        if counts["training"] < train:
            missing.append(f"{train - counts['training']} more to train on")
        if counts["validation"] < validate:
            missing.append(f"{validate - counts['validation']} more to validate on")
        if not missing and not set(learnt) & set(judged):
            missing.append(
                f"a pair of contrasts in both: training has {_pairs(learnt)}, validation {_pairs(judged)}"
            )
        if not missing:
            return
        excluded = len(self.manifest.get("excluded", []))
        raise TrainingError(
            code="too_small",
            subject=str(self.folder),
            reason=f"it holds {sum(counts.values())} patients with two contrasts or more "
            f"({', '.join(f'{counts[side]} {side}' for side in SIDES)}) and {len(learnt)} pairs of contrasts to "
            f"learn ({_pairs(learnt)}); missing: {'; '.join(missing)}"
            + (f"; {excluded} series were excluded, see excluded/" if excluded else ""),
            cure=f"Add studies with `medk2n train prepare DIR {self.folder}`: a patient counts when one study "
            "shows two of the contrasts",
        )

    def verify(self) -> None:
        """Compare every byte with the manifest.

        Raises:
            TrainingError: names the first file that differs.
        """
        for name, one in self.manifest["cases"].items():
            for file, facts in one["files"].items():
                path = self.folder / CASES / name / file
                if not path.is_file() or digest_of(path) != facts["sha256"]:
                    raise _damaged(self.folder, f"{CASES}/{name}/{file}")


def open_archive(folder: Path) -> Archive:
    """Open what `medk2n train prepare` made; sizes are compared with the manifest, `verify` compares the bytes.

    Raises:
        TrainingError: it is no archive, or not whole.
    """
    manifest = read_manifest(folder)
    splits = read_splits(folder / SPLITS)
    cases = manifest["cases"]
    if splits is None or any(one["patient"] not in splits.of for one in cases.values()):
        raise TrainingError(
            code="splits",
            subject=str(folder),
            reason="not every patient has a place in splits.json",
            cure="Run `medk2n train prepare` again, or restore the file",
        )
    for name, one in cases.items():
        for file, facts in one["files"].items():
            path = folder / CASES / name / file
            if not path.is_file() or path.stat().st_size != facts["bytes"]:
                raise _damaged(folder, f"{CASES}/{name}/{file}")
    sites = sorted({one["site"] for one in cases.values()} - {"unknown"})
    sides = {one["patient"]: splits.of[one["patient"]] for one in cases.values()}
    return Archive(
        folder=folder,
        sites=("unknown", *sites),
        fingerprint=fingerprint_of(cases, sides),
        splits=splits,
        manifest=manifest,
    )


def _damaged(folder: Path, file: str) -> TrainingError:
    return TrainingError(
        code="damaged",
        subject=f"{folder}: {file}",
        reason="it is not the file that the manifest names",
        cure="Run `medk2n train prepare` again: it makes anew what is not whole",
    )


def _pairs(pairs: dict[tuple[str, str], int]) -> str:
    if not pairs:
        return "none"
    ordered = sorted(pairs, key=lambda one: (-pairs[one], CONTRASTS.index(one[0]), CONTRASTS.index(one[1])))
    more = f" and {len(pairs) - 6} more" if len(pairs) > 6 else ""
    return ", ".join(f"{a}>{b}" for a, b in ordered[:6]) + more

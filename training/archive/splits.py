"""Which patients teach, which judge and which calibrate: decided once, by a salted hash, and never changed.

The patient is the unit: two examinations of one head are no independent evidence. New patients are added to a frozen
file; nobody changes sides, else a judge of yesterday would be a teacher of today and every figure a flattery.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from training.errors import TrainingError

SPLITS = ("training", "validation", "calibration")
ENOUGH_TO_VALIDATE = 3
"""From so many patients on, one of them validates."""


@dataclass(frozen=True, kw_only=True)
class Shares:
    """How the patients of a site are divided; the shares add to 1."""

    training: float = 0.70
    validation: float = 0.15
    calibration: float = 0.15

    def __post_init__(self) -> None:
        shares = (self.training, self.validation, self.calibration)
        if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6 or self.training <= 0:
            raise TrainingError(
                code="shares",
                subject="the shares of the splits",
                reason=f"{' / '.join(f'{one:g}' for one in shares)} are no shares of a whole",
                cure="Give shares of training, validation and calibration that add to 1, such as 0.7,0.15,0.15",
            )


@dataclass(frozen=True, kw_only=True)
class Splits:
    """patient -> split. `added` are those whom the last call has placed."""

    shares: Shares
    seed: int
    of: Mapping[str, str]
    added: tuple[str, ...] = field(default=())

    def patients(self, split: str) -> tuple[str, ...]:
        """The patients on one side."""
        return tuple(sorted(patient for patient, side in self.of.items() if side == split))


def assign(
    sites: Mapping[str, str],
    *,
    shares: Shares,
    seed: int,
    frozen: Mapping[str, str] | None = None,
    shown: Mapping[str, Sequence[Collection[str]]] | None = None,
) -> Splits:
    """Place every patient who has no place yet.

    Patients come in the order of a hash of themselves and the seed, and each goes to the side that is furthest behind
    its share within the patient's site: the parts are as exact as whole patients allow, for every site alone.

    Args:
        sites: patient (salted hash) -> site.
        frozen: the places that are taken; none of them changes.
        shown: patient -> contrasts of each study. Where nobody who validates shows two contrasts that somebody who
            trains shows as well, two new patients exchange their places: nothing could be judged otherwise.
    """
    placed = dict(frozen or {})
    counts: dict[str, dict[str, int]] = {}
    for patient, side in placed.items():
        if patient in sites:
            counts.setdefault(sites[patient], dict.fromkeys(SPLITS, 0))[side] += 1
    new = sorted((patient for patient in sites if patient not in placed), key=lambda one: _place(one, seed))
    for patient in new:
        there = counts.setdefault(sites[patient], dict.fromkeys(SPLITS, 0))
        placed[patient] = _furthest_behind(there, shares)
        there[placed[patient]] += 1
    nobody_judges = not any(placed[patient] == "validation" for patient in sites)
    if nobody_judges and len(sites) >= ENOUGH_TO_VALIDATE and shares.validation > 0 and new:
        placed[new[-1]] = "validation"
    if shown is not None:
        placed = _judged(placed, new, sites, shown)
    return Splits(shares=shares, seed=seed, of=placed, added=tuple(new))


def _judged(
    placed: dict[str, str],
    new: Sequence[str],
    sites: Mapping[str, str],
    shown: Mapping[str, Sequence[Collection[str]]],
) -> dict[str, str]:
    """The places after the least exchange that lets somebody judge what others learn; as they are where none does."""

    def pairs(of: Mapping[str, str], side: str) -> set[frozenset[str]]:
        studies = [study for patient in sites if of[patient] == side for study in shown.get(patient, ())]
        return {frozenset(pair) for study in studies for pair in combinations(study, 2)}

    def judges(of: Mapping[str, str]) -> bool:
        return not pairs(of, "training").isdisjoint(pairs(of, "validation"))

    if judges(placed):
        return placed
    for judge in (patient for patient in new if placed[patient] == "validation"):
        others = [patient for patient in new if placed[patient] != "validation"]
        for other in sorted(others, key=lambda one: sites[one] != sites[judge]):
            exchanged = {**placed, judge: placed[other], other: "validation"}
            if judges(exchanged):
                return exchanged
    return placed


def _place(patient: str, seed: int) -> str:
    return hashlib.sha256(f"{seed} {patient}".encode()).hexdigest()


def _furthest_behind(there: Mapping[str, int], shares: Shares) -> str:
    total = sum(there.values()) + 1
    if total >= ENOUGH_TO_VALIDATE and not there["validation"] and shares.validation > 0:
        return "validation"
    return max(SPLITS, key=lambda side: (getattr(shares, side) * total - there[side], -SPLITS.index(side)))


def read_splits(file: Path) -> Splits | None:
    """The frozen splits; None where nothing is frozen yet.

    Raises:
        TrainingError: the file cannot be read, and must not be made anew: that would move patients.
    """
    if not file.exists():
        return None
    try:
        held = json.loads(file.read_text())
        of = {str(patient): str(side) for patient, side in held["patients"].items()}
        if unknown := set(of.values()) - set(SPLITS):
            raise ValueError(f"unknown split {min(unknown)}")
        return Splits(shares=Shares(**held["shares"]), seed=int(held["seed"]), of=of)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(
            code="splits",
            subject=str(file),
            reason=f"the frozen splits cannot be read ({error})",
            cure="Restore the file: made anew it would let patients change sides",
        ) from error


def write_splits(splits: Splits, file: Path) -> None:
    """Freeze them."""
    held = {
        "schema": 1,
        "shares": {side: getattr(splits.shares, side) for side in SPLITS},
        "seed": splits.seed,
        "patients": dict(sorted(splits.of.items())),
    }
    part = file.with_name(f".{file.name}.part")
    part.write_text(json.dumps(held, indent=1) + "\n")
    part.rename(file)

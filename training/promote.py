"""Champion and challenger side by side on the same frozen validation patients, and whether one may follow the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model import Bundle
from model.personal import UNKNOWN
from training.archive import Case
from training.errors import PromotionRefused
from training.evaluate import BundleMethod, Evaluation, evaluate, patterns
from training.evaluate.patterns import Pattern
from training.release import seen_by

CHAMPION, CHALLENGER = "in force", "challenger"
#: Loss in dB (masked PSNR as it comes, mean over patients) that is still no reason to refuse, per target: below it two
#: trainings of the same recipe with other seeds differ.
MARGIN_DB = 0.3
#: The same for the worst row of a target: one patient and one set of sources, so it scatters more.
WORST_MARGIN_DB = 1.0


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One target: both models' mean over patients and worst row, in dB; None where one cannot make it."""

    target: str
    champion: float | None
    challenger: float | None
    champion_worst: float | None
    challenger_worst: float | None
    patients: int
    against: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values, rounded."""

        def short(value: float | None) -> float | None:
            return None if value is None else round(value, 3)

        return {
            "target": self.target, "champion": short(self.champion), "challenger": short(self.challenger),
            "champion_worst": short(self.champion_worst), "challenger_worst": short(self.challenger_worst),
            "patients": self.patients, "against": list(self.against),
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Match:
    """What the comparison says; `against` are the reasons to refuse, `notes` what to know of the comparison."""

    champion: str
    challenger: str
    standings: tuple[Standing, ...]
    margin_db: float
    worst_margin_db: float
    against: tuple[str, ...]
    evaluation: Evaluation
    notes: tuple[str, ...] = ()

    @property
    def promotable(self) -> bool:
        """Nothing speaks against it."""
        return not self.against

    def to_json(self) -> dict[str, Any]:
        """Plain values; without the evaluation."""
        return {
            "champion": self.champion, "challenger": self.challenger, "promotable": self.promotable,
            "margin_db": self.margin_db, "worst_margin_db": self.worst_margin_db, "against": list(self.against),
            "notes": list(self.notes), "targets": [one.to_json() for one in self.standings],
        }  # fmt: skip

    def refuse_if_worse(self) -> None:
        """Raise what speaks against the challenger.

        Raises:
            PromotionRefused: worse.
        """
        if self.against:
            raise PromotionRefused(
                code="worse",
                subject=f"the model {self.challenger[:12]}",
                reason=f"beside the model in force ({self.champion[:12]}) it is worse: {'; '.join(self.against)}",
                cure="Train it longer or on more patients; --override --reason TEXT puts it into service nevertheless",
            )


def compare(
    champion: Bundle,
    challenger: Bundle,
    cases: Sequence[Case],
    *,
    asked: Sequence[Pattern] | None = None,
    every: int = 1,
    margin_db: float = MARGIN_DB,
    worst_margin_db: float = WORST_MARGIN_DB,
    site: str = "",
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Match:
    """Evaluate both on the same cases.

    Args:
        cases: of validation patients. Those that one of the models learned from, as far as its bundle says, are left
            out: they would flatter it.
        asked: patterns; None: every set of sources that the cases have.
        every: slices are taken every so many (training.evaluate.evaluate).
        site: as which the node runs its models; "" is the unknown site. A challenger that does not know it is refused.

    Raises:
        PromotionRefused: same: they are one model; nothing: no case can tell them apart.
    """
    if champion.digest == challenger.digest:
        raise PromotionRefused(
            code="same", subject=f"the model {challenger.digest[:12]}", reason="it is the one in force already",
            cure="Nothing needs to be done",
        )  # fmt: skip
    cases, notes = _unseen(champion, challenger, cases)
    notes += _other_sites(challenger, cases, site)
    known = [c for c in champion.contrasts if any(c in case.contrasts for case in cases)]
    wanted = patterns(known) if asked is None else list(asked)
    if not any(sum(c in case.contrasts for c in known) > 1 for case in cases):
        raise PromotionRefused(
            code="nothing_to_compare", subject=f"{len(cases)} validation cases",
            reason=" ".join(["none shows two contrasts that the model in force knows", *notes]),
            cure="Prepare studies of more patients; no model is put into service unseen",
        )  # fmt: skip
    both = [
        BundleMethod(bundle=one, name=name, site=one.sites.get(site, 0))
        for one, name in ((challenger, CHALLENGER), (champion, CHAMPION))
    ]
    found = evaluate(
        both, cases, wanted, every=every, progress=progress, not_checked=notes,
        facts={"champion": champion.digest, "challenger": challenger.digest, "site": site or UNKNOWN},
    )  # fmt: skip
    standings = tuple(_standing(found, target, margin_db, worst_margin_db) for target in found.targets)
    return Match(
        champion=champion.digest,
        challenger=challenger.digest,
        standings=standings,
        margin_db=margin_db,
        worst_margin_db=worst_margin_db,
        against=(
            *(words for one in standings for words in one.against),
            *_less_careful(champion, challenger),
            *_not_at_home(challenger, site),
        ),
        evaluation=found,
        notes=tuple(notes),
    )


def _unseen(champion: Bundle, challenger: Bundle, cases: Sequence[Case]) -> tuple[list[Case], list[str]]:
    """The cases of patients that neither learned from, and what to know of it."""
    seen = seen_by(champion) | seen_by(challenger)
    taught = {case.patient_key for case in cases if case.marks & seen}
    notes = []
    if taught:
        notes.append(
            f"{len(taught)} validation patients were left out: one of the two models learned from their images."
        )
    silent = [name for name, one in ((CHAMPION, champion), (CHALLENGER, challenger)) if not seen_by(one)]
    if silent:
        notes.append(
            f"The model {' and the '.join(silent)} does not say which images it learned from: whether these "
            "patients are new to it was not checked."
        )
    return [case for case in cases if case.patient_key not in taught], notes


def _other_sites(challenger: Bundle, cases: Sequence[Case], site: str) -> list[str]:
    """What to know where the challenger learned these cases' site by name and the node would not tell it."""
    named = sorted({case.site for case in cases if challenger.sites.get(case.site, 0)} - {site})
    if not named:
        return []
    return [
        f"Both were compared as the node runs them, as {site or 'the unknown site'}; the challenger also knows "
        f"{', '.join(named)}: set [synthesis] site to have its code used, and compare again."
    ]


def _not_at_home(challenger: Bundle, site: str) -> tuple[str, ...]:
    """The node runs every study as its configured site, and refuses a site that the model was not trained on."""
    if not site or site in challenger.sites:
        return ()
    return (
        f"it does not know the site {site} ([synthesis] site), as which the node runs it: every study would be refused",
    )


def _less_careful(champion: Bundle, challenger: Bundle) -> tuple[str, ...]:
    """A model without the limits of the one in force would answer where that one abstains."""
    if champion.manifest.get("calibration") is None or challenger.manifest.get("calibration") is not None:
        return ()
    return (
        "it is not calibrated, the model in force is: its intervals and its limits of abstention would be lost "
        "(`medk2n train calibrate` adds them; of `train site` promote the whole folder, not its run)",
    )


def _standing(found: Evaluation, target: str, margin_db: float, worst_margin_db: float) -> Standing:
    means, worsts, patients = {}, {}, set()
    for name in (CHAMPION, CHALLENGER):
        rows = found.of(name, target)
        whose: dict[str, list[float]] = {}
        for row in rows:
            value = row.figure("raw")
            if value is not None:
                whose.setdefault(row.patient, []).append(value)
        patients |= set(whose)
        means[name] = float(np.mean([np.mean(v) for v in whose.values()])) if whose else None
        worsts[name] = min((v for values in whose.values() for v in values), default=None)
    return Standing(
        target=target,
        champion=means[CHAMPION],
        challenger=means[CHALLENGER],
        champion_worst=worsts[CHAMPION],
        challenger_worst=worsts[CHALLENGER],
        patients=len(patients),
        against=_against(target, means, worsts, margin_db, worst_margin_db),
    )


def _against(
    target: str,
    means: dict[str, float | None],
    worsts: dict[str, float | None],
    margin_db: float,
    worst_margin_db: float,
) -> tuple[str, ...]:
    out = []
    for words, values, margin in (
        ("on average", means, margin_db),
        ("in the worst case", worsts, worst_margin_db),
    ):
        before, after = values[CHAMPION], values[CHALLENGER]
        if before is None:
            continue
        if after is None or not np.isfinite(after):
            return (f"it cannot make {target}, which the model in force can",)
        if after < before - margin:
            out.append(f"{target} {words} {after:.2f} dB, in force {before:.2f} dB (margin {margin:.1f} dB)")
    return tuple(out)

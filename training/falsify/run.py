"""Sound cases against cases that were spoilt on purpose: how well each score tells them apart, as an AUROC."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torchmetrics.functional.classification import binary_auroc

from model import Bundle
from model.slices import decode
from training.archive import Case
from training.calibrate import stack_of
from training.errors import TrainingError
from training.falsify.corrupt import CORRUPTIONS
from training.falsify.scores import SCORES, scores_of

#: The score that is meant for each kind, and the AUROC that it has to reach (None: reported only).
MEANT: dict[str, tuple[str, float | None]] = {
    "label swap": ("exchange", 0.9),
    "shift": ("misplacement", 0.9),
    "rotation": ("misplacement", 0.9),
    "motion": ("identity", None),
    "lesion planted": ("foreign", 0.8),
    "lesion erased": ("foreign", None),
}
SOUND = "sound"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One case as it is or spoilt in one source, and its scores."""

    case: str
    kind: str
    source: str
    scores: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Falsified:
    """All trials. AUROC: chance that a spoilt case scores higher than a sound one, 0.5 = the score says nothing."""

    trials: tuple[Trial, ...]

    def auroc(self, kind: str, score: str) -> float | None:
        """None where no case of this kind was made."""
        bad = [one.scores[score] for one in self.trials if one.kind == kind]
        good = [one.scores[score] for one in self.trials if one.kind == SOUND]
        if not bad or not good:
            return None
        # binary_auroc takes what lies outside 0..1 for logits and saturates it: ranks keep the order alone.
        _, ranks = np.unique(np.array(bad + good), return_inverse=True)
        values = torch.from_numpy(ranks.astype(np.float32) / max(1, int(ranks.max())))
        truth = torch.tensor([1] * len(bad) + [0] * len(good))
        return float(binary_auroc(values, truth))

    def to_json(self) -> dict[str, Any]:
        """Per kind: the meant score with its goal, and what every score reaches."""
        rows = []
        for kind, (score, goal) in MEANT.items():
            reached = self.auroc(kind, score)
            every = {name: self.auroc(kind, name) for name in SCORES}
            rows.append(
                {
                    "kind": kind,
                    "trials": sum(one.kind == kind for one in self.trials),
                    "score": score,
                    "auroc": None if reached is None else round(reached, 3),
                    "goal": goal,
                    "reached": None if goal is None or reached is None else reached >= goal,
                    "scores": {name: None if v is None else round(v, 3) for name, v in every.items()},
                }
            )
        return {"sound": sum(one.kind == SOUND for one in self.trials), "kinds": rows}


def falsify(
    bundle: Bundle,
    cases: Sequence[Case],
    *,
    slices: int = 6,
    repeat: int = 1,
    seed: int = 0,
    progress: Callable[[str, float], None] = lambda stage, share: None,
) -> Falsified:
    """Score every case as it is and spoilt in every way.

    Args:
        cases: of patients that never trained; those with two sources or more are used.
        slices: of each case that are looked at, evenly spread.
        repeat: spoilt versions of each case and kind, each in another source.

    Raises:
        TrainingError: no case shows two contrasts that the network knows.
    """
    trials: list[Trial] = []
    usable = [case for case in (_known(bundle, one) for one in cases) if len(case.contrasts) > 1]
    if not usable:
        raise TrainingError(
            code="one_contrast",
            subject=f"{len(cases)} cases",
            reason="none shows two contrasts that the network knows: nothing can contradict anything",
            cure="Take an archive whose validation patients have several contrasts",
        )
    for number, case in enumerate(usable):
        progress("falsify", number / len(usable))
        rng = np.random.default_rng([seed, number])
        trials.append(Trial(case=case.name, kind=SOUND, source="", scores=_scores(bundle, case, slices)))
        for kind, spoil in CORRUPTIONS.items():
            order = [str(name) for name in rng.permutation(list(case.contrasts))]
            for source in order[:repeat]:
                # What is planted must lie where somebody looks.
                spoilt = spoil(_seen(case, slices), source, rng)
                if spoilt is not None:
                    whole = replace(spoilt, brain=case.brain, lesion=case.lesion)
                    scores = _scores(bundle, whole, slices)
                    trials.append(Trial(case=case.name, kind=kind, source=source, scores=scores))
    progress("falsify", 1.0)
    return Falsified(trials=tuple(trials))


def _known(bundle: Bundle, case: Case) -> Case:
    names = [c for c in bundle.contrasts if c in case.contrasts]
    return replace(case, contrasts={c: case.contrasts[c] for c in names})


def _seen(case: Case, slices: int) -> Case:
    """The case with brain and lesion on the slices alone that are looked at."""
    brain = stack_of(case, tuple(case.contrasts), most=slices).brain
    return replace(case, brain=brain, lesion=np.asarray(case.lesion) & brain)


def _scores(bundle: Bundle, case: Case, slices: int) -> dict[str, float]:
    names = tuple(case.contrasts)
    stack = stack_of(case, names, most=slices)
    wanted = tuple(c for c in bundle.contrasts if c not in names)[:1]
    expected, distance = 0.0, None
    if wanted:
        run = decode(bundle, stack, wanted, device="cpu", batch_slices=8, progress=lambda fraction: None)
        expected = float(run.error[0, 0])
        measure = None if bundle.calibration is None else bundle.calibration.distance
        if measure is not None:
            far = [measure(name, run.features[k]) for k, name in enumerate(names)]
            distance = max((value for value in far if value is not None), default=None)
    return scores_of(bundle, stack, float(case.spacing[0]), expected=expected, distance=distance)

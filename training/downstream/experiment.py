"""Does a synthetic contrast help who looks for lesions? Dice of the three arms on patients kept apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.archive import Case
from training.downstream.arms import Arm, arms_of, usable
from training.downstream.segmenter import dice, segment, train_segmenter
from training.errors import TrainingError
from training.evaluate.statistics import by_patient, estimate, wilcoxon_p
from training.peers import Method

#: Tested with synthetic slices by the segmenter that learned on real ones alone.
SWAPPED = "trained on real, tested with synthetic"


@dataclass(frozen=True, kw_only=True)
class Downstream:
    """Dice of every test case in every arm: `scores` is arm -> case -> one value a seed.

    `unseen`: test patients whose lesions none of the slices taken shows.
    """

    contrasts: tuple[str, ...]
    missing: str
    method: str
    patients: Mapping[str, str]
    scores: Mapping[str, Mapping[str, tuple[float, ...]]]
    trained_on: int
    steps: int
    seeds: tuple[int, ...]
    facts: Mapping[str, Any]
    unseen: int = 0

    def mean(self, arm: str) -> dict[str, float]:
        """patient -> Dice, mean over cases and seeds."""
        return by_patient([(self.patients[case], float(np.mean(v))) for case, v in self.scores[arm].items()])

    def gain(self) -> dict[str, Any]:
        """Synthetic against minus over patients, with interval and Wilcoxon; and what the scanned one would give."""
        with_, without, real = (self.mean(arm) for arm in (Arm.SYNTHETIC, Arm.MINUS, Arm.REAL))
        apart = {patient: with_[patient] - without[patient] for patient in with_}
        possible = float(np.mean([real[patient] - without[patient] for patient in real]))
        return {
            "difference": estimate(apart).to_json(), "p": wilcoxon_p(list(apart.values())), "possible": possible,
        }  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "missing": self.missing, "contrasts": list(self.contrasts), "method": self.method,
            "arms": {arm: estimate(self.mean(arm)).to_json() for arm in self.scores}, "gain": self.gain(),
            "cases": {arm: {case: list(v) for case, v in own.items()} for arm, own in self.scores.items()},
            "trained_on": self.trained_on, "steps": self.steps, "seeds": list(self.seeds),
            "not_checked": self.not_checked(), "facts": dict(self.facts),
        }  # fmt: skip

    def not_checked(self) -> list[str]:
        """What these figures do not cover."""
        people = len(set(self.patients.values()))
        out = [
            "The method may have been trained on the segmenter's training cases: its synthetic slices there are better "
            "than on strangers.",
            f"A segmenter of half a million parameters after {self.steps} steps is no radiologist.",
        ]
        if people < 6:
            out.append(f"{people} test patients: no difference can be significant at 0.05.")
        if self.unseen:
            out.append(
                f"{self.unseen} test patients do not count: no slice that was taken shows their lesion."
            )
        return out

    def words(self) -> list[str]:
        """The result for a person."""
        lines = [f"{arm:40} Dice {np.mean(list(self.mean(arm).values())):.3f}" for arm in self.scores]
        gain = self.gain()
        lines.append(
            f"Synthetic {self.missing} changes Dice by {gain['difference']['mean']:+.3f}; "
            f"the scanned one would by {gain['possible']:+.3f}."
        )
        return lines


def downstream(
    method: Method,
    training: Sequence[Case],
    test: Sequence[Case],
    contrasts: Sequence[str],
    missing: str,
    *,
    steps: int = 400,
    seeds: Sequence[int] = (1,),
    every: int = 1,
    size: int = 128,
    report: Callable[[str], None] = lambda line: None,
    progress: Callable[[str, int, int], None] = lambda stage, done, of: None,
    facts: Mapping[str, Any] | None = None,
) -> Downstream:
    """Train a segmenter per arm and seed on the training cases with lesions, and test it on the others.

    Args:
        contrasts: the channels, `missing` among them; cases that lack one are left out.
        every: take every n-th slice of a case.

    Raises:
        TrainingError: contrast: `missing` is not among the contrasts, or alone; too_small: too few cases have lesions.
    """
    if missing not in contrasts or len(contrasts) < 2:
        raise TrainingError(
            code="contrast", subject=missing, reason=f"it cannot be left out of {', '.join(contrasts)}",
            cure="Name one of at least two contrasts.",
        )  # fmt: skip
    learn, judge = usable(training, contrasts, "training", 2), usable(test, contrasts, "validation", 1)
    report(f"{len(learn)} cases to learn from, {len(judge)} to test on; making {missing}")
    taught, tested = (arms_of(cases, contrasts, missing, method, every) for cases in (learn, judge))
    # A stride may leave a case without a slice that shows its lesion.
    with_lesion = [one.case for one in taught[Arm.REAL] if one.truth.any()]
    shown = {one.case for one in tested[Arm.REAL] if one.truth.any()}
    if len(with_lesion) < 2 or not shown:
        raise TrainingError(
            code="too_small", subject=f"every {every}th slice",
            reason=f"{len(with_lesion)} of {len(learn)} training cases and {len(shown)} of {len(judge)} test cases "
            "still show a lesion; two and one are needed",
            cure="Take more slices: a lower --every",
        )  # fmt: skip
    scores: dict[str, dict[str, list[float]]] = {arm: {} for arm in (*Arm, SWAPPED)}
    for seed in seeds:
        for arm in Arm:
            stage = f"{arm}, seed {seed}"
            network = train_segmenter(
                [one for one in taught[arm] if one.case in with_lesion], steps=steps, seed=seed, size=size,
                progress=lambda step, of, stage=stage: progress(stage, step, of),  # type: ignore[misc]
            )  # fmt: skip
            jobs = [(str(arm), tested[arm])]
            if arm is Arm.REAL:
                jobs.append((SWAPPED, tested[Arm.SYNTHETIC]))
            for name, stacks in jobs:
                for one in stacks:
                    if one.truth.any():
                        scores[name].setdefault(one.case, []).append(dice(segment(network, one), one.truth))
                report(f"{name}, seed {seed}: Dice {np.mean([v[-1] for v in scores[name].values()]):.3f}")
    return Downstream(
        contrasts=tuple(contrasts),
        missing=missing,
        method=method.name,
        patients={case.name: case.patient_key for case in judge if case.name in shown},
        unseen=len({case.patient_key for case in judge} - {c.patient_key for c in judge if c.name in shown}),
        scores={arm: {case: tuple(v) for case, v in own.items()} for arm, own in scores.items()},
        trained_on=len(with_lesion),
        steps=steps,
        seeds=tuple(seeds),
        facts=facts or {},
    )

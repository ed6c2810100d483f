"""How often an identity module is right about real images of patients that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from model.identity import Identity, identity_probabilities
from training.archive import Case

#: They differ by what enhances, and most slices hold nothing that does.
KIN = {"T1", "T1C"}


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What `measure` found.

    Attributes:
        volumes, slices: share that is named rightly.
        kin: share of volumes named rightly when T1 and T1C, which look the same where nothing enhances, count as one.
        confusion: (true, said) -> number of volumes, the wrong ones only.
        own: contrast -> mean probability of the right answer over its volumes.
        count: contrast -> volumes.
    """

    volumes: float
    slices: float
    kin: float
    confusion: dict[tuple[str, str], int]
    own: dict[str, float]
    count: dict[str, int]

    @property
    def sentence(self) -> str:
        """One line for people."""
        wrong = ", ".join(f"{t} taken for {s} {n}x" for (t, s), n in sorted(self.confusion.items())) or "none"
        own = ", ".join(f"{c} {p:.2f} (n={self.count[c]})" for c, p in self.own.items())
        return (
            f"volumes right {self.volumes:.3f} of {sum(self.count.values())}, with T1 and T1C as one {self.kin:.3f}, "
            f"slices {self.slices:.3f}; "
            f"wrong: {wrong}; mean probability of the truth: {own}"
        )

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {
            "volumes": round(self.volumes, 4),
            "volumes_t1_t1c_as_one": round(self.kin, 4),
            "slices": round(self.slices, 4),
            "confusion": {f"{t} as {s}": n for (t, s), n in sorted(self.confusion.items())},
            "own_probability": {c: round(p, 4) for c, p in self.own.items()},
            "count": self.count,
        }


def measure(identity: Identity, cases: Sequence[Case]) -> Figures:
    """Volume by volume as `identity_probabilities` sees them, and slice by slice."""
    confusion: dict[tuple[str, str], int] = {}
    own: dict[str, list[float]] = {}
    right: list[bool] = []
    for case in cases:
        area = case.brain.sum(axis=(1, 2))
        fit = np.flatnonzero(area > 0.4 * area.max())
        fit = fit[np.unique(np.linspace(0, len(fit) - 1, min(12, len(fit))).round().astype(int))]
        for contrast, volume in case.contrasts.items():
            array = volume.astype(np.float32)
            p = identity_probabilities(identity, array, case.brain)
            said = max(p, key=lambda name: p[name])
            own.setdefault(contrast, []).append(p[contrast])
            if said != contrast:
                confusion[contrast, said] = confusion.get((contrast, said), 0) + 1
            with torch.inference_mode():
                logits = identity.logits(torch.from_numpy(array[fit] * case.brain[fit])[:, None])
            named = logits.argmax(dim=1) == identity.contrasts.index(contrast)
            right += [bool(v) for v in named]
    count = {c: len(v) for c, v in sorted(own.items())}
    total = sum(count.values())
    strangers = sum(n for (true, said), n in confusion.items() if {true, said} != KIN)
    return Figures(
        kin=1 - strangers / total,
        volumes=1 - sum(confusion.values()) / total,
        slices=float(np.mean(right)),
        confusion=confusion,
        own={c: float(np.mean(v)) for c, v in sorted(own.items())},
        count=count,
    )

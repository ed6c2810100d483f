"""The plan of a study: what is there, what is made of what, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Abilities:
    """What the model in force can do.

    `key_preference[source][target]` is the score in dB that this source alone reaches for this target; the
    key source of a target is the best of those present.
    """

    contrasts: tuple[str, ...]
    key_preference: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A finding about the whole study that needs a person: the study is held for it."""

    code: str
    words: str
    release: str


@dataclass(frozen=True, kw_only=True)
class TargetPlan:
    """The decision on one contrast: make, skip, refuse or hold, and the sentences for it."""

    contrast: str
    sources: tuple[str, ...]
    key: str | None
    decision: str
    reasons: tuple[str, ...]
    risk: str

    def to_json(self) -> dict[str, Any]:
        """The target as the stable JSON contract has it."""
        return {
            "contrast": self.contrast,
            "sources": list(self.sources),
            "key": self.key,
            "decision": self.decision,
            "reasons": list(self.reasons),
            "risk": self.risk,
        }


@dataclass(frozen=True, kw_only=True)
class SeriesRole:
    """What the plan does with one series; role is source, present, candidate, ignored or unusable."""

    series_uid: str
    role: str
    contrast: str | None
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The series as the stable JSON contract has it."""
        return {
            "series_uid": self.series_uid,
            "role": self.role,
            "contrast": self.contrast,
            "reasons": list(self.reasons),
        }


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Where the study goes: PLANNED, COMPLETE, HELD or REFUSED; `release` says what a person can do."""

    state: str
    code: str
    words: str
    release: str

    def to_json(self) -> dict[str, str]:
        """The verdict as the stable JSON contract has it."""
        return {"state": self.state, "code": self.code, "words": self.words, "release": self.release}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What will be made of a study and why; every series and every target has at least one sentence."""

    study_uid: str
    protocol: str
    present: Mapping[str, str]
    targets: tuple[TargetPlan, ...]
    series: tuple[SeriesRole, ...]
    reference: str | None
    verdict: Verdict

    @property
    def to_make(self) -> tuple[TargetPlan, ...]:
        """The targets whose decision is make."""
        return tuple(target for target in self.targets if target.decision == "make")

    def to_json(self) -> dict[str, Any]:
        """The plan as it is stored and printed (DESIGN: contracts that scripts rely on)."""
        return {
            "study_uid": self.study_uid,
            "protocol": self.protocol,
            "present": dict(self.present),
            "targets": [target.to_json() for target in self.targets],
            "reference": self.reference,
            "series": [role.to_json() for role in self.series],
            "verdict": self.verdict.to_json(),
        }

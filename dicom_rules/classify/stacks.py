"""Series that hold more than one stack: b-values, ADC beside trace, several echoes, magnitude beside phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from dicom_rules.classify.decide import Finding, decide
from dicom_rules.classify.facts import Facts, Sample, Spread, facts_of
from dicom_rules.classify.names import Names

USUAL_B_VALUE = 1000
MOST_STACKS = 24


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The stack that speaks for its series, what it shows, and how many stacks there are."""

    facts: Facts
    finding: Finding
    stacks: int


def choose(headers: Sequence[Dataset], samples: Sequence[Sample], names: Names) -> Choice:
    """Decide on every stack and take the one that shows a contrast, best first."""
    groups: dict[tuple[object, ...], list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.stack_key, []).append(sample)
    spread = Spread(
        echoes=len({key[0] for key in groups}),
        weighted_b_values=len({round(b, -1) for sample in samples if (b := sample.b_value or 0.0) > 5}),
    )
    largest = sorted(groups.values(), key=len, reverse=True)[:MOST_STACKS]
    candidates = []
    for members in largest:
        facts = facts_of(headers, members)
        candidates.append(Choice(facts=facts, finding=decide(facts, names, spread), stacks=len(groups)))
    return max(candidates, key=_worth)


def _worth(choice: Choice) -> tuple[bool, bool, float, float, int]:
    finding = choice.finding
    b_value = max(choice.facts.b_values, default=None)
    # Of several traces the one nearest to 1000 s/mm2 is the DWI of a report.
    nearness = -abs(b_value - USUAL_B_VALUE) if finding.contrast == "DWI" and b_value is not None else 0.0
    return (
        finding.contrast is not None,
        finding.contrast == "DWI",
        nearness,
        finding.confidence if finding.contrast is not None else 0.0,
        len(choice.facts.samples),
    )

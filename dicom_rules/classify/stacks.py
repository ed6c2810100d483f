"""Series that hold more than one stack: b-values, ADC beside trace, several echoes, magnitude beside phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydicom.dataset import Dataset

from dicom_rules.classify.decide import Finding, decide
from dicom_rules.classify.facts import Facts, Sample, Spread, facts_of
from dicom_rules.classify.names import Names
from dicom_rules.classify.types import StackClass
from dicom_rules.errors import GeometryError
from dicom_rules.geometry import check
from dicom_rules.reading import text

USUAL_B_VALUE = 1000
MOST_STACKS = 24


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One stack of a series: its facts, what it shows, and how it differs from the others."""

    facts: Facts
    finding: Finding
    label: str = ""


def stacks_of(headers: Sequence[Dataset], samples: Sequence[Sample], names: Names) -> tuple[Choice, ...]:
    """Every stack of the series (the largest MOST_STACKS), decided on; the one that speaks for it first."""
    groups: dict[tuple[object, ...], list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.stack_key, []).append(sample)
    spread = Spread(
        echoes=len({key[0] for key in groups}),
        weighted_b_values=len({round(b, -1) for sample in samples if (b := sample.b_value or 0.0) > 5}),
    )
    largest = sorted(groups.values(), key=len, reverse=True)[:MOST_STACKS]
    found = []
    for members in largest:
        facts = facts_of(headers, members)
        found.append(Choice(facts=facts, finding=decide(facts, names, spread)))
    ordered = sorted(found, key=_worth, reverse=True)
    if len(ordered) == 1:
        return tuple(ordered)
    shared = _common_words(ordered)
    return tuple(replace(one, label=_label(one.facts, ordered, shared)) for one in ordered)


def of_contrast(choices: Sequence[Choice], contrast: str | None) -> Choice:
    """The best stack of that contrast, or the one that speaks for the series where none shows it."""
    return next((one for one in choices if contrast and one.finding.contrast == contrast), choices[0])


@dataclass(frozen=True, kw_only=True)
class StackImages:
    """The images of one stack as `geometry.to_volume` takes them: its objects, and the frames to take of them."""

    instances: tuple[Dataset, ...]
    only: frozenset[tuple[str, int]] | None
    """(SOP Instance UID, frame number); None where the objects belong to the stack as a whole."""


def images_of(headers: Sequence[Dataset], choice: Choice) -> StackImages:
    """The objects of a stack among the headers of its series, in their order."""
    samples = choice.facts.samples
    owners = sorted({sample.owner for sample in samples})
    uids = {owner: text(headers[owner], "SOPInstanceUID") for owner in owners}
    frames = frozenset((uids[sample.owner], sample.frame) for sample in samples if sample.frame is not None)
    return StackImages(instances=tuple(headers[owner] for owner in owners), only=frames or None)


def stack_classes(headers: Sequence[Dataset], choices: Sequence[Choice]) -> tuple[StackClass, ...]:
    """What is shown of each stack of a mixed series; empty for a series of one stack."""
    if len(choices) < 2:
        return ()
    return tuple(_stack_class(headers, one, first=one is choices[0]) for one in choices)


def _stack_class(headers: Sequence[Dataset], one: Choice, *, first: bool) -> StackClass:
    finding = one.finding
    usable = finding.contrast is not None and finding.unusable is None
    evidence = finding.evidence
    # The geometry of the first stack is that of the series, and is judged with it.
    problem = _geometry_problem(headers, one) if usable and not first else ""
    if problem:
        usable, evidence = False, (*evidence, problem)
    return StackClass(
        label=one.label,
        images=len(one.facts.samples),
        contrast=finding.contrast,
        kind=finding.kind,
        confidence=round(finding.confidence, 3),
        usable=usable,
        evidence=evidence,
        speaks=first,
    )


def _geometry_problem(headers: Sequence[Dataset], one: Choice) -> str:
    images = images_of(headers, one)
    try:
        check(images.instances, only=images.only)
    except GeometryError as error:
        return f"no volume: {error.subject}: {error.reason}"
    return ""


def _common_words(choices: Sequence[Choice]) -> frozenset[str]:
    return frozenset.intersection(*(frozenset(one.facts.image_type) for one in choices))


def _label(facts: Facts, choices: Sequence[Choice], shared: frozenset[str]) -> str:
    parts: list[str] = []
    if len({one.facts.echo_times for one in choices}) > 1:
        parts.append(f"TE {facts.echo_time:g} ms" if facts.echo_time is not None else "no echo time")
    if len({one.facts.b_values for one in choices}) > 1:
        highest = max(facts.b_values, default=None)
        parts.append(f"b = {highest:.0f} s/mm2" if highest is not None else "no b-value")
    if len({one.facts.component for one in choices}) > 1:
        parts.append(facts.component.lower() or "part of the signal not stated")
    own = [word for word in facts.image_type if word not in shared]
    if len({one.facts.image_type for one in choices}) > 1:
        parts.append("ImageType " + ("\\".join(own) if own else "without further words"))
    return ", ".join(parts)


def _worth(choice: Choice) -> tuple[bool, bool, bool, float, float, int]:
    finding = choice.finding
    b_value = max(choice.facts.b_values, default=None)
    if finding.contrast is None:
        # Where none shows a contrast, the weighted images say more of the series than those at b=0.
        return False, finding.unusable is None, False, b_value or 0.0, 0.0, len(choice.facts.samples)
    # Of several traces the one nearest to 1000 s/mm2 is the DWI of a report.
    nearness = -abs(b_value - USUAL_B_VALUE) if finding.contrast == "DWI" and b_value is not None else 0.0
    return (
        True,
        finding.unusable is None,
        finding.contrast == "DWI",
        nearness,
        finding.confidence,
        len(choice.facts.samples),
    )

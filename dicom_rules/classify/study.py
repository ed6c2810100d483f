"""What the series of one study say about each other: the body part, and who came after the contrast agent.

One series often leaves out what its neighbour states. Nothing stated is overruled here: a series that says itself
that it is a head or a spine, or that an agent was or was not given, keeps its word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from dicom_rules.classify.agent import with_and_without
from dicom_rules.classify.types import SeriesClass

BY_ORDER, BY_TWIN = 0.85, 0.75
"""How much of its confidence a T1 keeps when its agent is known from the order of the scans alone: after a series that
states an agent, or after its own twin in a study of which an agent is only known from its name."""

_TIME = re.compile(r"^(\d{8})(\d{2})(\d{2})(\d{2})?(\.\d{1,6})?")


def in_their_study(classes: Sequence[SeriesClass]) -> tuple[SeriesClass, ...]:
    """The classes of one study, each in the light of the others; same length, same order.

    A series whose body part nothing states is taken as a head where its study states a head and nothing else, and
    is then usable and given its contrast again if that was withheld. A T1 of which no agent is stated becomes T1C
    when it was acquired after a series that states one, or after its twin (same TR, TE, TI, flip angle and plane)
    in a study with agent.
    """
    return tuple(_with_agent_by_order(one, classes) for one in _as_heads(classes))


def time_of(one: SeriesClass) -> float | None:
    """Seconds on the clock of the acquisition, for comparing series of one study; None where it is not stated."""
    found = _TIME.match(one.acquired_at.strip())
    if found is None:
        return None
    day, hours, minutes, seconds, fraction = found.groups()
    return (int(day) * 24 + int(hours)) * 3600 + int(minutes) * 60 + int(seconds or 0) + float(fraction or 0)


def are_twins(one: SeriesClass, other: SeriesClass) -> bool:
    """Two scans of the same protocol: equal timing and plane, equal slices where both state them."""
    if one.timing is None or other.timing is None or one.series_uid == other.series_uid:
        return False
    thick = (one.slice_thickness_mm, other.slice_thickness_mm)
    same_slices = None in thick or abs((thick[0] or 0) - (thick[1] or 0)) <= 0.1
    return one.plane == other.plane and same_slices and one.timing.is_twin_of(other.timing)


def _as_heads(classes: Sequence[SeriesClass]) -> list[SeriesClass]:
    stated = [one for one in classes if one.head is not None and one.modality == "MR"]
    if not stated or any(one.head is False for one in stated):
        return list(classes)
    witness = min(stated, key=lambda one: one.series_uid)
    sentence = f"Another series of the study ({_named(witness)}) states a head"
    return [_as_head(one, sentence) if one.head is None and one.modality == "MR" else one for one in classes]


def _as_head(one: SeriesClass, sentence: str) -> SeriesClass:
    contrast = one.contrast or one.withheld
    if contrast is None:
        return replace(one, head=True)
    freed = one.unusable_because == "body_part_unstated"
    return replace(
        one,
        head=True,
        contrast=contrast,
        withheld=None,
        confidence=max(one.confidence, 0.8) if one.withheld else one.confidence,
        usable=one.usable or freed,
        unusable_because=None if freed else one.unusable_because,
        evidence=(*one.evidence, f"{sentence}."),
    )


def _with_agent_by_order(one: SeriesClass, classes: Sequence[SeriesClass]) -> SeriesClass:
    began = time_of(one)
    if one.contrast != "T1" or one.agent is not None or began is None:
        return one
    others = [(when, other) for other in classes if (when := time_of(other)) is not None and other is not one]
    given = [(when, other) for when, other in others if other.agent is True]
    before = [(when, other) for when, other in given if when < began]
    if before:
        _, first = min(before, key=lambda pair: (pair[0], pair[1].series_uid))
        return _after_agent(
            one, BY_ORDER, f"It was acquired after {_named(first)}, which states a contrast agent: T1C"
        )
    if given:
        return replace(
            one,
            agent=False,
            evidence=(*one.evidence, "It was acquired before the first series that states a contrast agent."),
        )
    twin = next(
        (
            other
            for when, other in sorted(others, key=lambda pair: pair[0])
            if _precedes(other, when, one, began)
        ),
        None,
    )
    if twin is None:
        return one
    words = with_and_without((*one.procedure_words, one.study_description))
    if words:
        return _after_agent(
            one,
            BY_TWIN,
            f'It repeats {_named(twin)} with the same parameters, and the study is named "{words}": T1C',
        )
    return replace(
        one,
        evidence=(
            *one.evidence,
            f"It repeats {_named(twin)} with the same parameters; nothing says whether an agent was given between.",
        ),
    )


def _precedes(other: SeriesClass, when: float, one: SeriesClass, began: float) -> bool:
    return when < began and other.contrast == "T1" and not one.repeat and are_twins(one, other)


def _after_agent(one: SeriesClass, share: float, sentence: str) -> SeriesClass:
    return replace(
        one,
        contrast="T1C",
        agent=True,
        confidence=round(one.confidence * share, 3),
        evidence=(*one.evidence, f"{sentence}."),
    )


def _named(one: SeriesClass) -> str:
    return f'"{one.description}"' if one.description else f"series {one.series_uid}"

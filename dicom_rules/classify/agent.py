"""Was a contrast agent on board? By the agent's attributes, then by the names of the series."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from dicom_rules.classify.facts import Facts
from dicom_rules.classify.names import Names
from dicom_rules.reading import first_item, items, number, text

_NOT_GIVEN = re.compile(
    r"^(none|no|nil|n|n/?a|na|not|0+([.,]0+)?\s*(ml|cc)?|-+|\*+|without.*|no contrast.*|non contrast.*|pre.*|ohne.*|"
    r"sans.*|senza.*|sin .*|nativ.*|unknown|false|nessuno|keine?s?|aucun)$",
    re.IGNORECASE,
)


_WITH_AND_WITHOUT = re.compile(
    r"\b(w(ith)?|mit|con|avec|com)\s?(and|und|e|y|et|&|/|\+)?\s?(w\s?/?o|without|ohne|senza|sin|sans|sem)\b"
    r"|\b(w\s?/?o|without|ohne|senza|sin|sans|sem)\b.{0,20}\b(w(ith)?|mit|con|avec|com)\b"
    r"|平扫\s?[+及和]\s?增强|造影前後|単純\s?[+・]\s?造影|조영\s?전후",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Agent:
    """`given` is None where nothing is said; the sentence is empty then."""

    given: bool | None
    sentence: str


def agent_of(facts: Facts, names: Names) -> Agent:
    """Whether an agent was given before this series. An empty or "no" agent counts as none."""
    stated = stated_agent(facts)
    if stated.given is not None:
        return stated
    if names.agent_none:
        return Agent(
            given=False, sentence=f'The name says "{names.agent_none}": before or without contrast agent'
        )
    if names.agent_given:
        return Agent(given=True, sentence=f'The name says "{names.agent_given}": after contrast agent')
    comment = text(facts.header, "ImageComments")
    if re.search(r"\b(post|after)[ -]?(contrast|gd|gad)", comment, re.IGNORECASE):
        return Agent(given=True, sentence="Image Comments say that it was taken after contrast agent")
    return Agent(given=None, sentence="")


def stated_agent(facts: Facts) -> Agent:
    """The same by the attributes of the agent alone, for series whose names say nothing reliable about it."""
    header = facts.header
    shared = first_item(header, "SharedFunctionalGroupsSequence")
    usage = first_item(shared, "ContrastBolusUsageSequence") if shared else None
    administered = text(usage, "ContrastBolusAgentAdministered").upper() if usage else ""
    if administered in ("YES", "NO"):
        return Agent(given=administered == "YES", sentence=f"Contrast agent administered: {administered}")
    stated = text(header, "ContrastBolusAgent")
    if stated:
        if _NOT_GIVEN.match(stated):
            return Agent(given=False, sentence=f'Contrast agent "{stated}" means none')
        return Agent(given=True, sentence="Contrast/Bolus Agent (0018,0010) is stated")
    for sequence in items(header, "ContrastBolusAgentSequence"):
        meaning = text(sequence, "CodeMeaning")
        if meaning and not _NOT_GIVEN.match(meaning):
            return Agent(given=True, sentence=f"Contrast/Bolus Agent Sequence names {meaning}")
    volume = number(header, "ContrastBolusVolume")
    if volume is not None and volume > 0:
        return Agent(given=True, sentence=f"Contrast/Bolus Volume is {volume:g} ml")
    return Agent(given=None, sentence="")


def with_and_without(names: Iterable[str]) -> str:
    """The words of a study's names that say it was scanned without and then with an agent; empty when none do."""
    for name in names:
        found = _WITH_AND_WITHOUT.search(name.replace("_", " "))
        if found:
            return found.group(0)
    return ""

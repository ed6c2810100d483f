"""One stack of images -> its contrast, or None: provenance, then diffusion, then timing, names last."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dicom_rules.classify.agent import Agent, agent_of
from dicom_rules.classify.diffusion import diffusion, is_diffusion
from dicom_rules.classify.facts import Facts, Spread
from dicom_rules.classify.names import Names
from dicom_rules.classify.physics import Reading, family_of, fits, weighting
from dicom_rules.classify.provenance import Provenance, computed, of_other_kind

SURE, UNSURE = 0.9, 0.3
NAMED = 0.6
AGREEMENT = 0.04
TIME_POINTS = 3
"""So many images of one kind at one position are time points of a dynamic series."""
DISAGREEMENT = 0.7

STRUCTURAL = ("T1", "T2", "FLAIR", "PD")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a stack is; `unusable` is a reason code where it may show a contrast but never serve as a source."""

    contrast: str | None
    kind: str
    confidence: float
    evidence: tuple[str, ...]
    unusable: str | None = None
    agent: bool | None = None


def decide(facts: Facts, names: Names, spread: Spread) -> Finding:
    """Weigh the evidence of one stack; `spread` tells what else its series holds."""
    origin = computed(facts)
    weighted = is_diffusion(facts, names)
    if weighted and (origin is None or origin.contrast_stands):
        reading = diffusion(facts, names, spread)
        # ADC and trace are always computed from other images; only a reformat of them is not theirs any more.
        reformatted = bool(facts.roles & {"reformat", "projection"})
        return _finding(reading, origin if reformatted else None, agent=None)
    if origin is not None and not origin.contrast_stands:
        return _of_kind(origin)
    other = of_other_kind(facts)
    if other is not None:
        return _of_kind(other)
    reading = _with_names(facts, names, weighting(facts, series_echoes=spread.echoes))
    repeats = facts.images_at_one_place
    if reading.contrast is not None and max(repeats, facts.time_points) >= TIME_POINTS:
        why = (
            f"{repeats} images lie at each position"
            if repeats >= TIME_POINTS
            else f"{facts.time_points} temporal positions are stated"
        )
        reading = Reading(
            contrast=None,
            confidence=SURE,
            kind="perfusion",
            sentence=f"{reading.sentence}; but {why}: a dynamic series",
        )
    agent = agent_of(facts, names)
    return _finding(_with_agent(reading, agent), origin, agent=agent.given)


def _with_names(facts: Facts, names: Names, reading: Reading) -> Reading:
    veto = _veto(facts, names, reading)
    if veto is not None:
        return veto
    named = named_contrast(names)
    if named is None:
        return reading
    contrast, word = named
    if contrast == reading.contrast:
        return replace(
            reading,
            confidence=min(reading.confidence + AGREEMENT, 0.99),
            sentence=f'{reading.sentence}; the name agrees ("{word}")',
        )
    if reading.open_to_names and fits(facts, contrast):
        return replace(
            reading,
            contrast=contrast,
            confidence=NAMED,
            sentence=f'{reading.sentence}; the name "{word}" decides for {contrast}',
        )
    if reading.contrast is None:
        return reading
    return replace(
        reading,
        confidence=reading.confidence * DISAGREEMENT,
        sentence=f'{reading.sentence}; the name says "{word}", but a name never outvotes the timing',
    )


def _veto(facts: Facts, names: Names, reading: Reading) -> Reading | None:
    """Names of another kind make us abstain: timing alone cannot tell a scout or an angiogram from a T1."""
    structural = family_of(facts) in ("spin_echo", "gradient_echo") and reading.contrast is not None
    for kind, word in names.kinds.items():
        if structural and kind in ("diffusion", "functional") and reading.confidence >= 0.85:
            # "FA 15" or "REST slab" in the name of a turbo spin echo is no diffusion or resting-state scan.
            continue
        return Reading(
            contrast=None,
            confidence=SURE,
            kind=kind,
            sentence=f'{reading.sentence}; but the name says "{word}": {kind}',
        )
    return None


def named_contrast(names: Names) -> tuple[str, str] | None:
    """The one structural contrast that the names suggest, with the word; None when they suggest none or several."""
    found = {contrast: word for contrast, word in names.contrasts.items() if contrast in STRUCTURAL}
    if "FLAIR" in found and "T1" not in found:
        return "FLAIR", found["FLAIR"]
    if "FLAIR" in found:
        # "T1 FLAIR" is an inversion-recovery T1.
        found.pop("FLAIR")
    if "PD" in found and "T2" in found:
        found.pop("PD")
    return next(iter(found.items())) if len(found) == 1 else None


def _with_agent(reading: Reading, agent: Agent) -> Reading:
    if reading.contrast != "T1" or not agent.sentence:
        return reading
    return replace(
        reading, contrast="T1C" if agent.given else "T1", sentence=f"{reading.sentence}. {agent.sentence}"
    )


def _finding(reading: Reading, origin: Provenance | None, *, agent: bool | None) -> Finding:
    evidence = [reading.sentence]
    if origin is not None:
        evidence.insert(0, origin.sentence)
    kind = origin.kind if origin is not None else reading.kind
    if reading.contrast is None:
        return Finding(
            contrast=None,
            kind=kind,
            confidence=reading.confidence or (UNSURE if reading.open_to_names else 0.7),
            evidence=tuple(evidence),
            unusable=origin.reason if origin is not None else _reason(reading.kind),
            agent=agent,
        )
    return Finding(
        contrast=reading.contrast,
        kind=kind,
        confidence=reading.confidence,
        evidence=tuple(evidence),
        unusable=origin.reason if origin is not None else None,
        agent=agent,
    )


def _of_kind(origin: Provenance) -> Finding:
    return Finding(
        contrast=None, kind=origin.kind, confidence=0.95, evidence=(origin.sentence,), unusable=origin.reason
    )


def _reason(kind: str) -> str:
    return kind if kind in ("localizer", "derived", "synthetic") else "no_contrast"

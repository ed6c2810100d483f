"""The door of the room: series classes, the model's abilities and the site's rules -> the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dicom_rules import CONTRASTS
from dicom_rules.classify import SeriesClass, normalised
from dicom_rules.protocols.candidates import rank, why_not
from dicom_rules.protocols.rules import Examination, PlanRules, Protocol
from dicom_rules.protocols.sources import key_of, reference_for, sources_for
from dicom_rules.protocols.types import Abilities, Plan, Problem, SeriesRole, TargetPlan
from dicom_rules.protocols.verdict import verdict_of


def plan(
    classes: Sequence[SeriesClass],
    *,
    abilities: Abilities,
    rules: PlanRules,
    problems: Sequence[Problem] = (),
) -> Plan:
    """Say for every series what it is used for and for every contrast whether it is made, with the reasons.

    `problems` are findings about the whole study that need a person; with any of them the study is held. The
    classes are those of one study, in any order: the plan does not depend on it.
    """
    ordered = sorted(classes, key=lambda one: (one.acquired_at, one.series_uid))
    problems = (*problems, *_doubts(ordered))
    protocol, why_protocol = _protocol_for(ordered, rules)
    present, roles = _take_stock(ordered, rules)
    drafts = [_target(contrast, present, ordered, protocol, abilities, rules) for contrast in CONTRASTS]
    targets = [_held(target, problems) for target in drafts] if problems else drafts
    to_make = [target for target in targets if target.decision == "make"]
    reference: str | None = None
    if to_make:
        reference, targets = _with_reference(targets, to_make, present)
    return Plan(
        study_uid=ordered[0].study_uid if ordered else "",
        protocol=protocol.name,
        present={contrast: present[contrast].series_uid for contrast in CONTRASTS if contrast in present},
        targets=tuple(targets),
        series=tuple(_with_use(roles[one.series_uid], to_make, present) for one in ordered),
        reference=reference,
        verdict=verdict_of(ordered, targets, protocol, why_protocol, problems),
    )


def _doubts(classes: Sequence[SeriesClass]) -> list[Problem]:
    """Series of which headers and images say different things: whoever is right, a person has to say."""
    return [
        Problem(
            code="image_disagrees",
            words=f"series {_label(one)}: {one.doubt[:1].lower()}{one.doubt[1:]}",
            release="Say what the series is with a rule in classification.overrides, then retry the study",
        )
        for one in classes
        if one.doubt and one.usable
    ]


def _protocol_for(classes: Sequence[SeriesClass], rules: PlanRules) -> tuple[Protocol, str]:
    examination = _examination(classes)
    special = [protocol for protocol in rules.protocols if not protocol.takes_every_study]
    general = [protocol for protocol in rules.protocols if protocol.takes_every_study]
    for protocol in (*special, *general):
        why = protocol.called_by(examination)
        if why:
            return protocol, why
    # A site's own file may hold special examinations only; what is allowed is then what is expected.
    return Protocol(
        name="none", expects=rules.allowed
    ), "no protocol fits, so the allowed contrasts are expected"


def _examination(classes: Sequence[SeriesClass]) -> Examination:
    texts = {
        text
        for one in classes
        for text in (one.study_description, one.protocol_name, one.description, *one.procedure_words)
        if text
    }
    return Examination(
        names=f" {' '.join(normalised(text) for text in sorted(texts))} ",
        codes=frozenset(code for one in classes for code in one.procedure_codes),
        body_parts=frozenset(one.body_part.upper() for one in classes if one.body_part),
        sites=tuple(sorted({site for one in classes for site in (one.station, one.institution) if site})),
    )


def _take_stock(
    classes: Sequence[SeriesClass], rules: PlanRules
) -> tuple[dict[str, SeriesClass], dict[str, SeriesRole]]:
    present: dict[str, SeriesClass] = {}
    roles: dict[str, SeriesRole] = {}
    candidates: dict[str, list[SeriesClass]] = {}
    for one in classes:
        reason = why_not(one, rules) if one.usable else ""
        if not one.usable:
            roles[one.series_uid] = _role(one, "unusable" if one.contrast else "ignored", *one.evidence)
        elif reason:
            roles[one.series_uid] = _role(
                one, "unusable", f"Not used for {one.contrast}: {reason}.", *one.evidence
            )
        else:
            for shown in _contrasts_of(one):
                candidates.setdefault(str(shown.contrast), []).append(shown)
    for contrast in (name for name in CONTRASTS if name in candidates):
        found = candidates[contrast]
        ranked = rank(found)
        present[contrast] = ranked.best
        chosen = f"Counts as {contrast}" + (
            f", the best of {len(found)} candidates." if len(found) > 1 else "."
        )
        _give(roles, ranked.best, "present", chosen)
        for other, why in ranked.others:
            preferred = f'series "{ranked.best.description}"' if ranked.best.description else "another series"
            _give(
                roles,
                other,
                "candidate",
                f"Shows {contrast} as well, but {preferred} is preferred: {why}.",
            )
    return present, roles


def _contrasts_of(one: SeriesClass) -> list[SeriesClass]:
    """The series once for each contrast that its stacks show (ADC beside the trace), its own first."""
    found = [one]
    for stack in one.stacks:
        if stack.usable and stack.contrast not in {other.contrast for other in found}:
            found.append(
                replace(
                    one,
                    contrast=stack.contrast,
                    kind=stack.kind,
                    confidence=stack.confidence,
                    evidence=(f"Stack of {stack.label}.", *stack.evidence),
                )
            )
    return found


def _give(roles: dict[str, SeriesRole], shown: SeriesClass, role: str, sentence: str) -> None:
    """Note what a series is good for; one that counts for two contrasts keeps the role of the first."""
    known = roles.get(shown.series_uid)
    if known is None:
        roles[shown.series_uid] = _role(shown, role, sentence, *shown.evidence)
        return
    better = known.role == "candidate" and role == "present"
    roles[shown.series_uid] = replace(
        known,
        role=role if better else known.role,
        contrast=shown.contrast if better else known.contrast,
        reasons=(known.reasons[0], sentence, *known.reasons[1:], *shown.evidence),
    )


def _target(
    contrast: str,
    present: Mapping[str, SeriesClass],
    classes: Sequence[SeriesClass],
    protocol: Protocol,
    abilities: Abilities,
    rules: PlanRules,
) -> TargetPlan:
    high = contrast in rules.high_risk
    expected = contrast in protocol.expects

    def decided(
        decision: str, *reasons: str, sources: tuple[str, ...] = (), key: str | None = None
    ) -> TargetPlan:
        return TargetPlan(
            contrast=contrast,
            sources=sources,
            key=key,
            decision=decision,
            reasons=tuple(reason.rstrip(".") + "." for reason in reasons),
            risk="high" if high else "standard",
        )

    if contrast in present:
        return decided("skip", f"{contrast} is present: series {_label(present[contrast])}")
    missing = f"{contrast} is missing" + (f" and the {protocol.name} protocol expects it" if expected else "")
    if contrast not in rules.allowed:
        if high:
            return decided(
                "refuse",
                missing,
                f"Making {contrast} is a high risk and not enabled; a site enables it by naming {contrast} in "
                "targets.allowed",
            )
        return decided(
            "refuse" if expected else "skip",
            missing,
            f"The site does not allow {contrast}: it is not in targets.allowed",
        )
    if contrast not in abilities.contrasts:
        return decided("refuse", missing, f"The model in force cannot make {contrast}")
    maybe = next((one for one in classes if one.named == contrast), None)
    if maybe is not None:
        return decided(
            "hold",
            f"{contrast} may be present: series {_label(maybe)} is named so, but its headers do not confirm it",
            "Say what the series is with a rule in classification.overrides, then retry the study",
        )
    sources = sources_for(contrast, present, abilities, protocol.sources.get(contrast, CONTRASTS))
    lacking = [one for one in protocol.requires.get(contrast, ()) if one not in sources]
    if lacking:
        return decided(
            "refuse",
            missing,
            f"The {protocol.name} protocol makes {contrast} only with {' and '.join(lacking)}, which is not there",
        )
    if len(sources) < rules.min_sources or not sources:
        what = "no source is present" if not sources else f"only {', '.join(sources)} is present"
        return decided(
            "refuse", missing, f"It cannot be made: {what}, at least {max(rules.min_sources, 1)} is needed"
        )
    key, why_key = key_of(contrast, sources, abilities)
    risk = (f"{contrast} is a high-risk contrast and was enabled in targets.allowed",) if high else ()
    return decided(
        "make", missing, f"Made from {' and '.join(sources)}", why_key, *risk, sources=sources, key=key
    )


def _with_reference(
    targets: Sequence[TargetPlan], to_make: Sequence[TargetPlan], present: Mapping[str, SeriesClass]
) -> tuple[str, list[TargetPlan]]:
    """One grid for all results of a study; a source of every target, so that none needs what it may not use."""
    shared = [source for source in CONTRASTS if all(source in target.sources for target in to_make)]
    first = to_make[0]
    keys = [target.key for target in to_make if target.key in shared]
    key = keys[0] if keys else (shared[0] if shared else first.key)
    reference, sentence = reference_for(str(key), shared or first.sources, present)
    return reference, [
        _adding(target, f"{sentence}.") if target.decision == "make" else target for target in targets
    ]


def _with_use(
    role: SeriesRole, to_make: Sequence[TargetPlan], present: Mapping[str, SeriesClass]
) -> SeriesRole:
    if role.role != "present":
        return role
    shown = [contrast for contrast, one in present.items() if one.series_uid == role.series_uid]
    used = [target.contrast for target in to_make if any(one in target.sources for one in shown)]
    if not used:
        return role
    return replace(role, role="source", reasons=(f"Source for {' and '.join(used)}.", *role.reasons))


def _held(target: TargetPlan, problems: Sequence[Problem]) -> TargetPlan:
    if target.decision != "make":
        return target
    held = replace(target, decision="hold")
    for problem in problems:
        held = _adding(held, f"Held: {problem.words.rstrip('.')}.")
    return held


def _adding(target: TargetPlan, sentence: str) -> TargetPlan:
    return replace(target, reasons=(*target.reasons, sentence))


def _role(one: SeriesClass, role: str, *reasons: str) -> SeriesRole:
    return SeriesRole(series_uid=one.series_uid, role=role, contrast=one.contrast, reasons=reasons)


def _label(one: SeriesClass) -> str:
    return f'"{one.description}"' if one.description else one.series_uid

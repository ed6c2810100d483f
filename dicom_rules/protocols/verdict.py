"""Where a planned study goes: PLANNED, COMPLETE, HELD or REFUSED, in words a person can act on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dicom_rules.classify import SeriesClass
from dicom_rules.protocols.rules import Protocol
from dicom_rules.protocols.types import Problem, TargetPlan, Verdict

NO_SOURCE_WORDS = {
    "not_head": "not a head",
    "synthetic": "synthetic",
    "derived": "derived from other images",
    "localizer": "a localizer",
    "blank_pixels": "blank (all pixels have one value)",
    "geometry": "no regular volume",
    "not_mr": "not MR",
    "not_magnitude": "phase or another part of the signal",
    "not_an_image": "no image",
    "unreadable": "not readable",
    "body_part_unstated": "not said to be a head by anything in their headers",
    "image_disagrees": "contradicted by their images",
    "no_contrast": "none of the contrasts, or not recognised with certainty",
}


def verdict_of(
    classes: Sequence[SeriesClass],
    targets: Sequence[TargetPlan],
    protocol: Protocol,
    why_protocol: str,
    problems: Sequence[Problem],
) -> Verdict:
    """The state that follows from the decisions, with code, words and what a person can do."""
    if problems:
        first = problems[0]
        words = "; ".join(problem.words.rstrip(".") for problem in problems)
        return Verdict(state="HELD", code=first.code, words=words, release=first.release)
    if not any(one.usable for one in classes):
        return _no_source(classes)
    made = [target for target in targets if target.decision == "make"]
    if made:
        parts = [f"{target.contrast} from {' and '.join(target.sources)}" for target in made]
        words = f"{', '.join(parts)} ({protocol.name} protocol: {why_protocol})"
        return Verdict(state="PLANNED", code="planned", words=words, release="")
    held = [target for target in targets if target.decision == "hold"]
    if held:
        return Verdict(
            state="HELD",
            code="uncertain",
            words=held[0].reasons[0].rstrip("."),
            release=held[0].reasons[-1].rstrip("."),
        )
    refused = [
        target for target in targets if target.decision == "refuse" and target.contrast in protocol.expects
    ]
    if refused:
        first_refused = refused[0]
        high = first_refused.risk == "high" and "targets.allowed" in first_refused.reasons[-1]
        return Verdict(
            state="REFUSED",
            code="high_risk" if high else "cannot_make",
            words=" ".join(first_refused.reasons).rstrip("."),
            release=f"Name {first_refused.contrast} in targets.allowed and send the study again"
            if high
            else "",
        )
    expected = ", ".join(protocol.expects)
    return Verdict(
        state="COMPLETE",
        code="nothing_missing",
        words=f"nothing is missing: the {protocol.name} protocol expects {expected} ({why_protocol})",
        release="",
    )


def _no_source(classes: Sequence[SeriesClass]) -> Verdict:
    reasons = Counter(one.unusable_because or "no_contrast" for one in classes)
    if not reasons:
        return Verdict(
            state="REFUSED",
            code="no_series",
            words="the study holds no series",
            release="Send the images of the study",
        )
    code = reasons.most_common(1)[0][0]
    # A study of blank or non-head images is told as such, even where localizers outnumber them.
    code = next((telling for telling in ("blank_pixels", "not_head") if reasons[telling]), code)
    parts = [f"{count} {NO_SOURCE_WORDS.get(reason, reason)}" for reason, count in reasons.most_common()]
    words = f"no series can serve as a source; of {len(classes)} series: {', '.join(parts)}"
    if len(classes) == 1:
        only = classes[0]
        last = only.unusable_because in ("geometry", "blank_pixels")
        words = f"its one series cannot serve as a source: {only.evidence[-1 if last else 0].rstrip('.')}"
    return Verdict(
        state="REFUSED",
        code=code,
        words=words,
        release="Send a T1, T2 or FLAIR series of the head, or say what a series is in classification.overrides",
    )

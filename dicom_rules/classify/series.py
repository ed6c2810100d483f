"""The door of the room: the headers of one series -> its class with the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pydicom.dataset import Dataset

from dicom_rules import CONTRASTS
from dicom_rules.classify.agent import stated_agent
from dicom_rules.classify.anatomy import judged_by_sequence
from dicom_rules.classify.body import BodyPart, body_part_of
from dicom_rules.classify.decide import Finding, named_contrast
from dicom_rules.classify.facts import Facts, facts_of, samples_of
from dicom_rules.classify.layout import Layout, acquired_at, layout_of
from dicom_rules.classify.names import Names, names_of
from dicom_rules.classify.provenance import (
    not_an_mr_image,
    series_words,
    several_planes,
    synthetic,
)
from dicom_rules.classify.request import procedure_codes, procedure_words
from dicom_rules.classify.rules import ClassifyRules, Override
from dicom_rules.classify.stacks import StackImages, images_of, of_contrast, stack_classes, stacks_of
from dicom_rules.classify.types import SeriesClass, StackClass, Timing
from dicom_rules.errors import ClassifyError
from dicom_rules.reading import distinct, text, tolerant

DOUBTFUL_BODY_PART = 0.85
UNSTATED_BODY_PART = 0.95


@tolerant
def classify(
    headers: Sequence[Dataset],
    *,
    pixels_blank: bool | None = None,
    geometry_problem: str | None = None,
    overrides: ClassifyRules | None = None,
) -> SeriesClass:
    """Say which contrast the series of these headers shows, and whether it may be used.

    `pixels_blank` is True when the pixels were read and hold nothing, None when they were not read;
    `geometry_problem` is the sentence of the GeometryError, where there was one. Raises ClassifyError when the
    headers are empty or of several series.
    """
    _one_series(headers)
    own, wider = series_words(headers)
    names = names_of(own, wider_names=wider)
    samples = samples_of(headers)
    body = body_part_of(headers[0], names)
    artificial = synthetic(headers)
    origin = artificial or not_an_mr_image(headers[0]) or several_planes(samples)
    override = overrides.override_for(headers[0]) if overrides is not None else None
    stacks: tuple[StackClass, ...] = ()
    label = ""
    if origin is not None:
        facts = facts_of(headers, samples)
        finding = Finding(
            contrast=None,
            kind=origin.kind,
            confidence=0.98,
            evidence=(origin.sentence,),
            unusable=origin.reason,
        )
    else:
        choices = stacks_of(headers, samples, names)
        facts, finding, label = choices[0].facts, choices[0].finding, choices[0].label
        stacks = stack_classes(headers, choices)
    layout = layout_of(facts)
    withheld: str | None = None
    if override is not None and artificial is None:
        finding = _overridden(override, finding)
    elif origin is None:
        finding, withheld = _with_body_part(
            finding, body, facts, layout, pixels_seen=pixels_blank is not None
        )
    if stacks:
        finding = _noting(finding, _mixture(stacks, label))
    if facts.deep_learning and finding.contrast is not None:
        finding = _noting(finding, facts.deep_learning)
    finding = _with_pixels_and_geometry(finding, pixels_blank, geometry_problem)
    return replace(
        _series_class(headers, facts, finding, layout, body, names),
        withheld=withheld,
        stacks=tuple(_sentences(one) for one in stacks),
    )


@tolerant
def main_stack(headers: Sequence[Dataset], contrast: str | None = None) -> StackImages:
    """The images of one stack of a mixed series, for `geometry.to_volume`; all, where the series is one stack.

    The stack that shows `contrast`, else the one that speaks for the series.
    """
    _one_series(headers)
    samples = samples_of(headers)
    own, wider = series_words(headers)
    choices = stacks_of(headers, samples, names_of(own, wider_names=wider))
    return images_of(headers, of_contrast(choices, contrast))


def _one_series(headers: Sequence[Dataset]) -> None:
    if not headers:
        raise ClassifyError(
            code="no_headers",
            subject="series",
            reason="no header was given",
            cure="Give at least one instance",
        )
    series = distinct(text(header, "SeriesInstanceUID") for header in headers)
    if len(series) > 1:
        raise ClassifyError(
            code="mixed_series",
            subject=f"series {series[0]}",
            reason=f"headers of {len(series)} series were given as one",
            cure="Group the instances by SeriesInstanceUID first",
        )


def _overridden(override: Override, finding: Finding) -> Finding:
    rules_said = finding.contrast or "none of the contrasts"
    return replace(
        finding,
        contrast=override.contrast,
        confidence=1.0,
        evidence=(override.sentence(), f"The rules said {rules_said}", *finding.evidence),
        unusable=None if override.contrast is not None else "no_contrast",
    )


def _with_body_part(
    finding: Finding, body: BodyPart, facts: Facts, layout: Layout, *, pixels_seen: bool
) -> tuple[Finding, str | None]:
    """The finding in the light of the body part, and the contrast that is withheld for want of one."""
    if body.head is False:
        # The six are contrasts of a head; what the timing reads as stays in the evidence.
        seen = f"the timing reads as {finding.contrast}" if finding.contrast else "no contrast of ours"
        sentence = f"{body.sentence} ({seen})"
        return replace(
            finding,
            contrast=None,
            confidence=0.9,
            evidence=(sentence, *finding.evidence),
            unusable="not_head",
        ), None
    if finding.contrast is None:
        return finding, None
    noted = _noting(finding, body.sentence)
    if body.head:
        return replace(
            noted, confidence=noted.confidence * (DOUBTFUL_BODY_PART if body.doubtful else 1.0)
        ), None
    noted = replace(noted, confidence=noted.confidence * UNSTATED_BODY_PART)
    judged = judged_by_sequence(finding.contrast, facts, layout.plane)
    noted = _noting(noted, judged.sentence)
    if judged.spine:
        return replace(noted, contrast=None, confidence=0.3, unusable="body_part_unstated"), finding.contrast
    if judged.head or pixels_seen:
        return noted, None
    return _noting(
        noted,
        "Headers alone cannot say that this is a head: read with the pixels, or name it in classification.overrides",
        unusable="body_part_unstated",
    ), None


def _mixture(stacks: Sequence[StackClass], chosen: str) -> str:
    others = "; ".join(
        f"{one.label}: {one.contrast or 'none of the contrasts'}" for one in stacks if not one.speaks
    )
    return f"The series mixes {len(stacks)} stacks; judged by the one of {chosen} (the others: {others})"


def _sentences(one: StackClass) -> StackClass:
    return replace(one, evidence=tuple(_sentence(words) for words in one.evidence))


def _with_pixels_and_geometry(finding: Finding, blank: bool | None, geometry_problem: str | None) -> Finding:
    if blank:
        return _noting(finding, "The pixels were read and are blank", unusable="blank_pixels")
    if geometry_problem:
        return _noting(finding, f"No volume: {geometry_problem}", unusable="geometry")
    return finding


def _noting(finding: Finding, sentence: str, *, unusable: str | None = None) -> Finding:
    # What the images are comes before what is wrong with them, except that blank pixels show nothing at all.
    reason = unusable if unusable == "blank_pixels" else finding.unusable or unusable
    return replace(finding, evidence=(*finding.evidence, sentence), unusable=reason)


def _series_class(
    headers: Sequence[Dataset], facts: Facts, finding: Finding, layout: Layout, body: BodyPart, names: Names
) -> SeriesClass:
    header = headers[0]
    description = text(header, "SeriesDescription")
    usable = finding.contrast is not None and finding.unusable is None
    return SeriesClass(
        study_uid=text(header, "StudyInstanceUID"),
        series_uid=text(header, "SeriesInstanceUID"),
        description=description,
        contrast=finding.contrast,
        kind=finding.kind,
        plane=layout.plane,
        confidence=round(min(max(finding.confidence, 0.0), 1.0), 3),
        instances=len(headers),
        usable=usable,
        evidence=tuple(_sentence(one) for one in finding.evidence),
        unusable_because=None if usable else finding.unusable or "no_contrast",
        named=_named(finding, names),
        agent=finding.agent if finding.agent is not None else stated_agent(facts).given,
        body_part=body.stated,
        study_description=text(header, "StudyDescription"),
        protocol_name=text(header, "ProtocolName"),
        b_value=max(facts.b_values, default=None) if finding.kind == "diffusion" else None,
        three_d=bool(facts.three_d),
        in_plane_mm=layout.in_plane_mm,
        slice_spacing_mm=layout.spacing_mm,
        slice_thickness_mm=facts.thickness_mm,
        coverage_mm=layout.coverage_mm,
        slices=layout.slices,
        acquired_at=acquired_at(headers),
        frame_of_reference_uid=text(header, "FrameOfReferenceUID"),
        lossy=text(header, "LossyImageCompression") == "01",
        motion=bool(names.motion),
        repeat=bool(names.repeat),
        modality=text(header, "Modality").upper(),
        head=body.head,
        deep_learning=facts.deep_learning,
        timing=_timing(facts),
        station=text(header, "StationName"),
        institution=text(header, "InstitutionName"),
        procedure_words=procedure_words(header),
        procedure_codes=procedure_codes(header),
    )


def _timing(facts: Facts) -> Timing | None:
    if facts.repetition_time is None or facts.echo_time is None:
        return None
    return Timing(
        repetition=facts.repetition_time,
        echo=facts.echo_time,
        inversion=facts.inversion_time,
        flip=facts.flip_angle,
        three_d=facts.three_d,
    )


def _named(finding: Finding, names: Names) -> str | None:
    if finding.contrast is not None or finding.kind != "structural" or finding.unusable != "no_contrast":
        return None
    named = named_contrast(names)
    return named[0] if named is not None and named[0] in CONTRASTS else None


def _sentence(words: str) -> str:
    stripped = words.strip().rstrip(".")
    return stripped[:1].upper() + stripped[1:] + "."

"""The door of the room: the headers of one series -> its class with the evidence."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset

from dicom_rules import CONTRASTS
from dicom_rules.classify.body import BodyPart, body_part_of
from dicom_rules.classify.decide import Finding, named_contrast
from dicom_rules.classify.facts import Facts, facts_of, samples_of
from dicom_rules.classify.layout import Layout, acquired_at, layout_of
from dicom_rules.classify.names import Names, names_of
from dicom_rules.classify.provenance import (
    Provenance,
    not_an_mr_image,
    series_words,
    several_planes,
    synthetic,
)
from dicom_rules.classify.rules import ClassifyRules, Override
from dicom_rules.classify.stacks import choose
from dicom_rules.classify.types import SeriesClass
from dicom_rules.errors import ClassifyError
from dicom_rules.reading import distinct, text, tolerant

DOUBTFUL_BODY_PART = 0.85
UNSTATED_BODY_PART = 0.95
MOTION_WORDS = ("motion", "moved", "bewegt", "mosso", "limited", "nondiagnostic")


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
    stacks = 1
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
        choice = choose(headers, samples, names)
        facts, finding, stacks = choice.facts, choice.finding, choice.stacks
    if override is not None and artificial is None:
        finding = _overridden(override, finding)
    finding = _with_body_part(finding, body, origin, overridden=override is not None)
    if stacks > 1:
        finding = _noting(
            finding, f"The series mixes {stacks} stacks (echoes, b-values or parts); judged by one of them"
        )
    finding = _with_pixels_and_geometry(finding, pixels_blank, geometry_problem)
    return _series_class(headers, facts, finding, layout_of(facts), body, names)


@tolerant
def main_stack(headers: Sequence[Dataset]) -> tuple[Dataset, ...]:
    """The instances of the stack that speaks for a mixed series, for `geometry.to_volume`; all, where it is one.

    A multi-frame object cannot be divided and is given whole.
    """
    _one_series(headers)
    samples = samples_of(headers)
    own, wider = series_words(headers)
    choice = choose(headers, samples, names_of(own, wider_names=wider))
    owners = sorted({sample.owner for sample in choice.facts.samples})
    return tuple(headers[owner] for owner in owners)


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
    return Finding(
        contrast=override.contrast,
        kind=finding.kind,
        confidence=1.0,
        evidence=(override.sentence(), f"The rules said {rules_said}", *finding.evidence),
        unusable=None if override.contrast is not None else "no_contrast",
        agent=finding.agent,
    )


def _with_body_part(
    finding: Finding, body: BodyPart, origin: Provenance | None, *, overridden: bool
) -> Finding:
    if origin is not None or overridden:
        return finding
    if body.head is False:
        # The six are contrasts of a head; what the timing reads as stays in the evidence.
        seen = f"the timing reads as {finding.contrast}" if finding.contrast else "no contrast of ours"
        return Finding(
            contrast=None,
            kind=finding.kind,
            confidence=0.9,
            evidence=(f"{body.sentence} ({seen})", *finding.evidence),
            unusable="not_head",
            agent=finding.agent,
        )
    if finding.contrast is None:
        return finding
    factor = DOUBTFUL_BODY_PART if body.doubtful else 1.0 if body.head else UNSTATED_BODY_PART
    noted = _noting(finding, body.sentence)
    return Finding(
        contrast=noted.contrast,
        kind=noted.kind,
        confidence=noted.confidence * factor,
        evidence=noted.evidence,
        unusable=noted.unusable,
        agent=noted.agent,
    )


def _with_pixels_and_geometry(finding: Finding, blank: bool | None, geometry_problem: str | None) -> Finding:
    if blank:
        return _noting(finding, "The pixels were read and are blank", unusable="blank_pixels")
    if geometry_problem:
        return _noting(finding, f"No volume: {geometry_problem}", unusable="geometry")
    return finding


def _noting(finding: Finding, sentence: str, *, unusable: str | None = None) -> Finding:
    return Finding(
        contrast=finding.contrast,
        kind=finding.kind,
        confidence=finding.confidence,
        evidence=(*finding.evidence, sentence),
        # What the images are comes before what is wrong with them, except that blank pixels show nothing at all.
        unusable=unusable if unusable == "blank_pixels" else finding.unusable or unusable,
        agent=finding.agent,
    )


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
        agent=finding.agent,
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
        acquired_at=acquired_at(header),
        frame_of_reference_uid=text(header, "FrameOfReferenceUID"),
        lossy=text(header, "LossyImageCompression") == "01",
        motion=any(word in description.lower() for word in MOTION_WORDS),
    )


def _named(finding: Finding, names: Names) -> str | None:
    if finding.contrast is not None or finding.kind != "structural" or finding.unusable != "no_contrast":
        return None
    named = named_contrast(names)
    return named[0] if named is not None and named[0] in CONTRASTS else None


def _sentence(words: str) -> str:
    stripped = words.strip().rstrip(".")
    return stripped[:1].upper() + stripped[1:] + "."

"""The content items of the report, by the templates of PS3.16 (TID 1500, 1501, 1600) with highdicom's classes."""

from __future__ import annotations

from collections.abc import Iterable

from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    ImageContentItem,
    LanguageOfContentItemAndDescendants,
    NumContentItem,
    ObservationContext,
    ObserverContext,
    TextContentItem,
    TrackingIdentifier,
    UIDRefContentItem,
)
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from dicom_rules.derive.account import Account, Decision, Figures, FoundSeries, Superseded, patient_free
from dicom_rules.derive.provenance import MANUFACTURER
from dicom_rules.derive.types import Maker
from dicom_rules.derive.uids import device_uid, object_uid
from dicom_rules.reading import number, text

SCHEME = "99MEDK2N"
"""Our own codes, where PS3.16 has none; a private scheme begins with 99 (PS3.16 section 8)."""

EXPECTED_ERROR = Code("expected-mae", SCHEME, "Expected mean absolute error")
EXPECTED_DISSIMILARITY = Code("expected-1-ssim", SCHEME, "Expected dissimilarity (1-SSIM)")
HALF_WIDTH = Code("half-width-90", SCHEME, "Mean half-width of the 90 % interval")
MEASURED_ERROR = Code("measured-mae", SCHEME, "Measured mean absolute error")
MEASURED_PSNR = Code("measured-psnr", SCHEME, "Measured peak signal-to-noise ratio")
SERIES_COUNT = Code("instances", SCHEME, "Number of instances")

TITLE = Code("126000", "DCM", "Imaging Measurement Report")
MRI = Code("113091000", "SCT", "Magnetic resonance imaging")
SOURCE = Code("260753009", "SCT", "Source")
SOURCE_OF_MEASUREMENT = Code("121112", "DCM", "Source of Measurement")
CONCLUSION = Code("121077", "DCM", "Conclusion")
FINDING = Code("121071", "DCM", "Finding")
RECOMMENDATION = Code("121075", "DCM", "Recommendation")
COMMENT = Code("121106", "DCM", "Comment")
ENGLISH = CodedConcept("en", "RFC5646", "English")
DEVICE = CodedConcept("121007", "DCM", "Device")
NO_UNITS = Code("1", "UCUM", "no units")
DECIBEL = Code("dB", "UCUM", "decibel")
_CONTAINS, _MODIFIES, _OBSERVED, _ACQUIRED = (
    "CONTAINS",
    "HAS CONCEPT MOD",
    "HAS OBS CONTEXT",
    "HAS ACQ CONTEXT",
)

OUTCOMES = {
    "made": "made",
    "abstained": "not made: the model abstained",
    "skip": "not made",
    "refuse": "refused",
    "hold": "held for a person",
}


def contribution(source: str) -> Code:
    """The name of the share w_ij that one source has in a result."""
    return Code(f"w-{source}", SCHEME, f"Contribution of source {source} (w)")


def content(account: Account, patient: Dataset, maker: Maker) -> ContainerContentItem:
    """The whole tree: a Measurement Report (TID 1500)."""
    root = _container(TITLE, template="1500")
    root.ContentSequence.extend(LanguageOfContentItemAndDescendants(ENGLISH))
    root.ContentSequence.extend(_observer(maker))
    root.ContentSequence.append(
        CodeContentItem(
            name=Code("121058", "DCM", "Procedure reported"), value=MRI, relationship_type=_MODIFIES
        )
    )
    library = _container(Code("111028", "DCM", "Image Library"), _CONTAINS)
    library.ContentSequence.extend(_library_group(one, patient) for one in account.series)
    root.ContentSequence.append(library)
    groups = [_measured(one, account, maker, patient) for one in account.decisions if one.figures is not None]
    groups += [_superseded(one, account, maker) for one in account.superseded if one.psnr_db is not None]
    if groups:
        measurements = _container(Code("126010", "DCM", "Imaging Measurements"), _CONTAINS)
        measurements.ContentSequence.extend(groups)
        root.ContentSequence.append(measurements)
    said = _container(Code("C0034375", "UMLS", "Qualitative Evaluations"), _CONTAINS)
    said.ContentSequence.extend(_sentences(account, patient))
    root.ContentSequence.append(said)
    return root


def _sentences(account: Account, patient: Dataset) -> Iterable[ContentItem]:
    """First the outcome, then every contrast, every superseded result, every series, the notes."""
    yield _text(CONCLUSION, f"{account.outcome}: {account.words}", patient)
    if account.release:
        yield _text(RECOMMENDATION, account.release, patient)
    for one in account.superseded:
        yield _text(CONCLUSION, one.sentence, patient)
    for decision in account.decisions:
        yield _text(FINDING, _told(decision), patient)
    for series in account.series:
        yield _text(FINDING, f"{_named(series)}: {' '.join(_full(series.reasons))}", patient)
    for note in account.notes:
        yield _text(COMMENT, note, patient)
    yield _text(
        COMMENT,
        "Written by software, not by a physician. Synthetic images are made by a model from the other images of "
        "the study; they were not acquired and must not be read as if they were.",
        patient,
    )


def _told(decision: Decision) -> str:
    start = f"{decision.contrast}: {OUTCOMES[decision.outcome]}"
    if decision.outcome in ("made", "abstained"):
        start += f" from {', '.join(decision.sources)} (key source {decision.key})"
    return f"{start}. {' '.join(_full(decision.reasons))}".rstrip()


def _named(series: FoundSeries) -> str:
    stated = text(series.header, "SeriesDescription")
    place = number(series.header, "SeriesNumber")
    name = f"Series {place:.0f}" if place is not None else "Series without number"
    contrast = f" {series.contrast}" if series.contrast else ""
    quoted = f' "{stated}"' if stated else ""
    return f"{name}{quoted} ({series.instances} objects): {series.role}{contrast}"


def _full(sentences: Iterable[str]) -> list[str]:
    return [f"{one.strip().rstrip('.')}." for one in sentences if one.strip()]


def _observer(maker: Maker) -> ObservationContext:
    device = DeviceObserverIdentifyingAttributes(
        uid=device_uid(maker.model_digest),
        name=maker.ae_title,
        manufacturer_name=MANUFACTURER,
        model_name=f"{maker.model_name} {maker.model_version}",
    )
    observer = ObserverContext(observer_type=DEVICE, observer_identifying_attributes=device)
    return ObservationContext(observer_device_context=observer)


def _library_group(series: FoundSeries, patient: Dataset) -> ContainerContentItem:
    """Image Library Group (TID 1602): one series by its first object."""
    group = _container(Code("126200", "DCM", "Image Library Group"), _CONTAINS)
    modality = text(series.header, "Modality")
    if modality == "MR":
        group.ContentSequence.append(
            CodeContentItem(
                name=Code("121139", "DCM", "Modality"),
                value=Code("MR", "DCM", "Magnetic Resonance"),
                relationship_type=_ACQUIRED,
            )
        )
    group.ContentSequence.append(
        UIDRefContentItem(
            name=Code("112002", "DCM", "Series Instance UID"),
            value=text(series.header, "SeriesInstanceUID"),
            relationship_type=_ACQUIRED,
        )
    )
    group.ContentSequence.append(
        TextContentItem(
            name=COMMENT, value=patient_free(_named(series), patient), relationship_type=_ACQUIRED
        )
    )
    group.ContentSequence.append(_number(SERIES_COUNT, series.instances, NO_UNITS, _ACQUIRED))
    if "Rows" in series.header:
        group.ContentSequence.append(_image(SOURCE, series.header))
    return group


def _measured(decision: Decision, account: Account, maker: Maker, patient: Dataset) -> ContainerContentItem:
    """Measurement Group (TID 1501): the figures of one target that went through the network."""
    figures = decision.figures or Figures()
    made = decision.outcome == "made"
    group = _group(f"synthetic {decision.contrast}", decision.contrast, account, maker)
    for image in decision.results:
        group.ContentSequence.append(_image(SOURCE_OF_MEASUREMENT, image))
    numbers: list[tuple[Code, float | None]] = [
        (EXPECTED_ERROR, figures.expected_error),
        (EXPECTED_DISSIMILARITY, figures.expected_dissimilarity),
        (HALF_WIDTH, figures.half_width if made else None),
    ]
    numbers += [(contribution(name), share) for name, share in sorted(figures.contributions.items())]
    group.ContentSequence.extend(
        _number(name, value, NO_UNITS) for name, value in numbers if value is not None
    )
    trust = (
        "The interval is calibrated, the expected errors are the model's own estimate"
        if figures.calibrated
        else "The interval and the expected errors are uncalibrated"
    )
    outcome = "Synthetic (AI), not acquired" if made else "Nothing was made: the model abstained"
    group.ContentSequence.append(_text(COMMENT, f"{outcome}. {trust}.", patient))
    return group


def _superseded(one: Superseded, account: Account, maker: Maker) -> ContainerContentItem:
    group = _group(
        f"superseded synthetic {one.contrast}", f"{one.contrast} {one.revision} superseded", account, maker
    )
    group.ContentSequence.append(_image(SOURCE_OF_MEASUREMENT, one.first))
    if one.psnr_db is not None and one.error is not None:
        group.ContentSequence.append(_number(MEASURED_PSNR, one.psnr_db, DECIBEL))
        group.ContentSequence.append(_number(MEASURED_ERROR, one.error, NO_UNITS))
    return group


def _group(name: str, key: str, account: Account, maker: Maker) -> ContainerContentItem:
    group = _container(Code("125007", "DCM", "Measurement Group"), _CONTAINS, template="1501")
    uid = object_uid("tracking", account.study_uid, str(account.revision), key, maker.model_digest)
    group.ContentSequence.extend(TrackingIdentifier(uid=uid, identifier=name))
    return group


def _container(
    name: Code, relationship: str | None = None, template: str | None = None
) -> ContainerContentItem:
    item = ContainerContentItem(
        name=name, is_content_continuous=False, template_id=template, relationship_type=relationship
    )
    item.ContentSequence = ContentSequence(is_root=False)
    return item


def _text(name: Code, words: str, patient: Dataset) -> ContentItem:
    return TextContentItem(name=name, value=patient_free(words, patient), relationship_type=_CONTAINS)


def _number(name: Code, value: float, unit: Code, relationship: str = _CONTAINS) -> ContentItem:
    item = NumContentItem(name=name, value=round(float(value), 6), unit=unit, relationship_type=relationship)
    if isinstance(value, int):  # a count reads as a count: highdicom writes 20.0
        item.MeasuredValueSequence[0].NumericValue = str(value)
    return item


def _image(name: Code, header: Dataset) -> ContentItem:
    return ImageContentItem(
        name=name,
        referenced_sop_class_uid=header.SOPClassUID,
        referenced_sop_instance_uid=header.SOPInstanceUID,
        relationship_type=_CONTAINS,
    )

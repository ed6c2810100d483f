"""The part of the header that all slices of a synthetic series share."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta, timezone

from pydicom.dataset import Dataset
from pydicom.uid import UID, MRImageStorage
from pydicom.valuerep import format_number_as_ds

from dicom_rules import CONTRASTS
from dicom_rules.derive.codes import (
    ACQUISITION_EQUIPMENT,
    SOURCE_SERIES,
    SPATIAL_RESAMPLING,
    SYNTHESIZING_EQUIPMENT,
    code_item,
)
from dicom_rules.derive.header import (
    copy_patient_and_study,
    required,
    scanner_item,
    set_character_set,
    set_lossy,
)
from dicom_rules.derive.provenance import MANUFACTURER
from dicom_rules.derive.text import LO_LENGTH, SH_LENGTH, ST_LENGTH, ours
from dicom_rules.derive.types import Maker, SyntheticVolume
from dicom_rules.derive.uids import device_uid
from dicom_rules.geometry import Volume
from dicom_rules.reading import distinct, text

SERIES_BASE = 9000
_DIGEST_LETTERS = 12  # a whole SHA-256 fills an LO; the device UID follows from all of it


def free_series_number(target: str, used: Collection[int]) -> int:
    """9000 + the target's place in `CONTRASTS`, moved up past the numbers `used` in the study."""
    free = SERIES_BASE + (CONTRASTS.index(target) if target in CONTRASTS else len(CONTRASTS))
    while free in used:
        free += 1
    return free


def series_header(
    result: SyntheticVolume,
    *,
    reference: Volume,
    first: Dataset,
    source_series: Mapping[str, Sequence[Dataset]],
    maker: Maker,
    uid: str,
    series_number: int,
    made_at: datetime,
) -> Dataset:
    """Everything but the slice: patient, study, series, equipment, derivation, empty acquisition, window.

    `first` is the header of the reference's first slice.
    """
    headers = [header for contrast in result.sources for header in source_series[contrast]]
    made_at = _in_the_offset_of(first, made_at)
    common = Dataset()
    copy_patient_and_study(first, common)
    common.SOPClassUID = MRImageStorage
    common.StudyInstanceUID = UID(required(first, "StudyInstanceUID"))
    common.SeriesInstanceUID = UID(uid)
    common.SeriesNumber = series_number
    common.SeriesDescription = ours(f"SYNTHETIC {result.target} (AI) - not acquired", LO_LENGTH)
    common.Modality = "MR"
    common.ImageType = ["DERIVED", "SECONDARY", "OTHER", "SYNTHETIC"]
    common.SyntheticData = "YES"
    common.ContentQualification = maker.content_qualification
    common.FrameOfReferenceUID = UID(reference.frame_of_reference_uid)
    common.PositionReferenceIndicator = text(first, "PositionReferenceIndicator") or None
    common.BurnedInAnnotation = "NO"
    set_lossy(common, headers)
    _set_times(common, made_at)
    _set_empty_acquisition(common)
    _set_window(common, result)
    _set_equipment(common, result, first, maker, made_at)
    _set_derivation(common, result, maker, made_at)
    common.RelatedSeriesSequence = _related_series(result, source_series)
    set_character_set(common, first)
    return common


def _in_the_offset_of(first: Dataset, made_at: datetime) -> datetime:
    """`made_at` in the reference's stated offset: (0008,0201) rules every time of the object, copies too."""
    stated = text(first, "TimezoneOffsetFromUTC")
    if made_at.tzinfo is None or len(stated) != 5 or stated[0] not in "+-" or not stated[1:].isdigit():
        return made_at
    minutes = int(stated[1:3]) * 60 + int(stated[3:])
    return made_at.astimezone(timezone(timedelta(minutes=-minutes if stated[0] == "-" else minutes)))


def _set_times(common: Dataset, made_at: datetime) -> None:
    date, time = made_at.strftime("%Y%m%d"), made_at.strftime("%H%M%S.%f")
    common.SeriesDate = common.ContentDate = common.InstanceCreationDate = date
    common.SeriesTime = common.ContentTime = common.InstanceCreationTime = time
    if made_at.tzinfo is not None:
        common.TimezoneOffsetFromUTC = made_at.strftime("%z")[:5]


def _set_empty_acquisition(common: Dataset) -> None:
    """The MR Image module (PS3.3 C.8.3.1) of an image that no sequence acquired."""
    common.ScanningSequence = "RM"  # Research Mode: type 1, and a sequence would claim a scan
    common.SequenceVariant = "NONE"
    common.ScanOptions = None
    common.MRAcquisitionType = None
    common.RepetitionTime = None
    common.EchoTime = None
    common.EchoTrainLength = None


def _set_window(common: Dataset, result: SyntheticVolume) -> None:
    centre, width = result.window or (result.scale / 2, result.scale)
    common.WindowCenter = format_number_as_ds(round(float(centre), 2))
    common.WindowWidth = format_number_as_ds(max(1.0, round(float(width), 2)))  # PS3.3 C.11.2.1.2: at least 1


def _digest(maker: Maker) -> str:
    return f"sha256 {maker.model_digest[:_DIGEST_LETTERS]}"


def _set_equipment(
    common: Dataset, result: SyntheticVolume, first: Dataset, maker: Maker, made_at: datetime
) -> None:
    model = ours(maker.model_name, LO_LENGTH)
    versions = [
        ours(f"{MANUFACTURER} {maker.node_version}", LO_LENGTH),
        ours(f"{maker.model_name} {maker.model_version}", LO_LENGTH),
        _digest(maker),
    ]
    common.Manufacturer = MANUFACTURER
    common.ManufacturerModelName = model
    common.DeviceSerialNumber = ours(maker.ae_title, LO_LENGTH)
    common.SoftwareVersions = versions
    common.StationName = ours(maker.station or maker.ae_title, SH_LENGTH)
    common.DeviceUID = UID(device_uid(maker.model_digest))

    synthesizer = Dataset()
    synthesizer.PurposeOfReferenceCodeSequence = [code_item(SYNTHESIZING_EQUIPMENT)]
    synthesizer.Manufacturer = MANUFACTURER
    synthesizer.ManufacturerModelName = model
    synthesizer.StationName = common.StationName
    synthesizer.DeviceSerialNumber = common.DeviceSerialNumber
    synthesizer.SoftwareVersions = list(versions)
    synthesizer.ContributionDateTime = made_at.strftime("%Y%m%d%H%M%S.%f") + made_at.strftime("%z")[:5]
    synthesizer.ContributionDescription = _account(result, maker)
    scanner = scanner_item(first, code_item(ACQUISITION_EQUIPMENT))
    common.ContributingEquipmentSequence = [scanner, synthesizer]


def _account(result: SyntheticVolume, maker: Maker) -> str:
    """What a person may ask later and no attribute holds: whole digest, scale, contributions, reasons."""
    sentences = [
        f"Weights sha256 {maker.model_digest}.",
        f"Stored value {result.scale:.6g} stands for the 99.5th percentile inside the brain.",
    ]
    contributions = ", ".join(f"{name} {share:.2f}" for name, share in sorted(result.contributions.items()))
    if contributions:
        sentences.append(f"Contributions of the sources: {contributions}.")
    sentences += [f"{reason.rstrip('.')}." for reason in result.reasons]
    return ours(" ".join(sentences), ST_LENGTH)


def _set_derivation(common: Dataset, result: SyntheticVolume, maker: Maker, made_at: datetime) -> None:
    resampled = f", {' and '.join(result.resampled)} resampled to it" if result.resampled else ""
    common.DerivationDescription = ours(
        f"Synthetic {result.target}, not acquired by a scanner: computed from {', '.join(result.sources)} "
        f"(key {result.key}, on the grid of {result.reference}{resampled}) by the model {maker.model_name} "
        f"{maker.model_version} ({_digest(maker)}) of {MANUFACTURER} {maker.node_version} "
        f"on {made_at.strftime('%Y-%m-%d')}.",
        ST_LENGTH,
    )
    if result.resampled:
        common.DerivationCodeSequence = [code_item(SPATIAL_RESAMPLING)]


def _related_series(result: SyntheticVolume, source_series: Mapping[str, Sequence[Dataset]]) -> list[Dataset]:
    uids = distinct(
        uid
        for contrast in result.sources
        for uid in sorted({required(header, "SeriesInstanceUID") for header in source_series[contrast]})
    )
    study = required(source_series[result.reference][0], "StudyInstanceUID")
    items: list[Dataset] = []
    for uid in uids:
        item = Dataset()
        item.StudyInstanceUID = UID(study)
        item.SeriesInstanceUID = UID(uid)
        item.PurposeOfReferenceCodeSequence = [code_item(SOURCE_SERIES)]
        items.append(item)
    return items

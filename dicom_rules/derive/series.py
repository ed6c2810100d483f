"""The part of the header that all slices of a synthetic series share."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from pydicom.dataset import Dataset
from pydicom.uid import UID, MRImageStorage
from pydicom.valuerep import format_number_as_ds

from dicom_rules import CONTRASTS
from dicom_rules.derive.codes import SAME_ANATOMY, SOURCE_SERIES, SPATIAL_RESAMPLING, code_item
from dicom_rules.derive.equipment import in_the_offset_of, set_equipment, set_times, short_digest
from dicom_rules.derive.header import copy_patient_and_study, required, set_character_set, set_lossy
from dicom_rules.derive.provenance import MANUFACTURER
from dicom_rules.derive.text import LO_LENGTH, ST_LENGTH, ours
from dicom_rules.derive.types import Maker, SyntheticVolume
from dicom_rules.derive.watermark import MARK
from dicom_rules.geometry import Volume
from dicom_rules.reading import distinct, text

SERIES_BASE = 9000


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
    made_at = in_the_offset_of(first, made_at)
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
    common.BurnedInAnnotation = "YES" if result.watermark else "NO"
    set_lossy(common, headers)
    set_times(common, made_at)
    _set_empty_acquisition(common)
    _set_window(common, result)
    set_equipment(common, first, maker, made_at, _account(result, maker))
    _set_derivation(common, result, maker, made_at)
    common.RelatedSeriesSequence = _related_series(result, source_series)
    set_character_set(common, first)
    return common


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
    return " ".join(sentences)


def _set_derivation(common: Dataset, result: SyntheticVolume, maker: Maker, made_at: datetime) -> None:
    resampled = f", {' and '.join(result.resampled)} resampled to it" if result.resampled else ""
    older = (
        f" It supersedes the synthetic series {', '.join(result.supersedes)}." if result.supersedes else ""
    )
    burned = f" The word {MARK} is burned into the pixels." if result.watermark else ""
    common.DerivationDescription = ours(
        f"Synthetic {result.target}, not acquired by a scanner: computed from {', '.join(result.sources)} "
        f"(key {result.key}, on the grid of {result.reference}{resampled}) by the model {maker.model_name} "
        f"{maker.model_version} ({short_digest(maker)}) of {MANUFACTURER} {maker.node_version} "
        f"on {made_at.strftime('%Y-%m-%d')}.{older}{burned}",
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
    # No code of CID 7210 says that a series is superseded; the Derivation Description and the report do.
    named = [(uid, SOURCE_SERIES) for uid in uids] + [(uid, SAME_ANATOMY) for uid in result.supersedes]
    items: list[Dataset] = []
    for uid, purpose in named:
        item = Dataset()
        item.StudyInstanceUID = UID(study)
        item.SeriesInstanceUID = UID(uid)
        item.PurposeOfReferenceCodeSequence = [code_item(purpose)]
        items.append(item)
    return items

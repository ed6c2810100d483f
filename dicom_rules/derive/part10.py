"""A data set as the bytes of a DICOM file."""

from __future__ import annotations

from io import BytesIO

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicom_rules.derive.uids import IMPLEMENTATION_CLASS_UID
from dicom_rules.reading import tolerant


def file_meta(dataset: Dataset) -> FileMetaDataset:
    """File meta information (PS3.10 section 7.1) for `dataset` in Explicit VR Little Endian."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = "MEDK2N"
    return meta


@tolerant
def to_part10(dataset: Dataset) -> bytes:
    """The DICOM file of an encoded data set: equal data sets give equal bytes."""
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()

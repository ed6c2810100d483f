"""Small generated DICOM objects, and their encoded form as it goes over the wire."""

from __future__ import annotations

import uuid
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import _read_file_meta_info as read_meta
from pydicom.filereader import read_preamble
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

MR = "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT = str(ExplicitVRLittleEndian)
IMPLICIT = str(ImplicitVRLittleEndian)


def new_uid() -> str:
    """A UID that nobody has."""
    return f"2.25.{uuid.uuid4().int}"


def mr_slice(
    *,
    study_uid: str | None = None,
    series_uid: str | None = None,
    sop_uid: str | None = None,
    patient_id: str = "P1",
    number: int = 1,
    rows: int = 16,
    columns: int = 16,
) -> Dataset:
    """An MR image of a few pixels; UIDs that are not given are new."""
    dataset = Dataset()
    dataset.SOPClassUID = MR
    dataset.SOPInstanceUID = sop_uid or new_uid()
    dataset.StudyInstanceUID = study_uid or new_uid()
    dataset.SeriesInstanceUID = series_uid or new_uid()
    dataset.Modality = "MR"
    dataset.PatientName = "Test^Patient"
    dataset.PatientID = patient_id
    dataset.PatientBirthDate = "19700101"
    dataset.InstanceNumber = number
    dataset.ImagePositionPatient = [0, 0, 5 * number]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [1, 1]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = rows, columns
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    pixels = (np.arange(rows * columns, dtype=np.uint32) * 37 + number) % 4096
    dataset.PixelData = pixels.astype("<u2").tobytes()
    return dataset


def encoded(dataset: Dataset, transfer_syntax: str = EXPLICIT) -> bytes:
    """The data set as it goes over the wire: no preamble, no file meta information."""
    buffer = DicomBytesIO()
    buffer.is_little_endian = True
    buffer.is_implicit_VR = transfer_syntax == IMPLICIT
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def write_file(dataset: Dataset, path: Path, transfer_syntax: str = EXPLICIT) -> Path:
    """The data set as a DICOM file."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def data_set_bytes(file: Path | bytes) -> bytes:
    """What follows the file meta information of a DICOM file, byte for byte."""
    content = file if isinstance(file, bytes) else file.read_bytes()
    stream = BytesIO(content)
    read_preamble(stream, force=False)
    read_meta(stream)
    return content[stream.tell() :]

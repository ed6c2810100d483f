"""Small DICOM series made from the rows of series-headers.csv: 274 real series, headers only."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from pydicom.config import disable_value_validation
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import MRImageStorage, generate_uid

SLICES = 3
STRINGS = (
    "Modality", "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "StudyDescription", "SeriesDescription",
    "ProtocolName", "SequenceName", "PulseSequenceName", "MRAcquisitionType", "AngioFlag", "ContrastBolusAgent",
    "ContrastBolusRoute", "DiffusionDirectionality", "ComplexImageComponent", "AcquisitionContrast",
    "BodyPartExamined", "PatientPosition",
)  # fmt: skip
LISTS = ("ScanningSequence", "SequenceVariant", "ScanOptions", "ImageType")
NUMBERS = (
    "EchoTime", "RepetitionTime", "InversionTime", "FlipAngle", "EchoTrainLength", "EchoNumbers", "NumberOfAverages",
    "PixelBandwidth", "MagneticFieldStrength", "SliceThickness", "SpacingBetweenSlices", "ImagingFrequency", "SAR",
    "Rows", "Columns",
)  # fmt: skip
VECTORS = ("ImageOrientationPatient", "PixelSpacing")
PRIVATE = {
    "GE_0019_109C_PulseSequenceName": (0x0019109C, "LO", "GEMS_ACQU_01"),
    "GE_0019_109E_InternalPulseSequenceName": (0x0019109E, "LO", "GEMS_ACQU_01"),
    "GE_0043_1039_bvalue": (0x00431039, "IS", "GEMS_PARM_01"),
    "GE_0043_1030_imagetype": (0x00431030, "SS", "GEMS_PARM_01"),
    "SIEMENS_0051_100F_coil": (0x0051100F, "LO", "SIEMENS MR HEADER"),
    "PHILIPS_2001_1020_scantechnique": (0x20011020, "LO", "Philips Imaging DD 001"),
    "PHILIPS_2001_1013_epifactor": (0x20011013, "SL", "Philips Imaging DD 001"),
}
B_VALUES = {
    "SIEMENS_0019_100C_bvalue": (0x0019100C, "IS", "SIEMENS MR HEADER"),
    "PHILIPS_2001_1003_bvalue": (0x20011003, "FL", "Philips Imaging DD 001"),
    "UIH_0065_1009_bvalue": (0x00651009, "FD", "Image Private Header"),
}


def rows(csv_file: Path) -> Iterator[dict[str, str]]:
    """The rows of the table, as they stand."""
    with csv_file.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def headers_of(row: Mapping[str, str], *, blank_names: bool = False) -> list[Dataset]:
    """A stack of three slices per b-value that states exactly what the row states, and nothing else."""
    study, series = generate_uid(), generate_uid()
    b_values = _b_values(row)
    with disable_value_validation():  # the rows hold what scanners and converters wrote, valid or not
        return [
            _header(row, study, series, position, b_value, blank_names)
            for b_value in b_values
            for position in range(SLICES)
        ]


def _b_values(row: Mapping[str, str]) -> list[float | None]:
    found = sorted({float(one) for one in row["AllBValues"].split("|") if one and one != "None"})
    return list(found) or [None]


def _header(
    row: Mapping[str, str], study: str, series: str, position: int, b_value: float | None, blank_names: bool
) -> Dataset:
    header = Dataset()
    header.SOPClassUID = row["SOPClassUID"] or MRImageStorage
    header.SOPInstanceUID = generate_uid()
    header.StudyInstanceUID, header.SeriesInstanceUID = study, series
    header.FrameOfReferenceUID = series
    for keyword in STRINGS:
        if row[keyword] and not (blank_names and keyword in ("SeriesDescription", "ProtocolName")):
            setattr(header, keyword, row[keyword])
    for keyword in LISTS:
        if row[keyword]:
            setattr(header, keyword, row[keyword].split("\\"))
    for keyword in NUMBERS:
        if row[keyword]:
            _set(header, keyword, float(row[keyword]))
    for keyword in VECTORS:
        if row[keyword]:
            _set(header, keyword, [float(part) for part in row[keyword].split("\\")])
    if row["ImageOrientationPatient"]:
        cosines = np.array(header.ImageOrientationPatient, dtype=float)
        normal = np.cross(cosines[:3], cosines[3:])
        step = float(row["SpacingBetweenSlices"] or row["SliceThickness"] or 1)
        header.ImagePositionPatient = [round(float(one), 4) for one in normal * step * position]
    _diffusion(header, row, b_value)
    for column, (tag, vr, creator) in PRIVATE.items():
        if row[column]:
            _private(header, tag, vr, creator, row[column])
    return header


def _diffusion(header: Dataset, row: Mapping[str, str], b_value: float | None) -> None:
    if b_value is not None and row["DiffusionBValue"]:
        header.DiffusionBValue = b_value
    if row["HasDiffusionGradientOrientation"] == "1" and (b_value or 0) > 0:
        header.DiffusionGradientOrientation = [0.6, 0.8, 0.0]
    for column, (tag, vr, creator) in B_VALUES.items():
        if row[column] and b_value is not None:
            _private(header, tag, vr, creator, str(int(b_value)) if vr == "IS" else str(b_value))


def _set(header: Dataset, keyword: str, value: float | list[float]) -> None:
    if isinstance(value, list):
        setattr(header, keyword, [f"{one:.8g}" for one in value])
    elif keyword in ("Rows", "Columns", "EchoTrainLength", "EchoNumbers"):
        setattr(header, keyword, int(value))
    else:
        setattr(header, keyword, f"{value:.8g}")


def _private(header: Dataset, tag: int, vr: str, creator: str, value: str) -> None:
    block = Tag(tag >> 16, (tag & 0xFFFF) >> 8)
    header[block] = DataElement(block, "LO", creator)
    parts = value.split("\\")
    if not all(part.lstrip("-").replace(".", "", 1).isdigit() for part in parts):
        vr = "LO"  # some GE research sequences keep words here
    typed: list[object] = [
        float(part) if vr in ("FL", "FD") else int(float(part)) if vr in ("IS", "SS", "SL") else part
        for part in parts
    ]
    header[Tag(tag)] = DataElement(Tag(tag), vr, typed if len(typed) > 1 else typed[0])

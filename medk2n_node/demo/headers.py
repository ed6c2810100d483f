"""What a scanner writes about the sequence it ran, per contrast: plausible values of a 3 T brain protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Attributes of the MR Image module (PS3.3 C.8.3.1) and what a technologist would call the series.
HEADERS: Mapping[str, Mapping[str, Any]] = {
    "T1": {
        "SeriesDescription": "T1 SE AX",
        "ScanningSequence": "SE",
        "SequenceVariant": "SK",
        "MRAcquisitionType": "2D",
        "SequenceName": "*se2d1",
        "RepetitionTime": "550",
        "EchoTime": "10",
        "EchoTrainLength": "1",
        "FlipAngle": "90",
    },
    "T1C": {
        "SeriesDescription": "T1 SE AX +C",
        "ScanningSequence": "SE",
        "SequenceVariant": "SK",
        "MRAcquisitionType": "2D",
        "SequenceName": "*se2d1",
        "RepetitionTime": "550",
        "EchoTime": "10",
        "EchoTrainLength": "1",
        "FlipAngle": "90",
        "ContrastBolusAgent": "Gadobutrol",
        "ContrastBolusRoute": "IV",
        "ContrastBolusVolume": "7.5",
    },
    "T2": {
        "SeriesDescription": "T2 TSE AX",
        "ScanningSequence": "SE",
        "SequenceVariant": "SK",
        "MRAcquisitionType": "2D",
        "SequenceName": "*tse2d1_19",
        "RepetitionTime": "4500",
        "EchoTime": "100",
        "EchoTrainLength": "19",
        "FlipAngle": "150",
    },
    "FLAIR": {
        "SeriesDescription": "T2 FLAIR AX",
        "ScanningSequence": ["SE", "IR"],
        "SequenceVariant": "SK",
        "MRAcquisitionType": "2D",
        "SequenceName": "*tir2d1_21",
        "RepetitionTime": "9000",
        "EchoTime": "120",
        "InversionTime": "2500",
        "EchoTrainLength": "21",
        "FlipAngle": "150",
    },
    "DWI": {
        "SeriesDescription": "DWI TRACE b1000 AX",
        "ImageType": ["ORIGINAL", "PRIMARY", "DIFFUSION", "TRACEW"],
        "ScanningSequence": "EP",
        "SequenceVariant": "SK",
        "MRAcquisitionType": "2D",
        "SequenceName": "*ep_b1000t",
        "RepetitionTime": "5200",
        "EchoTime": "88",
        "EchoTrainLength": "1",
        "FlipAngle": "90",
        "DiffusionBValue": 1000.0,
    },
    "ADC": {
        "SeriesDescription": "DWI ADC AX",
        "ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"],
        "ScanningSequence": "EP",
        "SequenceVariant": "SK",
        "MRAcquisitionType": "2D",
        "SequenceName": "*ep_b0_1000",
        "RepetitionTime": "5200",
        "EchoTime": "88",
        "EchoTrainLength": "1",
        "FlipAngle": "90",
    },
}

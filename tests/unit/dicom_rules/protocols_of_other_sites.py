"""Headers as published protocols state them, for vendors and fields that no row of the measured table has.

Canon (Vantage), Hitachi (Echelon, Aperto), UIH (uMR), 0.55 T (MAGNETOM Free.Max), 0.064 T (Swoop), 7 T (Terra), and
the textbook timings of GE, Philips and Siemens that the rows happen to lack. Times in ms, angles in degrees; values
are those of vendors' protocol books and of the methods sections named beside them, rounded as scanners round them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BRAIN: dict[str, Any] = {"BodyPartExamined": "BRAIN", "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"]}


def _header(
    vendor: str, field: float, sequence: str, dimension: str, tr: float, te: float, flip: float, **more: Any
) -> dict[str, Any]:
    return {
        **BRAIN,
        "Manufacturer": vendor,
        "MagneticFieldStrength": field,
        "ScanningSequence": sequence.split("+"),
        "MRAcquisitionType": dimension,
        "RepetitionTime": tr,
        "EchoTime": te,
        "FlipAngle": flip,
        **more,
    }


TARGETS: Mapping[str, tuple[dict[str, Any], str]] = {
    # Canon Medical, Vantage Orian 1.5 T and Galan 3 T
    "canon 1.5 T t2 fse": (_header("CANON_MEC", 1.5, "SE", "2D", 5000, 100, 90, EchoTrainLength=15), "T2"),
    "canon 1.5 T t1 se": (_header("TOSHIBA_MEC", 1.5, "SE", "2D", 500, 10, 90), "T1"),
    "canon 3 T flair": (
        _header("CANON_MEC", 3, "SE+IR", "2D", 10000, 105, 90, InversionTime=2700, EchoTrainLength=17),
        "FLAIR",
    ),
    "canon 3 T mprage": (_header("CANON_MEC", 3, "GR+IR", "3D", 5.8, 2.7, 9, InversionTime=900), "T1"),
    "canon 1.5 T ir t1": (_header("TOSHIBA_MEC", 1.5, "SE+IR", "2D", 2200, 15, 90, InversionTime=800), "T1"),
    # United Imaging, uMR 570 and uMR 790
    "uih 3 T t2 fse": (_header("UIH", 3, "SE", "2D", 4500, 110, 90, SequenceName="fse"), "T2"),
    "uih 3 T t1 fsp 3d": (
        _header("UIH", 3, "GR+IR", "3D", 7.2, 3.1, 10, InversionTime=750, SequenceName="gre_fsp"),
        "T1",
    ),
    "uih 1.5 T flair": (
        _header("UIH", 1.5, "SE+IR", "2D", 8500, 120, 90, InversionTime=2300, SequenceName="fse_flair"),
        "FLAIR",
    ),
    "uih 3 T t1 flair": (_header("UIH", 3, "SE+IR", "2D", 2000, 12, 90, InversionTime=860), "T1"),
    # Hitachi, Echelon Oval 1.5 T and Aperto 0.4 T (permanent magnet)
    "hitachi 1.5 T t1 se": (_header("Hitachi Medical Corporation", 1.5, "SE", "2D", 450, 13, 90), "T1"),
    "hitachi 0.4 T t1 se": (_header("Hitachi Medical Corporation", 0.4, "SE", "2D", 400, 20, 90), "T1"),
    "hitachi 0.4 T t2 fse": (_header("Hitachi Medical Corporation", 0.4, "SE", "2D", 4500, 120, 90), "T2"),
    "hitachi 1.5 T flair": (
        _header("Hitachi Medical Corporation", 1.5, "SE+IR", "2D", 9500, 110, 90, InversionTime=2100),
        "FLAIR",
    ),
    # 0.55 T (Campbell-Washburn et al., Radiology 293:384, 2019; MAGNETOM Free.Max)
    "0.55 T t1 tse": (_header("Siemens Healthineers", 0.55, "SE", "2D", 550, 12, 150), "T1"),
    "0.55 T mprage": (
        _header("Siemens Healthineers", 0.55, "GR+IR", "3D", 1800, 5.1, 10, InversionTime=850),
        "T1",
    ),
    "0.55 T t2 tse": (_header("Siemens Healthineers", 0.55, "SE", "2D", 5500, 105, 150), "T2"),
    "0.55 T flair": (
        _header("Siemens Healthineers", 0.55, "SE+IR", "2D", 8000, 115, 150, InversionTime=2350),
        "FLAIR",
    ),
    # 0.064 T (Swoop; Arnold et al., Neuroimage Clin 35:103101, 2022)
    "0.064 T t2 fse": (_header("Hyperfine", 0.064, "SE", "3D", 2000, 209, 90, EchoTrainLength=80), "T2"),
    "0.064 T flair": (_header("Hyperfine", 0.064, "SE+IR", "3D", 4000, 228, 90, InversionTime=1400), "FLAIR"),
    # 7 T (Terra; Obusez et al., Neuroimage 168:459, 2018)
    "7 T mprage": (_header("SIEMENS", 7, "GR+IR", "3D", 2600, 2.95, 5, InversionTime=1100), "T1"),
    "7 T t2 tse": (_header("SIEMENS", 7, "SE", "2D", 8000, 70, 130), "T2"),
    "7 T space flair": (_header("SIEMENS", 7, "SE+IR", "3D", 9000, 290, 120, InversionTime=2600), "FLAIR"),
    # GE, Philips and Siemens, what every hospital runs
    "ge 3 T t1 flair": (
        _header("GE MEDICAL SYSTEMS", 3, "SE+IR", "2D", 2500, 24, 111, InversionTime=950),
        "T1",
    ),
    "ge 3 T bravo": (_header("GE MEDICAL SYSTEMS", 3, "GR", "3D", 8.2, 3.2, 12, InversionTime=450), "T1"),
    "ge 3 T fspgr without preparation": (_header("GE MEDICAL SYSTEMS", 3, "GR", "3D", 9.2, 3.7, 18), "T1"),
    "ge 3 T cube flair": (
        _header("GE MEDICAL SYSTEMS", 3, "SE+IR", "3D", 6500, 117, 90, InversionTime=1860),
        "FLAIR",
    ),
    "ge 3 T propeller t2": (_header("GE MEDICAL SYSTEMS", 3, "SE", "2D", 6100, 97, 125), "T2"),
    "philips 1.5 T t1 ffe": (_header("Philips", 1.5, "GR", "2D", 190, 4.6, 80, SequenceVariant="SP"), "T1"),
    "philips 3 T t1 tse": (_header("Philips", 3, "SE", "2D", 560, 10, 90), "T1"),
    "philips 3 T t2 tse": (_header("Philips", 3, "SE", "2D", 3000, 80, 90), "T2"),
    "philips 3 T 3d flair": (
        _header("Philips", 3, "SE+IR", "3D", 4800, 340, 40, InversionTime=1650),
        "FLAIR",
    ),
    "siemens 3 T t1 flash": (_header("SIEMENS", 3, "GR", "2D", 250, 2.46, 70, SequenceVariant="SP"), "T1"),
    "siemens 3 T t1 space": (_header("SIEMENS", 3, "SE", "3D", 700, 11, 120), "T1"),
    "siemens 3 T t2 space": (_header("SIEMENS", 3, "SE", "3D", 3200, 408, 120), "T2"),
    "siemens 3 T tirm": (
        _header("SIEMENS", 3, "SE+IR", "2D", 9000, 81, 150, InversionTime=2500, SequenceName="*tir2d1_16"),
        "FLAIR",
    ),
    "siemens 1.5 T t1 old spin echo": (_header("SIEMENS", 1.5, "SE", "2D", 600, 17, 70), "T1"),
}

OTHERS: Mapping[str, dict[str, Any]] = {
    "time of flight, 3-D": _header(
        "GE MEDICAL SYSTEMS", 3, "GR", "3D", 23, 3.4, 15, SequenceVariant=["SS", "SP"]
    ),
    "time of flight with magnetisation transfer": _header(
        "Philips", 1.5, "GR", "3D", 25, 6.9, 30, SequenceVariant=["SP", "MTC"]
    ),
    "time of flight, 2-D": _header("CANON_MEC", 1.5, "GR", "2D", 24, 7, 60),
    "phase contrast": _header("SIEMENS", 1.5, "GR", "2D", 60, 8, 15, AngioFlag="Y"),
    "susceptibility": _header("SIEMENS", 3, "GR", "3D", 28, 20, 15),
    "t2* of blood products": _header("GE MEDICAL SYSTEMS", 1.5, "GR", "2D", 650, 20, 20),
    "multi-echo gradient echo of the cord": _header("SIEMENS", 3, "GR", "2D", 600, 14, 30),
    "constructive interference": _header("SIEMENS", 1.5, "GR", "3D", 6, 2.7, 70, SequenceVariant=["SS"]),
    "balanced steady state": _header("Philips", 3, "GR", "3D", 5.6, 2.3, 45),
    "STIR": _header("SIEMENS", 1.5, "SE+IR", "2D", 5000, 56, 150, InversionTime=160),
    "STIR of a low field": _header(
        "Hitachi Medical Corporation", 0.4, "SE+IR", "2D", 3500, 25, 90, InversionTime=100
    ),
    "double inversion, enhanced": _header(
        "Philips", 3, "SE+IR", "3D", 5500, 250, 90, InversionTimes=[2550, 450]
    ),
    "proton density": _header("GE MEDICAL SYSTEMS", 1.5, "SE", "2D", 3000, 15, 90),
    "intermediate": _header("UIH", 3, "SE", "2D", 2500, 40, 90),
    "second image of MP2RAGE": _header("SIEMENS", 7, "GR+IR", "3D", 6000, 2.95, 5, InversionTime=2700),
    "gradient-echo EPI": _header("UIH", 3, "GR+EP", "2D", 2000, 30, 90),
    "spin-echo EPI without b-value": _header("CANON_MEC", 1.5, "SE+EP", "2D", 6000, 90, 90),
    "dynamic susceptibility": _header("Philips", 3, "EP+GR", "2D", 1800, 35, 75),
    "double inversion of which one time is stated": _header(
        "SIEMENS", 3, "SE+IR", "3D", 7500, 308, 120, InversionTime=3000
    ),
    "dynamic contrast-enhanced": _header(
        "Philips", 3, "GR", "3D", 6.2, 2.1, 20, SequenceVariant="SP", NumberOfTemporalPositions=40
    ),
    "transmit field map": _header("SIEMENS", 3, "GR", "2D", 9000, 2.2, 8, SequenceName="*tfl2d1_16"),
    "single-shot localizer": _header("SIEMENS", 3, "SE", "2D", 1200, 93, 150, SliceThickness="8"),
    "field map": _header("SIEMENS", 3, "GR", "2D", 500, 4.9, 60, PixelSpacing=["3", "3"]),
    "coil calibration": _header("GE MEDICAL SYSTEMS", 3, "GR", "3D", 3.0, 1.1, 5, PixelSpacing=["6", "6"]),
    "three-dimensional scout": _header("SIEMENS", 3, "GR", "3D", 3.2, 1.4, 8, PixelSpacing=["1.6", "1.6"]),
    "2-D scout": _header("UIH", 1.5, "GR", "2D", 8.6, 4, 20, SliceThickness="8"),
    "magnetisation transfer alone": _header("SIEMENS", 3, "GR", "3D", 30, 11, 15, SequenceVariant=["MTC"]),
}

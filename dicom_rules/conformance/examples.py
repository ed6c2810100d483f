"""One object of every kind that the node makes, written by the real encoders from small sources made here.

The statement reads the contents of our objects off these, so it says what the encoders do and not what somebody once
wrote down about them. Two rich sources that differ in every value tell what is copied, what is generated and what is
fixed; a poor one, de-identified and with nothing optional, tells what is not always there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage

from dicom_rules.derive import (
    Account,
    Decision,
    Figures,
    FoundSeries,
    Maker,
    Superseded,
    SyntheticVolume,
    Uncertainty,
    encode,
    encode_picture,
    encode_presentation,
    encode_rejection,
    encode_report,
    encode_uncertainty,
    enhanced,
)
from dicom_rules.geometry import Volume, to_volume

SLICES = 3
VARIANTS = 3
TARGETS = ("FLAIR", "DWI", "FLAIR")


@dataclass(frozen=True, kw_only=True)
class Made:
    """A kind of object: its name in the configuration, its title, when it is made, the templates it follows."""

    kind: str
    title: str
    when: str
    make: Callable[[_Scene], Dataset]
    templates: tuple[str, ...] = ()
    source: str = "classic"


@dataclass(frozen=True, kw_only=True)
class _Scene:
    """One study with what was made of it; `number` tells the variants apart, the last has nothing optional."""

    number: int
    sources: Mapping[str, list[Dataset]]
    reference: Volume
    series: list[Dataset]
    maker: Maker
    made_at: datetime

    @property
    def target(self) -> str:
        return TARGETS[self.number]

    @property
    def first(self) -> Dataset:
        return self.sources["T1"][0]

    @property
    def header(self) -> Dataset:
        """The source object that `slice` lies on."""
        headers = self.sources["T1"]
        return headers[min(self.number, len(headers) - 1)]

    @property
    def slice(self) -> Dataset:
        """Another slice in every variant, so that what differs between slices differs here."""
        return self.series[self.number]

    @property
    def common(self) -> dict[str, Any]:
        """What most encoders are given."""
        return {
            "series": self.series,
            "first": self.first,
            "maker": self.maker,
            "made_at": self.made_at,
            "series_number": 9010 + self.number,
        }


def example_objects() -> dict[str, list[tuple[Dataset, Dataset]]]:
    """Of every kind in `MADE`: pairs of the first source header and the object, from the same sources."""
    scenes = {form: [_scene(number, form) for number in range(VARIANTS)] for form in ("classic", "enhanced")}
    return {made.kind: [(scene.header, made.make(scene)) for scene in scenes[made.source]] for made in MADE}


def _uncertainty(scene: _Scene) -> Dataset:
    half_width = np.full(scene.reference.array.shape, 1.5 + scene.number, dtype=np.float32)
    return encode_uncertainty(
        Uncertainty(target=scene.target, half_width=half_width, calibrated=False),
        source_series=scene.sources,
        **scene.common,
    )


def _report(scene: _Scene) -> Dataset:
    said = (f"Seen {scene.number}.",)
    found = tuple(
        FoundSeries(header=headers[0], instances=SLICES, role="source", contrast=contrast, reasons=said)
        for contrast, headers in scene.sources.items()
    )
    decision = Decision(
        contrast=scene.target, outcome="made", sources=("T1", "T2"), key="T1", reasons=(f"Missing {scene.number}.",),
        figures=Figures(expected_error=0.1 + scene.number / 100, contributions={"T1": 0.6, "T2": 0.4}),
        results=(scene.series[0],),
    )  # fmt: skip
    older = Superseded(
        contrast=scene.target, revision=1, by="real", by_series_uid=str(scene.first.SeriesInstanceUID),
        first=scene.series[0], psnr_db=20.0 + scene.number, error=0.1,
    )  # fmt: skip
    account = Account(
        study_uid=str(scene.first.StudyInstanceUID), revision=2, outcome="DELIVERED",
        words=f"words {scene.number}", release="", series=found, decisions=(decision,), superseded=(older,),
    )  # fmt: skip
    common = scene.common
    return encode_report(
        account, patient=scene.first, maker=scene.maker, series_number=common["series_number"],
        made_at=scene.made_at,
    )  # fmt: skip


def _overlay(scene: _Scene) -> Dataset:
    return encode_presentation(scene.target, **scene.common)


def _summary(scene: _Scene) -> Dataset:
    page = np.full((32, 48, 3), 40 * scene.number, dtype=np.uint8)
    return encode_picture(scene.target, page, **scene.common)


def _rejection(scene: _Scene) -> Dataset:
    common = scene.common
    return encode_rejection(
        scene.target, rejected=common.pop("series"), reason=f"Superseded {scene.number}.", **common
    )


def _enhanced(scene: _Scene) -> Dataset:
    return enhanced(
        scene.series, scene.target, reference_headers=scene.sources["T1"], source_series=scene.sources
    )


MADE: tuple[Made, ...] = (
    Made(
        kind="series",
        title="Synthetic MR series",
        when="one series per contrast that was made, one object per slice of the reference",
        make=lambda scene: scene.slice,
    ),
    Made(
        kind="enhanced",
        title="Synthetic MR series, enhanced form",
        when="in place of the classic form, for destinations with `enhanced = true`, where the reference is enhanced",
        make=_enhanced,
        source="enhanced",
    ),
    Made(
        kind="uncertainty",
        title="Map of the uncertainty",
        when="one object per series, with `[results] uncertainty = true`",
        make=_uncertainty,
    ),
    Made(
        kind="report",
        title="Report",
        when="one object per revision of a study, with `[results] report = true`",
        make=_report,
        templates=(
            "TID 1500 Measurement Report",
            "TID 1411 Volumetric ROI Measurements and Qualitative Evaluations",
        ),
    ),
    Made(
        kind="overlay",
        title="The word SYNTHETIC as an overlay",
        when="one object per series, with `[results] overlay = true`",
        make=_overlay,
    ),
    Made(
        kind="summary",
        title="Summary sheet",
        when="one object per series, with `[results] summary = true`",
        make=_summary,
    ),
    Made(
        kind="rejection",
        title="Note that rejects a superseded series",
        when="one object per superseded series, with `[results] reject_superseded = true`",
        make=_rejection,
        templates=("TID 2010 Key Object Selection",),
    ),
)
"""Every kind of object that leaves the node."""


def _scene(number: int, form: str) -> _Scene:
    sources = {
        contrast: _enhanced_source(number, place) if form == "enhanced" else _source(number, place)
        for place, contrast in enumerate(("T1", "T2"), start=1)
    }
    reference = to_volume(sources["T1"])
    maker = Maker(
        node_version=f"0.{number}",
        model_name=f"model-{number}",
        model_version=str(number),
        model_digest=f"{number + 10:064x}",
        ae_title=f"NODE{number}",
        station=f"host{number}",
        content_qualification=("RESEARCH", "SERVICE", "RESEARCH")[number],
    )
    made_at = datetime(2026, 1 + number, 2, 3, 4, 5, 6 + number, tzinfo=timezone(timedelta(hours=number)))
    result = SyntheticVolume(
        target=TARGETS[number], array=np.full(reference.array.shape, 100 + 3000 * number, np.uint16),
        scale=1000.0 + number, window=(500.0 + number, 1000.0 + number), sources=("T1", "T2"), key="T1", reference="T1",
        contributions={"T1": 0.6, "T2": 0.4}, resampled=("T2",) if number < 2 else (),
        reasons=(f"reason {number}",), supersedes=("2.25.99",) if number < 2 else (),
    )  # fmt: skip
    series = encode(
        result, reference=reference, reference_headers=sources["T1"], source_series=sources, maker=maker,
        revision=1 + number, series_number=9003 + number, made_at=made_at.astimezone(UTC),
    )  # fmt: skip
    return _Scene(
        number=number, sources=sources, reference=reference, series=series, maker=maker, made_at=made_at
    )


def _uid(number: int, *parts: int) -> UID:
    return UID(".".join(["2.25.7", str(number + 1), *(str(part) for part in parts)]))


def _header(number: int, series: int) -> Dataset:
    """What the objects of one source series share."""
    rich = number < 2
    one = Dataset()
    one.SpecificCharacterSet = ("ISO_IR 100", "ISO_IR 144", "ISO_IR 192")[number]
    one.StudyInstanceUID = _uid(number, 1)
    one.SeriesInstanceUID = _uid(number, 2, series)
    one.FrameOfReferenceUID = _uid(number, 3)
    one.Modality = "MR"
    one.PatientName = f"Family{number}^Given" if rich else ""
    one.PatientID = f"ID{number}" if rich else ""
    one.PatientBirthDate = f"197{number}0101" if rich else ""
    one.PatientSex = "FMO"[number] if rich else ""
    one.StudyDate, one.StudyTime = f"2025010{number + 1}", f"1{number}0000"
    one.AccessionNumber = f"A{number}" if rich else ""
    one.ReferringPhysicianName = f"Doctor{number}^A" if rich else ""
    one.StudyID = f"S{number}" if rich else ""
    one.SeriesNumber = series
    one.Manufacturer = f"Maker {number}"
    one.PatientPosition = ("HFS", "FFS", "HFP")[number]
    one.PositionReferenceIndicator = f"place {number}" if rich else ""
    one.BodyPartExamined = ("HEAD", "BRAIN", "HEAD")[number]
    one.ApplicableSafetyStandardAgency = ("IEC", "FDA", "IEC")[number]
    if rich:
        one.IssuerOfPatientID = f"Issuer {number}"
        one.OtherPatientNames = f"Other{number}^Name"
        one.EthnicGroup = f"group {number}"
        one.PatientAge, one.PatientSize, one.PatientWeight = f"05{number}Y", f"1.7{number}", f"7{number}"
        one.StudyDescription = f"study {number}"
        one.PhysiciansOfRecord = f"Record{number}^P"
        one.InstitutionName, one.StationName = f"Hospital {number}", f"MR{number}"
        one.ManufacturerModelName, one.DeviceSerialNumber = f"Scanner {number}", f"{number}00"
        one.SoftwareVersions = f"V{number}"
        one.TimezoneOffsetFromUTC = f"+0{number}00"
        one.LossyImageCompression = "00"
    else:
        one.PatientIdentityRemoved, one.DeidentificationMethod = "YES", "a method"
        one.LossyImageCompression, one.LossyImageCompressionRatio = "01", "7"
        one.LossyImageCompressionMethod = "ISO_10918_1"
    one.Rows, one.Columns = 8 + number, 6 + number
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated = one.BitsStored = 16
    one.HighBit, one.PixelRepresentation = 15, 0
    return one


def _plane(number: int, index: int) -> dict[str, list[str]]:
    turned = number == 1
    return {
        "ImagePositionPatient": [f"{number}.5", f"{2 * number}", f"{index * (5 + number)}"]
        if not turned
        else [f"{index * (5 + number)}", "3", "4"],
        "ImageOrientationPatient": list("010001") if turned else list("100010"),
    }


def _source(number: int, series: int) -> list[Dataset]:
    made = []
    for index in range(SLICES):
        one = _header(number, series)
        one.SOPClassUID = MRImageStorage
        one.SOPInstanceUID = _uid(number, 4, series, index + 1)
        one.InstanceNumber = index + 1
        for keyword, values in _plane(number, index).items():
            setattr(one, keyword, values)
        one.PixelSpacing, one.SliceThickness = [f"1.{number}", "1"], f"4.{number}"
        one.PixelData = bytes(2 * one.Rows * one.Columns)
        made.append(_with_meta(one))
    return made


def _enhanced_source(number: int, series: int) -> list[Dataset]:
    one = _header(number, series)
    one.SOPClassUID = EnhancedMRImageStorage
    one.SOPInstanceUID = _uid(number, 5, series)
    one.NumberOfFrames = SLICES
    measures = Dataset()
    measures.PixelSpacing, measures.SliceThickness = [f"1.{number}", "1"], f"4.{number}"
    shared = Dataset()
    shared.PixelMeasuresSequence = [measures]
    one.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for index in range(SLICES):
        plane = _plane(number, index)
        place, turn, group = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = plane["ImagePositionPatient"]
        turn.ImageOrientationPatient = plane["ImageOrientationPatient"]
        group.PlanePositionSequence, group.PlaneOrientationSequence = [place], [turn]
        groups.append(group)
    one.PerFrameFunctionalGroupsSequence = groups
    one.PixelData = bytes(2 * SLICES * one.Rows * one.Columns)
    return [_with_meta(one)]


def _with_meta(one: Dataset) -> Dataset:
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return one

"""Does what came back keep its promises? Each promise is one line that a person can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_rules.derive import is_ours_or_synthetic
from dicom_rules.geometry import SliceRef, frames_of
from medk2n_node.demo.validator import complaints, find_validator

_TAGS = (
    "SeriesDescription",
    "SeriesNumber",
    "ImageType",
    "SyntheticData",
    "ContentQualification",
    "Manufacturer",
    "ManufacturerModelName",
    "SoftwareVersions",
    "DerivationDescription",
    "FrameOfReferenceUID",
    "SeriesInstanceUID",
)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One promise: `kept` is None where it could not be looked at."""

    promise: str
    kept: bool | None
    words: str


@dataclass(frozen=True, kw_only=True)
class Returned:
    """One series that came back: its objects in slice order, and the series whose grid it lies on."""

    series_uid: str
    contrast: str
    files: tuple[Path, ...]
    objects: tuple[Dataset, ...]
    reference: str | None
    checks: tuple[Check, ...]

    @property
    def tags(self) -> dict[str, str]:
        """The attributes that say what the series is, as text."""
        first = self.objects[0]
        return {name: "\\".join(_texts(first, name)) for name in _TAGS if name in first}

    @property
    def good(self) -> bool:
        """Whether no promise was broken."""
        return all(check.kept is not False for check in self.checks)


@dataclass(frozen=True, kw_only=True)
class Beside:
    """One series of another kind that came back with a synthetic one: a map, a report."""

    series_uid: str
    kind: str
    contrast: str | None
    files: tuple[Path, ...]
    description: str
    checks: tuple[Check, ...]

    @property
    def good(self) -> bool:
        """Whether no promise was broken."""
        return all(check.kept is not False for check in self.checks)


def _texts(header: Dataset, keyword: str) -> list[str]:
    value = header[keyword].value
    return [str(value)] if header[keyword].VM <= 1 else [str(one) for one in value]


def returned(
    folder: Path, contrasts: Mapping[str, str], sources: Mapping[str, Sequence[Dataset]]
) -> list[Returned]:
    """Every synthetic series that the small PACS holds in `folder`, checked.

    `contrasts` maps result series UIDs to contrasts as the node reports them; `sources` holds the headers that
    were sent, by series UID.
    """
    found: list[Returned] = []
    for place in sorted(path for path in folder.iterdir() if path.is_dir() and path.name in contrasts):
        read = [(path, dcmread(path)) for path in place.glob("*.dcm")]
        read.sort(key=lambda pair: int(pair[1].get("InstanceNumber", 0)))
        if not read:
            continue
        objects = tuple(dataset for _, dataset in read)
        files = tuple(path for path, _ in read)
        reference = _reference(objects, sources)
        found.append(
            Returned(
                series_uid=place.name,
                contrast=contrasts.get(place.name, "?"),
                files=files,
                objects=objects,
                reference=reference,
                checks=tuple(_checks(objects, files, sources.get(reference or "", ()))),
            )
        )
    return found


def beside(
    folder: Path, results: Sequence[Mapping[str, Any]], sources: Mapping[str, Sequence[Dataset]]
) -> list[Beside]:
    """What else the small PACS holds in `folder`, checked.

    `results` are the node's own entries (kind, contrast, series_uid) of the other kinds; an object of a series that
    the node did not report gets the kind "unknown".
    """
    told = {str(one["series_uid"]): one for one in results}
    patients = {str(one.get("PatientID")) for headers in sources.values() for one in headers}
    found: list[Beside] = []
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = tuple(sorted(place.glob("*.dcm")))
        if not files:
            continue
        entry = told.get(place.name, {"kind": "unknown", "contrast": None})
        objects = [dcmread(path, stop_before_pixels=True) for path in files]
        ours = sum(is_ours_or_synthetic(one) is not None for one in objects)
        named = {str(one.get("PatientID")) for one in objects}
        checks = (
            Check(
                promise="every object says that this software made it",
                kept=ours == len(objects) and entry["kind"] != "unknown",
                words=f"{ours} of {len(objects)}",
            ),
            Check(
                promise="the same patient and study",
                kept=named <= patients,
                words="Patient ID is that of the sources",
            ),
            _valid(files, warnings_too=False),
        )
        found.append(
            Beside(
                series_uid=place.name,
                kind=str(entry["kind"]),
                contrast=entry["contrast"],
                files=files,
                description=str(objects[0].get("SeriesDescription", "")),
                checks=checks,
            )
        )
    # By kind, not by the UIDs, which differ from one set of weights to the next: the report last.
    return sorted(found, key=lambda one: (one.kind == "report", one.kind, one.contrast or "", one.series_uid))


def _geometry(ref: SliceRef) -> tuple[tuple[str, ...], ...]:
    return ref.image_position, ref.image_orientation, ref.pixel_spacing


def _grid(headers: Sequence[Dataset]) -> list[tuple[tuple[str, ...], ...]]:
    """The decimal strings of every slice, sorted so that the order of objects does not matter."""
    return sorted(_geometry(frame.ref) for frame in frames_of(headers))


def _reference(objects: Sequence[Dataset], sources: Mapping[str, Sequence[Dataset]]) -> str | None:
    """The source series that the result lies on: the one whose slice it names as the same place."""
    places = {
        str(item.ReferencedSOPInstanceUID)
        for item in objects[0].get("SourceImageSequence", ())
        if item.get("SpatialLocationsPreserved") == "YES"
    }
    for uid, headers in sources.items():
        if any(str(header.SOPInstanceUID) in places for header in headers):
            return uid
    return None


def _checks(objects: Sequence[Dataset], files: Sequence[Path], reference: Sequence[Dataset]) -> list[Check]:
    marked = sum(one.get("SyntheticData") == "YES" for one in objects)
    guarded = all(is_ours_or_synthetic(one) for one in objects)
    checks = [
        Check(
            promise="every object says that it is synthetic",
            kept=marked == len(objects) and guarded,
            words=f"Synthetic Data (0008,001C) is YES in {marked} of {len(objects)}",
        )
    ]
    if not reference:
        checks.append(
            Check(promise="lies on the grid of a source", kept=False, words="no source was recognised")
        )
        return [*checks, _valid(files)]
    frames = len(frames_of(reference))
    frame_uids = {str(one.get("FrameOfReferenceUID")) for one in (*objects, *reference)}
    identities = {
        (str(one.get("PatientID")), str(one.get("StudyInstanceUID"))) for one in (*objects, *reference)
    }
    checks += [
        Check(
            promise="as many slices as its reference",
            kept=len(objects) == frames,
            words=f"{len(objects)} and {frames}",
        ),
        Check(
            promise="the same grid as its reference, string by string",
            kept=_grid(objects) == _grid(reference),
            words="Image Position, Image Orientation, Pixel Spacing",
        ),
        Check(
            promise="the same frame of reference",
            kept=len(frame_uids) == 1,
            words=next(iter(frame_uids)) if len(frame_uids) == 1 else f"{len(frame_uids)} different ones",
        ),
        Check(
            promise="the same patient and study",
            kept=len(identities) == 1,
            words="Patient ID and Study Instance UID are those of the sources",
        ),
    ]
    return [*checks, _valid(files)]


def _valid(files: Sequence[Path], *, warnings_too: bool = True) -> Check:
    validator = find_validator()
    promise = "valid DICOM (dciodvfy)"
    if validator is None:
        return Check(promise=promise, kept=None, words="not looked at: dicom3tools is not installed")
    found = complaints(validator, files)
    number = f"{len(files)} {'object' if len(files) == 1 else 'objects'}"
    words = f"no error, no warning in {number}" if not found else "; ".join(found[:3])
    broken = found if warnings_too else [line for line in found if "Warning" not in line]
    return Check(promise=promise, kept=not broken, words=words)

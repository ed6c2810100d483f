"""One record per slice, whether it came as an object of its own or as a frame of a multi-frame object.

Classic MR keeps the plane in the Image Plane module (PS3.3 C.7.6.2), enhanced MR in the functional groups
Plane Position, Plane Orientation, Pixel Measures and Pixel Value Transformation (PS3.3 C.7.6.16.2).
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.valuerep import format_number_as_ds

from dicom_rules.errors import GeometryError
from dicom_rules.geometry.types import SliceRef
from dicom_rules.reading import first_item, instance_name, items, number, numbers, text, texts, tolerant

Vector = npt.NDArray[np.float64]

DS_LENGTH = 16
"""The longest decimal string, PS3.5 table 6.2-1."""

UNIT_TOLERANCE = 1e-3
"""Direction cosines are rounded by some vendors to four digits; more than this is not a rotation."""


Only = Container[tuple[str, int]] | None
"""(SOP Instance UID, frame number) of the frames to take out of multi-frame objects; None: all of them."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One slice: where it lies, how its stored values scale, and which object holds it."""

    name: str
    ref: SliceRef
    owner: int
    position: Vector
    row_direction: Vector
    column_direction: Vector
    row_spacing: float
    column_spacing: float
    rows: int
    columns: int
    slope: float
    intercept: float
    unit: str

    @property
    def normal(self) -> Vector:
        """Row direction x column direction."""
        return np.cross(self.row_direction, self.column_direction)


@tolerant
def frames_of(instances: Sequence[Dataset], only: Only = None) -> list[Frame]:
    """The slices of the instances in the order given, all or `only` these; GeometryError when one lacks its plane."""
    found: list[Frame] = []
    for owner, instance in enumerate(instances):
        _refuse_several_slices_in_one_image(instance)
        groups = items(instance, "PerFrameFunctionalGroupsSequence")
        if groups:
            _refuse_other_count(instance, len(groups))
            shared = first_item(instance, "SharedFunctionalGroupsSequence") or Dataset()
            uid = text(instance, "SOPInstanceUID")
            for frame_number, group in enumerate(groups, start=1):
                if only is None or (uid, frame_number) in only:
                    found.append(_enhanced(instance, owner, frame_number, shared, group))
        else:
            found.append(_classic(instance, owner))
    return found


def _refuse_several_slices_in_one_image(instance: Dataset) -> None:
    tokens = {token.upper() for token in texts(instance, "ImageType")}
    mosaic = tokens & {"MOSAIC", "VFRAME"}
    if mosaic:
        raise GeometryError(
            code="mosaic",
            subject=instance_name(instance),
            reason=f"the image is a mosaic of many slices in one frame (ImageType {mosaic.pop()})",
            cure="Send the series unmosaicked (interoperability or enhanced mode of the scanner)",
        )
    frames = number(instance, "NumberOfFrames")
    if frames is not None and frames > 1 and not items(instance, "PerFrameFunctionalGroupsSequence"):
        raise GeometryError(
            code="missing_position",
            subject=instance_name(instance),
            reason=f"it holds {frames:.0f} frames but no position for each of them",
            cure="Send the series as enhanced MR with functional groups, or as one object per slice",
        )


def _refuse_other_count(instance: Dataset, groups: int) -> None:
    stated = number(instance, "NumberOfFrames")
    if stated is not None and int(stated) != groups:
        raise GeometryError(
            code="inconsistent",
            subject=instance_name(instance),
            reason=f"it states {stated:.0f} frames but describes {groups}",
            cure="Send the object again; which frame lies where cannot be known",
        )


def _classic(instance: Dataset, owner: int) -> Frame:
    return _frame(
        name=instance_name(instance),
        instance=instance,
        owner=owner,
        frame_number=None,
        plane_position=instance,
        plane_orientation=instance,
        measures=instance,
        scaling=instance,
    )


def _enhanced(instance: Dataset, owner: int, frame_number: int, shared: Dataset, group: Dataset) -> Frame:
    def macro(keyword: str) -> Dataset:
        return first_item(group, keyword) or first_item(shared, keyword) or Dataset()

    return _frame(
        name=f"frame {frame_number} of {instance_name(instance)}",
        instance=instance,
        owner=owner,
        frame_number=frame_number,
        plane_position=macro("PlanePositionSequence"),
        plane_orientation=macro("PlaneOrientationSequence"),
        measures=macro("PixelMeasuresSequence"),
        scaling=macro("PixelValueTransformationSequence"),
    )


def _frame(
    *,
    name: str,
    instance: Dataset,
    owner: int,
    frame_number: int | None,
    plane_position: Dataset,
    plane_orientation: Dataset,
    measures: Dataset,
    scaling: Dataset,
) -> Frame:
    position = _exactly(plane_position, "ImagePositionPatient", 3, name)
    orientation = _exactly(plane_orientation, "ImageOrientationPatient", 6, name)
    spacing = _exactly(measures, "PixelSpacing", 2, name)
    row_direction, column_direction = orientation[:3], orientation[3:]
    lengths = (
        abs(float(np.linalg.norm(row_direction)) - 1),
        abs(float(np.linalg.norm(column_direction)) - 1),
    )
    if max(*lengths, abs(float(row_direction @ column_direction))) > UNIT_TOLERANCE:
        raise GeometryError(
            code="inconsistent",
            subject=name,
            reason="its ImageOrientationPatient is not two perpendicular unit vectors",
            cure="Ask the sender for the original series; a converter has damaged the orientation",
        )
    if min(spacing) <= 0:
        raise GeometryError(
            code="inconsistent",
            subject=name,
            reason=f"its PixelSpacing {_joined(measures, 'PixelSpacing')} is not positive",
            cure="Ask the sender for the original series",
        )
    rows, columns = number(instance, "Rows"), number(instance, "Columns")
    if not rows or not columns:
        raise GeometryError(
            code="inconsistent",
            subject=name,
            reason="it states no Rows and Columns",
            cure="Ask the sender for the original series",
        )
    slope, intercept, unit = _scaling(scaling, instance)
    return Frame(
        name=name,
        ref=SliceRef(
            sop_class_uid=text(instance, "SOPClassUID"),
            sop_instance_uid=text(instance, "SOPInstanceUID"),
            frame=frame_number,
            image_position=_three(_strings(plane_position, "ImagePositionPatient")),
            image_orientation=_strings(plane_orientation, "ImageOrientationPatient"),
            pixel_spacing=_two(_strings(measures, "PixelSpacing")),
            slice_thickness=next(iter(_strings(measures, "SliceThickness")), None),
        ),
        owner=owner,
        position=position,
        row_direction=row_direction,
        column_direction=column_direction,
        row_spacing=float(spacing[0]),
        column_spacing=float(spacing[1]),
        rows=int(rows),
        columns=int(columns),
        slope=slope,
        intercept=intercept,
        unit=unit,
    )


def _exactly(header: Dataset, keyword: str, count: int, name: str) -> Vector:
    found = numbers(header, keyword)
    if len(found) != count:
        raise GeometryError(
            code="missing_position" if keyword == "ImagePositionPatient" else "missing_plane",
            subject=name,
            reason=f"it has no usable {keyword} (found {_joined(header, keyword) or 'nothing'})",
            cure="Ask the sender for the original series; without it the slice has no place in the patient",
        )
    return np.array(found, dtype=np.float64)


def _scaling(transformation: Dataset, instance: Dataset) -> tuple[float, float, str]:
    """Slope, intercept and unit: the modality rescale, else a linear real-world map of a diffusion value.

    A real-world map of a magnitude image has no unit that means anything between scanners, so only maps with
    a unit of diffusivity are applied (PS3.3 C.7.6.16.2.11; unit codes are UCUM).
    """
    slope, intercept = number(transformation, "RescaleSlope"), number(transformation, "RescaleIntercept")
    if slope is not None and slope != 0:
        return slope, intercept or 0.0, ""
    mapping = first_item(instance, "RealWorldValueMappingSequence") or Dataset()
    units = first_item(mapping, "MeasurementUnitsCodeSequence") or Dataset()
    unit = text(units, "CodeValue")
    slope = number(mapping, "RealWorldValueSlope")
    if slope is not None and slope != 0 and unit.endswith("2/s"):
        return slope, number(mapping, "RealWorldValueIntercept") or 0.0, unit
    return 1.0, 0.0, ""


def _strings(header: Dataset, keyword: str) -> tuple[str, ...]:
    """Decimal strings as received; one that exceeds the 16 characters of a DS is rounded to fit."""
    return tuple(
        one if len(one) <= DS_LENGTH else format_number_as_ds(float(one))
        for one in texts(header, keyword)
        if one
    )


def _joined(header: Dataset, keyword: str) -> str:
    return "\\".join(texts(header, keyword))


def _three(strings: tuple[str, ...]) -> tuple[str, str, str]:
    return strings[0], strings[1], strings[2]


def _two(strings: tuple[str, ...]) -> tuple[str, str]:
    return strings[0], strings[1]

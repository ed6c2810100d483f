"""The doors of the room: `to_volume` with pixels, `check` without."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from dicom_rules.errors import GeometryError
from dicom_rules.geometry.frames import Frame, Only, frames_of
from dicom_rules.geometry.stack import Stack, stack_of
from dicom_rules.geometry.types import Volume
from dicom_rules.reading import distinct, instance_name, number, text, tolerant, value

PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def to_volume(instances: Sequence[Dataset], *, only: Only = None) -> Volume:
    """Read the instances of one series, in any order, as one regular volume.

    `only` names the frames to take where a multi-frame object holds several stacks.
    The array is (S, R, C) float32 with the modality rescale applied; slices ascend along the normal. Raises
    GeometryError (codes: one_slice, gap, slabs, irregular, duplicate, mixed_orientation, mixed_series,
    inconsistent, tilted, sparse, missing_position, missing_plane, missing_frame_of_reference, mosaic,
    no_pixels, bad_pixels).
    """
    series_uid, frame_of_reference_uid = _one_series(instances)
    _have_pixels(instances)
    stack = stack_of(
        frames_of(instances, only), same_image=lambda one, other: _same_pixels(instances, one, other)
    )
    array = _read(instances, stack)
    return Volume(
        array=array,
        affine=_affine(stack),
        slices=tuple(frame.ref for frame in stack.frames),
        frame_of_reference_uid=frame_of_reference_uid,
        series_uid=series_uid,
        notes=stack.notes + _unit_note(stack),
    )


def check(headers: Sequence[Dataset], *, only: Only = None) -> None:
    """Refuse what `to_volume` would refuse for its geometry, from headers alone; raises GeometryError.

    Without pixels, only a second copy of the same SOP instance counts as identical.
    """
    _one_series(headers)
    stack_of(frames_of(headers, only), same_image=_same_instance)


@tolerant
def _one_series(instances: Sequence[Dataset]) -> tuple[str, str]:
    series = distinct(text(instance, "SeriesInstanceUID") for instance in instances)
    if len(series) > 1:
        raise GeometryError(
            code="mixed_series",
            subject=f"series {series[0]}",
            reason=f"the instances belong to {len(series)} different series, the first of another is "
            f"{_first_other(instances, 'SeriesInstanceUID')}",
            cure="Give the instances of one series at a time",
        )
    references = distinct(text(instance, "FrameOfReferenceUID") for instance in instances)
    if len(references) > 1:
        raise GeometryError(
            code="inconsistent",
            subject=f"series {series[0]}",
            reason=f"its images lie in {len(references)} different frames of reference, the first in another is "
            f"{_first_other(instances, 'FrameOfReferenceUID')}",
            cure="Send each frame of reference as a series of its own",
        )
    if instances and not references[0]:
        raise GeometryError(
            code="missing_frame_of_reference",
            subject=f"series {series[0]}",
            reason="it has no FrameOfReferenceUID, so a result could not be laid over it",
            cure="Ask the sender for the original series; de-identification may have removed the attribute",
        )
    return (series[0], references[0]) if instances else ("", "")


def _first_other(instances: Sequence[Dataset], keyword: str) -> str:
    """The name of the first instance whose attribute is not that of the first of all."""
    usual = text(instances[0], keyword)
    return next(instance_name(one) for one in instances if text(one, keyword) != usual)


def _have_pixels(instances: Sequence[Dataset]) -> None:
    for instance in instances:
        if not any(keyword in instance for keyword in PIXEL_KEYWORDS):
            raise GeometryError(
                code="no_pixels",
                subject=instance_name(instance),
                reason="it holds no pixel data",
                cure="Send the image again with its pixels",
            )
        if (number(instance, "SamplesPerPixel") or 1) != 1:
            raise GeometryError(
                code="inconsistent",
                subject=instance_name(instance),
                reason="it is a colour image, and colour is no signal intensity",
                cure="Send the grey-scale series",
            )


def _same_instance(one: Frame, other: Frame) -> bool:
    same = one.ref.sop_instance_uid == other.ref.sop_instance_uid and one.ref.sop_instance_uid != ""
    return same and one.ref.frame == other.ref.frame


def _same_pixels(instances: Sequence[Dataset], one: Frame, other: Frame) -> bool:
    """Same bytes in single-frame objects; the frames of a multi-frame object are never taken for copies."""
    if _same_instance(one, other):
        first, second = value(instances[one.owner], "PixelData"), value(instances[other.owner], "PixelData")
        return bool(first == second)
    if one.ref.frame is not None or other.ref.frame is not None:
        return False
    same_scale = (one.slope, one.intercept) == (other.slope, other.intercept)
    return same_scale and value(instances[one.owner], "PixelData") == value(
        instances[other.owner], "PixelData"
    )


def _read(instances: Sequence[Dataset], stack: Stack) -> npt.NDArray[np.float32]:
    """Decode each object once and lay its slices in order; memory is the volume plus one object."""
    first = stack.frames[0]
    array = np.empty((len(stack.frames), first.rows, first.columns), dtype=np.float32)
    wanted: dict[int, list[tuple[int, Frame]]] = {}
    for index, frame in enumerate(stack.frames):
        wanted.setdefault(frame.owner, []).append((index, frame))
    for owner, slices in wanted.items():
        stored = _decode(instances[owner])
        for index, frame in slices:
            image = stored if frame.ref.frame is None else stored[frame.ref.frame - 1]
            if image.shape != (first.rows, first.columns):
                raise GeometryError(
                    code="bad_pixels",
                    subject=frame.name,
                    reason=f"its pixels decode to {image.shape}, stated are {(first.rows, first.columns)}",
                    cure="Send the image again; it was damaged on its way",
                )
            scaled = image.astype(np.float64) * frame.slope + frame.intercept
            if not np.isfinite(scaled).all():
                raise GeometryError(
                    code="bad_pixels",
                    subject=frame.name,
                    reason="it holds values that are not numbers",
                    cure="Ask the sender for the original series",
                )
            array[index] = scaled
    return array


def _decode(instance: Dataset) -> npt.NDArray[np.generic]:
    meta = getattr(instance, "file_meta", None)
    syntax = getattr(meta, "TransferSyntaxUID", None)
    if syntax is None:
        raise GeometryError(
            code="bad_pixels",
            subject=instance_name(instance),
            reason="its transfer syntax is not stated, so the pixels cannot be decoded",
            cure="Read the object with its file meta information",
        )
    try:
        decoded: npt.NDArray[np.generic] = instance.pixel_array
    except (
        ValueError,
        RuntimeError,
        AttributeError,
        TypeError,
        NotImplementedError,
        IndexError,
        OSError,
    ) as error:
        raise GeometryError(
            code="bad_pixels",
            subject=instance_name(instance),
            reason=f"its pixels ({getattr(syntax, 'name', syntax)}) cannot be decoded: {_first_line(error)}",
            cure="Send the image again, or in Explicit VR Little Endian",
        ) from error
    frames = int(number(instance, "NumberOfFrames") or 1)
    multi_frame = "PerFrameFunctionalGroupsSequence" in instance
    if multi_frame and decoded.ndim == 2:
        decoded = decoded[np.newaxis]
    elif not multi_frame and frames == 1 and decoded.ndim == 3:
        decoded = decoded[0]
    return decoded


def _affine(stack: Stack) -> npt.NDArray[np.float64]:
    first = stack.frames[0]
    affine = np.eye(4)
    # PixelSpacing is (between rows, between columns); a column index moves along the row direction
    # (C.7.6.2.1.1).
    affine[:3, 0] = first.row_direction * first.column_spacing
    affine[:3, 1] = first.column_direction * first.row_spacing
    affine[:3, 2] = stack.step
    affine[:3, 3] = stack.origin
    return affine


def _unit_note(stack: Stack) -> tuple[str, ...]:
    unit = stack.frames[0].unit
    return (f"Values are real-world values in {unit}.",) if unit else ()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__

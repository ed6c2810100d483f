"""A synthetic volume as one series of MR Image Storage objects (PS3.3 A.4), one per slice.

MR Image Storage because it shows in every PACS beside its sources. The object says in every place where the
standard has one that nobody acquired it: Image Type, Synthetic Data, Contributing Equipment, Derivation
Description, an empty acquisition, and the first word of the series description.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import datetime

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pydicom.valuerep import format_number_as_ds

from dicom_rules.derive.checks import check, header_of, same_study
from dicom_rules.derive.codes import SOURCE_IMAGE, code_item
from dicom_rules.derive.header import required
from dicom_rules.derive.part10 import file_meta
from dicom_rules.derive.series import series_header
from dicom_rules.derive.sources import Slabs, slabs_of_headers, slabs_of_volume, touching
from dicom_rules.derive.text import DS_LENGTH
from dicom_rules.derive.types import Maker, SyntheticVolume
from dicom_rules.derive.uids import series_uid, sop_uid
from dicom_rules.derive.watermark import burned, labelled
from dicom_rules.geometry import SliceRef, Volume
from dicom_rules.reading import tolerant


@tolerant
def encode(
    result: SyntheticVolume,
    *,
    reference: Volume,
    reference_headers: Sequence[Dataset],
    source_series: Mapping[str, Sequence[Dataset]],
    maker: Maker,
    revision: int,
    series_number: int,
    made_at: datetime,
) -> list[Dataset]:
    """One MR series on the reference's grid, in the order of `reference.slices`.

    `reference_headers` are the objects of the reference's series, `source_series` those of every source in
    `result.sources`, by contrast (headers suffice, in any order). `made_at` is the time of synthesis with its
    UTC offset; where the reference states an offset of its own, times are written in that. The same arguments
    give the same bytes (`to_part10`), so a retry must pass the `made_at` of the first try. EncodeError names
    what is missing or does not fit; GeometryError a source slice without a plane.
    """
    check(result, reference, source_series, maker)
    first = header_of(reference.slices[0], reference_headers)
    headers = [header for contrast in result.sources for header in source_series[contrast]]
    same_study(required(first, "StudyInstanceUID"), headers)
    uids = [required(header, "SOPInstanceUID") for header in headers]
    series = series_uid(uids, maker.model_digest, labelled(result), revision)
    common = series_header(
        result,
        reference=reference,
        first=first,
        source_series=source_series,
        maker=maker,
        uid=series,
        series_number=series_number,
        made_at=made_at,
    )
    spacing = f"{reference.spacing_mm[2]:.6g}"
    stored = burned(result.array, result.window, result.scale) if result.watermark else result.array
    bits = max(12, int(stored.max()).bit_length())
    grid = slabs_of_volume(reference).thickened(result.neighbour_slices)
    sources = {contrast: _slabs(contrast, result, reference, source_series) for contrast in result.sources}

    made: list[Dataset] = []
    for index, ref in enumerate(reference.slices):
        slice_ = deepcopy(common)
        slice_.SOPInstanceUID = UID(sop_uid(series, index))
        slice_.InstanceNumber = index + 1
        slice_.SpacingBetweenSlices = spacing
        _set_plane(slice_, ref)
        items: list[Dataset] = []
        for contrast, slabs in sources.items():
            refs = touching(index, grid, slabs)
            items += _source_images(refs, own=ref, same_grid=contrast not in result.resampled)
        slice_.SourceImageSequence = items
        _set_pixels(slice_, stored[index], bits)
        slice_.file_meta = file_meta(slice_)
        made.append(slice_)
    return made


def _slabs(
    contrast: str,
    result: SyntheticVolume,
    reference: Volume,
    source_series: Mapping[str, Sequence[Dataset]],
) -> Slabs:
    if contrast == result.reference:
        return slabs_of_volume(reference)
    slabs = slabs_of_headers(source_series[contrast])
    if contrast in result.alignment:
        slabs = slabs.moved(result.alignment[contrast])
    return slabs.thickened(0.5) if contrast in result.resampled else slabs


def _source_images(refs: Sequence[SliceRef], *, own: SliceRef, same_grid: bool) -> list[Dataset]:
    """Source Image Sequence items (PS3.3 C.7.6.1.1.4); the frames of one object share an item.

    Spatial locations are preserved where the source slice lies voxel on voxel on this one, on the grid that
    the result took over.
    """
    frames: dict[tuple[str, str, bool], list[int]] = {}
    for ref in refs:
        preserved = same_grid and _same_plane(ref, own)
        numbers = frames.setdefault((ref.sop_class_uid, ref.sop_instance_uid, preserved), [])
        if ref.frame is not None:
            numbers.append(ref.frame)
    items: list[Dataset] = []
    for (sop_class, instance, preserved), numbers in frames.items():
        item = Dataset()
        item.ReferencedSOPClassUID = UID(sop_class)
        item.ReferencedSOPInstanceUID = UID(instance)
        if numbers:
            item.ReferencedFrameNumber = sorted(numbers)
        item.PurposeOfReferenceCodeSequence = [code_item(SOURCE_IMAGE)]
        item.SpatialLocationsPreserved = "YES" if preserved else "NO"
        items.append(item)
    return items


def _same_plane(one: SliceRef, other: SliceRef) -> bool:
    """Whether two slices have their first voxel, directions and spacing in common, within 0.01 mm."""

    def numbers(ref: SliceRef) -> npt.NDArray[np.float64]:
        return np.array([*ref.image_position, *ref.image_orientation, *ref.pixel_spacing], dtype=np.float64)

    return bool(np.allclose(numbers(one), numbers(other), rtol=0.0, atol=0.01))


def _set_plane(slice_: Dataset, ref: SliceRef) -> None:
    """The Image Plane module (PS3.3 C.7.6.2) with the reference's own decimal strings."""
    slice_.ImagePositionPatient = [_decimal(value) for value in ref.image_position]
    slice_.ImageOrientationPatient = [_decimal(value) for value in ref.image_orientation]
    slice_.PixelSpacing = [_decimal(value) for value in ref.pixel_spacing]
    slice_.SliceThickness = None if ref.slice_thickness is None else _decimal(ref.slice_thickness)


def _decimal(value: str) -> str:
    """The string itself; one that some scanner wrote longer than a DS allows is rounded to fit."""
    return value if len(value) <= DS_LENGTH else format_number_as_ds(float(value))


def _set_pixels(slice_: Dataset, values: npt.NDArray[np.uint16], bits: int) -> None:
    slice_.SamplesPerPixel = 1
    slice_.PhotometricInterpretation = "MONOCHROME2"
    slice_.Rows, slice_.Columns = values.shape
    slice_.BitsAllocated = 16
    slice_.BitsStored = bits
    slice_.HighBit = bits - 1
    slice_.PixelRepresentation = 0
    data = np.ascontiguousarray(values, dtype="<u2").tobytes()
    slice_.add_new("PixelData", "OW", data)

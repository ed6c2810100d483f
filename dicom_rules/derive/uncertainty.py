"""The uncertainty of a synthetic series as a Parametric Map (PS3.3 A.75), float, on the same grid.

Every value is the half-width of the model's interval for that voxel, in the stored units of the synthetic series.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import highdicom as hd
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import ParametricMapStorage

from dicom_rules.derive.envelope import envelope, neutral, sealed
from dicom_rules.derive.provenance import MANUFACTURER
from dicom_rules.derive.text import LO_LENGTH, ours
from dicom_rules.derive.types import Maker
from dicom_rules.derive.uids import object_uid
from dicom_rules.errors import EncodeError
from dicom_rules.reading import tolerant

LEVEL_PERCENT = 90
ARBITRARY = Code("[arb'U]", "UCUM", "arbitrary unit")  # CID 7181; MR signal has no absolute unit
ADC_UNIT = Code("um2/s", "UCUM", "um2/s")  # the stored unit of ADC, 1e-6 mm2/s
_QUANTITIES: Mapping[str, Code] = {  # CID 7180, where it has one
    "T1": Code("110804", "DCM", "T1 Weighted MR Signal Intensity"),
    "T1C": Code("110804", "DCM", "T1 Weighted MR Signal Intensity"),
    "T2": Code("110805", "DCM", "T2 Weighted MR Signal Intensity"),
    "DWI": Code("113043", "DCM", "Diffusion weighted"),
    "ADC": Code("113041", "DCM", "Apparent Diffusion Coefficient"),
}


@dataclass(frozen=True, kw_only=True)
class Uncertainty:
    """`half_width` (S, R, C) float32 in stored units of the target; `calibrated`: the interval was widened to hold."""

    target: str
    half_width: npt.NDArray[np.float32]
    calibrated: bool


@tolerant
def encode_uncertainty(
    uncertainty: Uncertainty,
    *,
    series: Sequence[Dataset],
    source_series: Mapping[str, Sequence[Dataset]],
    first: Dataset,
    maker: Maker,
    series_number: int,
    made_at: datetime,
) -> Dataset:
    """The map of one synthetic `series` (its MR slices in order, or its one enhanced object).

    `source_series` are the headers that the series was made from, `first` the header of its reference's first
    slice. EncodeError when the map does not lie on the grid of the series.
    """
    values = uncertainty.half_width
    frames = len(series) if len(series) > 1 else int(series[0].get("NumberOfFrames", 1))
    grid = (frames, int(series[0].Rows), int(series[0].Columns))
    if values.dtype != np.float32 or values.shape != grid or not np.isfinite(values).all():
        raise EncodeError(
            code="shape",
            subject=f"the uncertainty of the synthetic {uncertainty.target}",
            reason=f"its array is {values.dtype} {values.shape}, the series' grid {grid}",
            cure="Return finite 32-bit floats on the grid of the result",
        )
    said = "calibrated" if uncertainty.calibrated else "uncalibrated"
    sentence = f"Half-width of the {LEVEL_PERCENT} % interval, synthetic {uncertainty.target}, {said}"
    uid = object_uid("uncertainty", str(series[0].SeriesInstanceUID), said)
    header = envelope(
        first,
        maker=maker,
        made_at=made_at,
        sop_class=ParametricMapStorage,
        series=uid,
        instance=object_uid("uncertainty map", uid),
        series_number=series_number,
        modality="MR",
        description=f"SYNTHETIC {uncertainty.target} (AI) uncertainty, {said}",
        account=f"{sentence}. Not acquired: estimated by the model that made the series "
        f"{series[0].SeriesInstanceUID}. Weights sha256 {maker.model_digest}.",
        synthetic=True,
    )
    top = float(values.max())
    with warnings.catch_warnings():
        # highdicom remarks on names and window values that the envelope replaces or that are meant.
        warnings.simplefilter("ignore", UserWarning)
        built = hd.pm.ParametricMap(
            source_images=[neutral(one) for one in series],
            pixel_array=values,
            series_instance_uid=header.SeriesInstanceUID,
            series_number=series_number,
            sop_instance_uid=header.SOPInstanceUID,
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=header.ManufacturerModelName,
            software_versions=header.SoftwareVersions[0],  # the envelope brings all
            device_serial_number=header.DeviceSerialNumber,
            contains_recognizable_visual_features=False,
            real_world_value_mappings=[
                hd.pm.RealWorldValueMapping(
                    lut_label="HALFWIDTH90",
                    lut_explanation=ours(sentence, LO_LENGTH),
                    unit=ADC_UNIT if uncertainty.target == "ADC" else ARBITRARY,
                    value_range=(0.0, top),
                    slope=1.0,
                    intercept=0.0,
                    quantity_definition=_QUANTITIES.get(uncertainty.target),
                )
            ],
            voi_lut_transformations=[
                hd.VOILUTTransformation(window_center=max(top, 1.0) / 2, window_width=max(top, 1.0))
            ],
            content_label="UNCERTAINTY",
            content_description=ours(sentence, LO_LENGTH),
            content_qualification=maker.content_qualification,
        )
    whole = sealed(built, header)
    _fix_dimension_uid(whole, object_uid("dimensions", uid))
    _in_the_order_of(whole, series, values)
    _name_the_sources(whole, series, source_series)
    del whole.SourceImageSequence  # every frame names its own
    return whole


def _fix_dimension_uid(whole: Dataset, uid: str) -> None:
    whole.DimensionOrganizationSequence[0].DimensionOrganizationUID = uid
    for item in whole.DimensionIndexSequence:
        item.DimensionOrganizationUID = uid


def _in_the_order_of(whole: Dataset, series: Sequence[Dataset], values: npt.NDArray[np.float32]) -> None:
    """Put the frames into the order of the slices; highdicom sorts them by position, against ours.

    A reader that looks at no position then still finds frame n of the map on slice n of the series.
    """
    place = {str(one.SOPInstanceUID): number for number, one in enumerate(series)}

    def slice_of(group: Dataset) -> int:
        own = group.DerivationImageSequence[0].SourceImageSequence[0]
        return place[str(own.ReferencedSOPInstanceUID)] if len(series) > 1 else int(own.ReferencedFrameNumber)

    whole.PerFrameFunctionalGroupsSequence = sorted(whole.PerFrameFunctionalGroupsSequence, key=slice_of)
    whole.FloatPixelData = np.ascontiguousarray(values, dtype="<f4").tobytes()


def _name_the_sources(
    whole: Dataset, series: Sequence[Dataset], source_series: Mapping[str, Sequence[Dataset]]
) -> None:
    """Each frame names, beside its synthetic slice, the acquired slices that this slice was made from."""
    if len(series) > 1:
        by_slice = {str(one.SOPInstanceUID): list(one.SourceImageSequence) for one in series}
    else:
        groups = series[0].PerFrameFunctionalGroupsSequence
        by_slice = {
            str(number): list(group.DerivationImageSequence[0].SourceImageSequence)
            for number, group in enumerate(groups, start=1)
        }
    for group in whole.PerFrameFunctionalGroupsSequence:
        derivation = group.DerivationImageSequence[0]
        own = derivation.SourceImageSequence[0]
        key = str(own.ReferencedSOPInstanceUID) if len(series) > 1 else str(own.ReferencedFrameNumber)
        derivation.SourceImageSequence = [own, *by_slice[key]]
    belongs = {str(header.SOPInstanceUID): header for headers in source_series.values() for header in headers}
    named = {
        str(item.ReferencedSOPInstanceUID)
        for items in by_slice.values()
        for item in items
        if str(item.ReferencedSOPInstanceUID) in belongs
    }
    by_series: dict[str, list[Dataset]] = {}
    for uid in sorted(named):
        item = Dataset()
        item.ReferencedSOPClassUID = belongs[uid].SOPClassUID
        item.ReferencedSOPInstanceUID = uid
        by_series.setdefault(str(belongs[uid].SeriesInstanceUID), []).append(item)
    for series_uid, items in sorted(by_series.items()):
        one = Dataset()
        one.SeriesInstanceUID = series_uid
        one.ReferencedInstanceSequence = items
        whole.ReferencedSeriesSequence.append(one)

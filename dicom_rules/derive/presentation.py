"""The word SYNTHETIC laid over a result by a Grayscale Softcopy Presentation State (PS3.3 A.33.1).

The pixels stay as they are; a viewer that applies presentation states shows the word on every slice.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import datetime

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage

from dicom_rules.derive.envelope import envelope, neutral, sealed
from dicom_rules.derive.provenance import MANUFACTURER
from dicom_rules.derive.types import Maker
from dicom_rules.derive.uids import object_uid
from dicom_rules.derive.watermark import MARK
from dicom_rules.reading import tolerant

_LAYER = "SYNTHETIC"
_BOX = (0.02, 0.02, 0.4, 0.08)  # top left of the displayed area; columns and rows as shares of it


@tolerant
def encode_presentation(
    target: str,
    *,
    series: Sequence[Dataset],
    first: Dataset,
    maker: Maker,
    series_number: int,
    made_at: datetime,
) -> Dataset:
    """The presentation state of one synthetic `series` (its MR slices in order, or its one enhanced object)."""
    uid = object_uid("presentation", str(series[0].SeriesInstanceUID))
    header = envelope(
        first,
        maker=maker,
        made_at=made_at,
        sop_class=GrayscaleSoftcopyPresentationStateStorage,
        series=uid,
        instance=object_uid("presentation state", uid),
        series_number=series_number,
        modality="PR",
        description=f"SYNTHETIC {target} (AI) overlay",
        account=f"Lays the word {MARK} over the series {series[0].SeriesInstanceUID}.",
        synthetic=False,
    )
    centre, width = _window(series[0])
    words = hd.pr.TextObject(
        text_value=f"{MARK} {target} (AI) - not acquired",
        units="DISPLAY",
        bounding_box=_BOX,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about values that the envelope replaces
        built = hd.pr.GrayscaleSoftcopyPresentationState(
            referenced_images=[neutral(one) for one in series],
            series_instance_uid=header.SeriesInstanceUID,
            series_number=series_number,
            sop_instance_uid=header.SOPInstanceUID,
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=header.ManufacturerModelName,
            software_versions=header.SoftwareVersions[0],  # the envelope brings all
            device_serial_number=header.DeviceSerialNumber,
            content_label=MARK,
            content_description=f"Synthetic {target}, made by a model, not acquired",
            graphic_layers=[hd.pr.GraphicLayer(layer_name=_LAYER, order=1, description="Made by a model")],
            graphic_annotations=[
                hd.pr.GraphicAnnotation(
                    referenced_images=[neutral(one) for one in series],
                    graphic_layer=hd.pr.GraphicLayer(layer_name=_LAYER, order=1),
                    text_objects=[words],
                )
            ],
            voi_lut_transformations=[
                hd.pr.SoftcopyVOILUTTransformation(window_center=centre, window_width=width)
            ],
        )
    whole = sealed(built, header)
    whole.PresentationCreationDate = header.ContentDate
    whole.PresentationCreationTime = header.ContentTime
    # No attribute of a presentation state: the references and the label say what it belongs to.
    for keyword in ("ContentDate", "ContentTime", "PatientPosition"):
        whole.pop(keyword, None)
    return whole


def _window(image: Dataset) -> tuple[float, float]:
    if "WindowCenter" in image:
        return float(image.WindowCenter), float(image.WindowWidth)
    voi = image.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence[0]
    values = np.array([voi.WindowCenter, voi.WindowWidth], dtype=np.float64)
    return float(values[0]), float(values[1])

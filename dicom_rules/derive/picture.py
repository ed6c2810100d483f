"""A page drawn by the node as a Secondary Capture image (PS3.3 A.8.1), for viewers that show nothing else."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt
from highdicom.sc import SCImage
from pydicom.dataset import Dataset
from pydicom.uid import UID, SecondaryCaptureImageStorage

from dicom_rules.derive.codes import SOURCE_SERIES, code_item
from dicom_rules.derive.envelope import envelope, sealed
from dicom_rules.derive.provenance import MANUFACTURER
from dicom_rules.derive.types import Maker
from dicom_rules.derive.uids import object_uid
from dicom_rules.reading import tolerant


@tolerant
def encode_picture(
    target: str,
    page: npt.NDArray[np.uint8],
    *,
    series: Sequence[Dataset],
    first: Dataset,
    maker: Maker,
    series_number: int,
    made_at: datetime,
) -> Dataset:
    """The summary sheet of one synthetic series; `page` is (H, W, 3) RGB.

    The page holds text, so Burned In Annotation is YES, although the node draws no patient data on it.
    """
    uid = object_uid("summary", str(series[0].SeriesInstanceUID))
    header = envelope(
        first,
        maker=maker,
        made_at=made_at,
        sop_class=SecondaryCaptureImageStorage,
        series=uid,
        instance=object_uid("summary sheet", uid),
        series_number=series_number,
        modality="OT",
        description=f"SYNTHETIC {target} (AI) summary sheet",
        account=f"One page about the synthetic series {series[0].SeriesInstanceUID}: what it was made from.",
        synthetic=True,
    )
    header.pop("PatientPosition", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about values that the envelope replaces
        built = SCImage(
            pixel_array=page,
            photometric_interpretation="RGB",
            bits_allocated=8,
            coordinate_system="PATIENT",
            study_instance_uid=header.StudyInstanceUID,
            series_instance_uid=header.SeriesInstanceUID,
            series_number=series_number,
            sop_instance_uid=header.SOPInstanceUID,
            instance_number=1,
            manufacturer=MANUFACTURER,
            patient_orientation=("L", "P"),
        )
    whole = sealed(built, header)
    whole.PatientOrientation = None  # a page of text and several views has none (type 2C)
    whole.ImageType = ["DERIVED", "SECONDARY", "OTHER", "SYNTHETIC"]
    whole.BurnedInAnnotation = "YES"
    whole.ConversionType = "WSD"  # workstation: no scanner, film or camera
    related = Dataset()
    related.StudyInstanceUID = header.StudyInstanceUID
    related.SeriesInstanceUID = UID(str(series[0].SeriesInstanceUID))
    related.PurposeOfReferenceCodeSequence = [code_item(SOURCE_SERIES)]
    whole.RelatedSeriesSequence = [related]
    for keyword in ("DateOfSecondaryCapture", "TimeOfSecondaryCapture"):
        whole.pop(keyword, None)
    whole.LossyImageCompression = "00"
    return whole

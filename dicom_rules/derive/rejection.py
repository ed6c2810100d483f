"""A superseded series marked as rejected by a Key Object Selection document (PS3.3 A.35.4, IHE IOCM).

For archives that honour the note: they hide the series or leave it out, and nothing is deleted by us.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import datetime

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from highdicom.sr import CodedConcept, DeviceObserverIdentifyingAttributes, ObserverContext
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import KeyObjectSelectionDocumentStorage

from dicom_rules.derive.envelope import envelope, in_utf8, neutral, sealed
from dicom_rules.derive.provenance import MANUFACTURER
from dicom_rules.derive.text import ours
from dicom_rules.derive.types import Maker
from dicom_rules.derive.uids import device_uid, object_uid
from dicom_rules.reading import tolerant

REJECTED = Code("113001", "DCM", "Rejected for Quality Reasons")  # CID 7010


@tolerant
def encode_rejection(
    target: str,
    *,
    rejected: Sequence[Dataset],
    reason: str,
    first: Dataset,
    maker: Maker,
    series_number: int,
    made_at: datetime,
) -> Dataset:
    """The note that rejects the objects whose headers are `rejected`, with `reason` as a sentence."""
    series = object_uid("rejection", *sorted(str(one.SOPInstanceUID) for one in rejected))
    header = envelope(
        first,
        maker=maker,
        made_at=made_at,
        sop_class=KeyObjectSelectionDocumentStorage,
        series=series,
        instance=object_uid("rejection note", series),
        series_number=series_number,
        modality="KO",
        description=f"SYNTHETIC {target} (AI) superseded - rejected",
        account=ours(reason, 1024),
        synthetic=False,
        image=False,
    )
    observer = ObserverContext(
        observer_type=CodedConcept("121007", "DCM", "Device"),
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=device_uid(maker.model_digest), name=maker.ae_title, manufacturer_name=MANUFACTURER
        ),
    )
    plain = [neutral(one) for one in rejected]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about values that the envelope replaces
        built = KeyObjectSelectionDocument(
            evidence=plain,
            content=KeyObjectSelection(
                document_title=REJECTED,
                referenced_objects=plain,
                observer_device_context=observer,
                description=reason,
            ),
            series_instance_uid=header.SeriesInstanceUID,
            series_number=series_number,
            sop_instance_uid=header.SOPInstanceUID,
            instance_number=1,
            manufacturer=MANUFACTURER,
        )
    return sealed(built, in_utf8(header))

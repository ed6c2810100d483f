"""The account of a study as a Comprehensive 3D SR document (PS3.3 A.35.13, TID 1500)."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from datetime import datetime

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import Comprehensive3DSR
from pydicom.dataset import Dataset
from pydicom.uid import Comprehensive3DSRStorage

from dicom_rules.derive.account import Account
from dicom_rules.derive.envelope import envelope, in_utf8, neutral, sealed
from dicom_rules.derive.provenance import MANUFACTURER
from dicom_rules.derive.report_items import SCHEME, content
from dicom_rules.derive.types import Maker
from dicom_rules.derive.uids import object_uid
from dicom_rules.errors import EncodeError
from dicom_rules.reading import tolerant


@tolerant
def encode_report(
    account: Account,
    *,
    patient: Dataset,
    maker: Maker,
    series_number: int,
    made_at: datetime,
    predecessors: Sequence[Dataset] = (),
) -> Dataset:
    """The report of one revision.

    `patient` is the header of any object of the study (patient and study are copied from it); `predecessors` are
    headers of the reports of earlier revisions. The UIDs follow from all that is told, so another account never
    comes under the same UID. EncodeError when the account names no series.
    """
    if not account.series:
        raise EncodeError(
            code="no_series",
            subject=f"the report of study {account.study_uid}",
            reason="it names no series that could be its evidence",
            cure="Pass every series that was found",
        )
    tree = content(account, patient, maker)
    told = hashlib.sha256(json.dumps(tree.to_json_dict(), sort_keys=True).encode()).hexdigest()
    facts = (account.study_uid, str(account.revision), maker.model_digest, made_at.isoformat(), told)
    series = object_uid("report", *facts)
    what = " and ".join(account.made) if account.made else "nothing made"
    older = dict.fromkeys(one.contrast for one in account.superseded)
    if older:
        what += f", older {' and '.join(older)} superseded"
    header = envelope(
        patient,
        maker=maker,
        made_at=made_at,
        sop_class=Comprehensive3DSRStorage,
        series=series,
        instance=object_uid("report document", series),
        series_number=series_number,
        modality="SR",
        description=f"SYNTHETIC MR (AI) report: {what}",
        account=f"Report on the synthesis of missing MR contrasts: {account.outcome}. "
        f"Weights sha256 {maker.model_digest}.",
        synthetic=bool(account.made),
        image=False,
    )
    evidence = [one.header for one in account.series if "Rows" in one.header]
    evidence = evidence or [one.header for one in account.series[:1]]
    evidence += [image for decision in account.decisions for image in decision.results]
    evidence += [one.first for one in account.superseded if one.psnr_db is not None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about values that the envelope replaces
        built = Comprehensive3DSR(
            evidence=_once([neutral(one) for one in evidence]),
            content=tree,
            series_instance_uid=header.SeriesInstanceUID,
            series_number=series_number,
            sop_instance_uid=header.SOPInstanceUID,
            instance_number=1,
            manufacturer=MANUFACTURER,
            is_complete=True,
            is_final=True,
            coding_schemes=[
                CodingSchemeIdentificationItem(
                    designator=SCHEME, name="Codes of medk2n", responsible_organization=MANUFACTURER
                )
            ],
            previous_versions=[neutral(one) for one in predecessors] or None,
        )
    return sealed(built, in_utf8(header))


def _once(headers: Sequence[Dataset]) -> list[Dataset]:
    return list({str(one.SOPInstanceUID): one for one in headers}.values())

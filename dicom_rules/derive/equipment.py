"""When a result was made and by what: the times and the equipment that every object states alike."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from pydicom.dataset import Dataset
from pydicom.uid import UID

from dicom_rules.derive.codes import ACQUISITION_EQUIPMENT, SYNTHESIZING_EQUIPMENT, code_item
from dicom_rules.derive.header import scanner_item
from dicom_rules.derive.provenance import MANUFACTURER
from dicom_rules.derive.text import LO_LENGTH, SH_LENGTH, ST_LENGTH, ours
from dicom_rules.derive.types import Maker
from dicom_rules.derive.uids import device_uid
from dicom_rules.reading import text

_OFFSET = re.compile(r"(?P<sign>[+-])(?P<hours>\d\d)(?P<minutes>[0-5]\d)")
_WESTMOST, _EASTMOST = 12 * 60, 14 * 60  # minutes; PS3.3 C.12.1.1.8: -1200 to +1400

_DIGEST_LETTERS = 12  # a whole SHA-256 fills an LO; the device UID follows from all of it


def in_the_offset_of(first: Dataset, made_at: datetime) -> datetime:
    """`made_at` in the reference's stated offset: (0008,0201) rules every time of the object, copies too."""
    stated = _OFFSET.fullmatch(text(first, "TimezoneOffsetFromUTC"))
    if made_at.tzinfo is None or stated is None:
        return made_at
    minutes = int(stated["hours"]) * 60 + int(stated["minutes"])
    if not -_WESTMOST <= (-minutes if stated["sign"] == "-" else minutes) <= _EASTMOST:
        return made_at
    return made_at.astimezone(timezone(timedelta(minutes=-minutes if stated["sign"] == "-" else minutes)))


def set_times(common: Dataset, made_at: datetime) -> None:
    """Series, content and creation time: that of the synthesis, with its offset."""
    date, time = made_at.strftime("%Y%m%d"), made_at.strftime("%H%M%S.%f")
    common.SeriesDate = common.ContentDate = common.InstanceCreationDate = date
    common.SeriesTime = common.ContentTime = common.InstanceCreationTime = time
    if made_at.tzinfo is not None:
        common.TimezoneOffsetFromUTC = made_at.strftime("%z")[:5]


def short_digest(maker: Maker) -> str:
    """The first letters of the weights' digest, as text has room for them."""
    return f"sha256 {maker.model_digest[:_DIGEST_LETTERS]}"


def set_equipment(common: Dataset, first: Dataset, maker: Maker, made_at: datetime, account: str) -> None:
    """General Equipment is us; Contributing Equipment names the scanner of `first`, then us with `account`."""
    model = ours(maker.model_name, LO_LENGTH)
    versions = [
        ours(f"{MANUFACTURER} {maker.node_version}", LO_LENGTH),
        ours(f"{maker.model_name} {maker.model_version}", LO_LENGTH),
        short_digest(maker),
    ]
    common.Manufacturer = MANUFACTURER
    common.ManufacturerModelName = model
    common.DeviceSerialNumber = ours(maker.ae_title, LO_LENGTH)
    common.SoftwareVersions = versions
    common.StationName = ours(maker.station or maker.ae_title, SH_LENGTH)
    common.DeviceUID = UID(device_uid(maker.model_digest))

    synthesizer = Dataset()
    synthesizer.PurposeOfReferenceCodeSequence = [code_item(SYNTHESIZING_EQUIPMENT)]
    synthesizer.Manufacturer = MANUFACTURER
    synthesizer.ManufacturerModelName = model
    synthesizer.StationName = common.StationName
    synthesizer.DeviceSerialNumber = common.DeviceSerialNumber
    synthesizer.SoftwareVersions = list(versions)
    synthesizer.ContributionDateTime = made_at.strftime("%Y%m%d%H%M%S.%f") + made_at.strftime("%z")[:5]
    synthesizer.ContributionDescription = ours(account, ST_LENGTH)
    scanner = scanner_item(first, code_item(ACQUISITION_EQUIPMENT))
    common.ContributingEquipmentSequence = [scanner, synthesizer]

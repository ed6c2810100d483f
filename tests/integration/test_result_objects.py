"""Every kind of object that the node can emit, given to Orthanc and to DCMTK's storescp and taken back."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_rules.derive import to_part10
from tests import peers
from tests.integration.sending import deliver
from tests.unit.derive.whole import HALF_WIDTH, whole

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def made() -> list[Dataset]:
    """All kinds of one result, of a patient with a Chinese name at another offset than ours."""
    kinds = whole(
        {
            "SpecificCharacterSet": "ISO_IR 192",
            "PatientName": "Wang^XiaoDong=王^小東",
            "TimezoneOffsetFromUTC": "+0800",
        }
    )
    return [one for objects in kinds.values() for one in objects]


def same(came_back: Sequence[Dataset], sent: Sequence[Dataset]) -> None:
    """Every element of every object is what was sent."""
    by_uid = {str(one.SOPInstanceUID): one for one in came_back}
    assert set(by_uid) == {str(one.SOPInstanceUID) for one in sent}
    for one in sent:
        original = dcmread(BytesIO(to_part10(one)))
        assert by_uid[str(one.SOPInstanceUID)].to_json_dict() == original.to_json_dict(), one.SOPClassUID.name


def test_orthanc_takes_every_kind_and_gives_it_back_value_by_value(
    orthanc: peers.Orthanc, made: list[Dataset], tmp_path: Path
) -> None:
    remarks = deliver(
        tmp_path / "out", made, host=orthanc.host, port=orthanc.port, called_ae=orthanc.ae_title
    )
    assert remarks == []
    came_back = [orthanc.file(one) for one in orthanc.get("/instances")]
    same([dcmread(BytesIO(content)) for content in came_back], made)
    map_ = next(
        content
        for content in came_back
        if dcmread(BytesIO(content)).SOPClassUID.name == "Parametric Map Storage"
    )
    assert np.array_equal(hd.imread(BytesIO(map_)).get_volume().array, HALF_WIDTH[::-1])
    report = next(content for content in came_back if dcmread(BytesIO(content)).Modality == "SR")
    assert hd.sr.srread(BytesIO(report)).content.get_image_measurement_groups()


def test_storescp_takes_every_kind_and_dcmtk_reads_the_documents(made: list[Dataset], tmp_path: Path) -> None:
    with peers.storescp(tmp_path / "archive") as archive:
        remarks = deliver(
            tmp_path / "out", made, host=archive.host, port=archive.port, called_ae=archive.ae_title
        )
        assert remarks == []
        came_back = [(file, dcmread(file)) for file in archive.files()]
    same([one for _, one in came_back], made)
    documents = [file for file, one in came_back if one.Modality in ("SR", "KO")]
    assert len(documents) == 2
    for file in documents:
        done = subprocess.run(
            [peers.program("dsrdump"), str(file)],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        assert (done.returncode, [line for line in done.stderr.splitlines() if line.startswith("E:")]) == (
            0,
            [],
        )

"""The strangers that other tests talk to do start, take an object, and go."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import peers

pytestmark = pytest.mark.peer


def test_orthanc_takes_a_study_and_shows_it(orthanc: peers.Orthanc, shared_data: Path) -> None:
    sent = peers.storescu(orthanc.port, shared_data / "dicom" / "head-bold-ge", called_ae="ORTHANC")
    assert sent.returncode == 0, sent.stderr
    assert orthanc.instance_count() == 5
    assert len(orthanc.series()) == 1


def test_storescp_takes_a_study(tmp_path: Path, shared_data: Path) -> None:
    with peers.storescp(tmp_path) as archive:
        sent = peers.storescu(archive.port, shared_data / "dicom" / "head-bold-ge", called_ae="ARCHIVE")
        assert sent.returncode == 0, sent.stderr
        assert len(archive.files()) == 5

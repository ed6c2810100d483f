"""Objects from real senders: what was sent is what lies on disk."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

from medk2n_node.cli import main
from medk2n_node.config import Config
from medk2n_node.store.tables import Association, Conflict, Instance
from tests import peers
from tests.objects import EXPLICIT, IMPLICIT, data_set_bytes, mr_slice, new_uid, write_file
from tests.receiving import Receiver, receiver

pytestmark = pytest.mark.peer


@pytest.fixture
def node(node_config: Config) -> Iterator[Receiver]:
    with receiver(node_config) as running:
        yield running


def send_as_is(node: Receiver, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> int:
    monkeypatch.chdir(tmp_path)
    return main(["send", str(folder), "--to", f"MEDK2N@127.0.0.1:{node.port}", "--json"])


def test_a_real_study_in_jpeg_ls_is_stored_byte_for_byte(
    node: Receiver, shared_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = shared_data / "dicom" / "head-t1-t2-siemens"
    assert send_as_is(node, folder, monkeypatch, tmp_path) == 0
    stored = node.stored()
    files = sorted(folder.rglob("*.dcm"))
    assert len(stored) == len(files) == 72
    for file in files:
        assert stored[str(pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID)] == data_set_bytes(
            file
        )
    assert {row.transfer_syntax for row in node.rows(Instance)} == {"1.2.840.10008.1.2.4.80"}


def test_every_real_study_at_hand_is_taken_from_dcmtk(node: Receiver, shared_data: Path) -> None:
    expected = 0
    for folder in sorted((shared_data / "dicom").iterdir()):
        if not folder.is_dir():
            continue
        files = sorted(folder.rglob("*.dcm"))
        syntax = pydicom.dcmread(files[0], stop_before_pixels=True).file_meta.TransferSyntaxUID
        options = ["-xt"] if syntax == "1.2.840.10008.1.2.4.80" else []
        sent = peers.storescu(node.port, folder, options=options)
        assert sent.returncode == 0, (folder.name, sent.stderr)
        expected += len(files)
    rows = node.rows(Instance)
    assert len(rows) == expected
    for row in rows[::7]:
        stored = pydicom.dcmread(node.store.path(row.path))
        assert stored.SOPInstanceUID == row.sop_uid
        assert stored.file_meta.TransferSyntaxUID == row.transfer_syntax
        assert stored.file_meta.SourceApplicationEntityTitle == "MODALITY"
    assert {row.calling_ae for row in rows} == {"MODALITY"}


@pytest.mark.parametrize(
    ("encoder", "propose", "syntax"),
    [
        (None, "-xe", EXPLICIT),
        (["dcmconv", "+ti"], "-xi", IMPLICIT),
        (["dcmcjpeg", "+el"], "-xs", "1.2.840.10008.1.2.4.57"),
        (["dcmcjpeg", "+e1"], "-xs", "1.2.840.10008.1.2.4.70"),
        (["dcmcjpls", "+el"], "-xt", "1.2.840.10008.1.2.4.80"),
        (["dcmcrle"], "-xr", "1.2.840.10008.1.2.5"),
    ],
)
def test_each_lossless_syntax_is_stored_as_dcmtk_stores_it(
    node: Receiver, tmp_path: Path, encoder: list[str] | None, propose: str, syntax: str
) -> None:
    plain = write_file(mr_slice(rows=64, columns=64), tmp_path / "plain" / "a.dcm")
    file = tmp_path / "sent" / "a.dcm"
    file.parent.mkdir()
    if encoder is None:
        shutil.copy(plain, file)
    else:
        command = [peers.program(encoder[0]), *encoder[1:], str(plain), str(file)]
        subprocess.run(command, check=True, capture_output=True, env=peers.peer_environment())
    if syntax == "1.2.840.10008.1.2.4.57":
        # DCMTK's sender proposes only selection value 1; our own sends the file as it is.
        with pytest.MonkeyPatch.context() as patch:
            assert send_as_is(node, file.parent, patch, tmp_path) == 0
        (stored,) = node.stored().values()
        assert stored == data_set_bytes(file)
    else:
        with peers.storescp(tmp_path / "dcmtk", options=["+B", "+xa"]) as archive:
            sent = peers.storescu(archive.port, file.parent, options=[propose], called_ae="ARCHIVE")
            assert sent.returncode == 0, sent.stderr
            (reference,) = archive.files()
            wanted = data_set_bytes(reference)
        sent = peers.storescu(node.port, file.parent, options=[propose])
        assert sent.returncode == 0, sent.stderr
        (stored,) = node.stored().values()
        assert stored == wanted
    (row,) = node.rows(Instance)
    assert row.transfer_syntax == syntax


def test_jpeg_2000_lossless_is_stored_byte_for_byte(
    node: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = get_testdata_file("MR_small_jp2klossless.dcm")
    assert isinstance(source, str)
    folder = tmp_path / "sent"
    folder.mkdir()
    shutil.copy(source, folder)
    assert send_as_is(node, folder, monkeypatch, tmp_path) == 0
    assert list(node.stored().values()) == [data_set_bytes(Path(source))]


def test_a_lossy_object_is_not_taken_and_the_sender_is_told(
    node: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = get_testdata_file("JPEG2000.dcm")
    assert isinstance(source, str)
    folder = tmp_path / "sent"
    folder.mkdir()
    shutil.copy(source, folder)
    assert send_as_is(node, folder, monkeypatch, tmp_path) == 5
    assert "accepted none of the object types" in capsys.readouterr().err
    assert node.rows(Instance) == []


def test_an_object_of_many_megabytes_arrives_whole(
    node: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = mr_slice(rows=4096, columns=4096)
    file = write_file(dataset, tmp_path / "sent" / "large.dcm")
    assert send_as_is(node, file.parent, monkeypatch, tmp_path) == 0
    assert list(node.stored().values()) == [data_set_bytes(file)]


def test_sending_a_study_again_adds_nothing(node: Receiver, shared_data: Path) -> None:
    for _ in range(2):
        assert peers.storescu(node.port, shared_data / "dicom" / "head-bold-ge").returncode == 0
    assert len(node.rows(Instance)) == 5
    assert node.rows(Conflict) == []


def test_two_patients_under_one_study_are_both_kept_and_told_apart(node: Receiver, tmp_path: Path) -> None:
    study = new_uid()
    for number, patient in enumerate(("A", "A", "B")):
        write_file(mr_slice(study_uid=study, patient_id=patient), tmp_path / "sent" / f"{number}.dcm")
    assert peers.storescu(node.port, tmp_path / "sent").returncode == 0
    rows = node.rows(Instance)
    assert {row.study_uid for row in rows} == {study}
    assert len(rows) == 3 and len({row.patient_hash for row in rows}) == 2


def test_the_association_of_a_sender_is_closed_when_the_sender_is_done(
    node: Receiver, shared_data: Path
) -> None:
    assert peers.storescu(node.port, shared_data / "dicom" / "head-bold-ge", calling_ae="MR7").returncode == 0
    (association,) = node.rows(Association)
    assert (association.calling_ae, association.ending, association.peer) == ("MR7", "released", "127.0.0.1")
    assert (
        association.closed_at is not None
        and association.opened_at <= association.last_at <= association.closed_at
    )
    assert {row.association_id for row in node.rows(Instance)} == {association.id}


def test_an_echo_is_answered_and_leaves_no_association_behind(
    node: Receiver, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert peers.echoscu(node.port).returncode == 0
    monkeypatch.chdir(tmp_path)
    assert main(["echo", f"MEDK2N@127.0.0.1:{node.port}"]) == 0
    assert "answered in" in capsys.readouterr().out
    assert node.rows(Association) == []


def test_send_and_echo_end_with_5_where_nobody_listens(
    shared_data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    nowhere = f"PACS@127.0.0.1:{peers.free_port()}"
    assert main(["send", str(shared_data / "dicom" / "head-bold-ge"), "--to", nowhere]) == 5
    assert main(["echo", nowhere]) == 5
    assert capsys.readouterr().err.count("nothing answers there as a DICOM node") == 2

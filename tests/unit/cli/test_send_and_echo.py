"""`medk2n send` and `medk2n echo`: whom they call and what they refuse before calling anybody."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medk2n_node.cli import main
from medk2n_node.cli.calling import Peer, find_peer
from medk2n_node.cli.send import contexts_for, find_files
from medk2n_node.config import load_config
from medk2n_node.errors import UsageError
from tests.objects import EXPLICIT, IMPLICIT, MR, mr_slice, write_file

PACS = '[{name = "pacs", ae_title = "ORTHANC", host = "10.0.0.5", port = 104, tls = true}]'


def test_a_peer_is_a_destination_by_name_or_an_address() -> None:
    config = load_config(None, {"MEDK2N__DESTINATIONS": PACS})
    assert find_peer(config, "pacs") == Peer(
        name="pacs", ae_title="ORTHANC", host="10.0.0.5", port=104, tls=True
    )
    assert find_peer(config, "MY PACS@pacs.example:4242").ae_title == "MY PACS"
    assert find_peer(config, "A@[::1]:104").host == "::1"


@pytest.mark.parametrize("name", ["nobody", "A@host", "A@host:0", "A@host:99999", "@host:104"])
def test_what_is_neither_is_wrong_usage_and_the_known_names_are_listed(name: str) -> None:
    config = load_config(None, {"MEDK2N__DESTINATIONS": PACS})
    with pytest.raises(
        UsageError, match=r"neither a destination of the configuration \(pacs\) nor an address"
    ):
        find_peer(config, name)


def test_an_unknown_peer_ends_with_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["echo", "nobody"]) == 2


@pytest.mark.parametrize(
    ("make", "says"), [(False, "there is no such file or folder"), (True, "is a DICOM file")]
)
def test_a_folder_without_dicom_files_ends_with_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], make: bool, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "study"
    if make:
        folder.mkdir()
        (folder / "notes.txt").write_text("no image")
    assert main(["send", str(folder), "--to", "A@127.0.0.1:104", "--json"]) == 3
    assert says in json.loads(capsys.readouterr().out)["error"]["reason"]


def test_files_are_found_in_the_order_of_their_names_and_others_are_named(tmp_path: Path) -> None:
    for name in ("b.dcm", "a/2", "a/1"):
        write_file(mr_slice(), tmp_path / name)
    (tmp_path / "readme.txt").write_text("x" * 200)
    files, ignored = find_files(tmp_path)
    assert [str(file.path.relative_to(tmp_path)) for file in files] == ["a/1", "a/2", "b.dcm"]
    assert ignored == [tmp_path / "readme.txt"]


def test_each_kind_of_file_is_offered_as_it_is() -> None:
    contexts = contexts_for([(MR, EXPLICIT), (MR, IMPLICIT)])
    assert [(one.abstract_syntax, one.transfer_syntax) for one in contexts] == [
        (MR, [EXPLICIT]),
        (MR, [IMPLICIT]),
    ]

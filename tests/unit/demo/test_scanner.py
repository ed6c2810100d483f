"""The demonstration's scanner: an answer that does not come is asked for once more, and then it is an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pynetdicom import AE, evt
from pynetdicom.sop_class import MRImageStorage

from medk2n_node.demo.scanner import look_up, send
from medk2n_node.errors import PeerError
from tests.objects import mr_slice, new_uid, write_file


@contextmanager
def pacs(answer: Callable[[evt.Event, list[str]], int]) -> Iterator[tuple[int, list[str]]]:
    """A PACS that answers as `answer` says; its port, and the SOP Instance UIDs in the order in which they came."""
    came: list[str] = []

    def stored(event: evt.Event) -> int:
        came.append(str(event.request.AffectedSOPInstanceUID))
        return answer(event, came)

    entity = AE("PACS")
    entity.add_supported_context(MRImageStorage)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, stored)])
    try:
        yield server.server_address[1], came
    finally:
        server.shutdown()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    study = new_uid()
    for number in range(3):
        write_file(mr_slice(study_uid=study, number=number), tmp_path / f"{number}.dcm")
    return tmp_path


def _hangs_up(event: evt.Event) -> int:
    event.assoc.abort()
    return 0x0000


def test_an_object_without_an_answer_is_sent_once_more_and_all_arrive(folder: Path) -> None:
    done: list[int] = []
    with pacs(lambda event, came: _hangs_up(event) if len(came) == 2 else 0x0000) as (port, came):
        send(look_up(folder), "127.0.0.1", port, calling="SCANNER", called="PACS", sent=done.append)
    assert done == [1, 2, 3]
    assert len(came) == 4 and came[1] == came[2] and len(set(came)) == 3


def test_an_object_that_is_never_answered_is_named(folder: Path) -> None:
    done: list[int] = []
    with (
        pacs(lambda event, came: _hangs_up(event) if len(set(came)) == 2 else 0x0000) as (port, came),
        pytest.raises(PeerError, match=r"did not answer to 1\.dcm"),
    ):
        send(look_up(folder), "127.0.0.1", port, calling="SCANNER", called="PACS", sent=done.append)
    assert done == [1] and len(came) == 3


def test_a_refusal_is_not_asked_for_again(folder: Path) -> None:
    with (
        pacs(lambda event, came: 0xA700) as (port, came),
        pytest.raises(PeerError, match=r"answered 0xA700 to 0\.dcm"),
    ):
        send(look_up(folder), "127.0.0.1", port, calling="SCANNER", called="PACS", sent=lambda done: None)
    assert len(came) == 1

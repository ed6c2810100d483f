"""C-STORE against receivers that answer, refuse, break off and are not there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from medk2n_node.delivery.scu import Address, Outgoing, Unreachable, send
from medk2n_node.delivery.statuses import Answer, Response
from tests.integration.receiver import Answering, Receiver
from tests.objects import MR, mr_slice, write_file
from tests.peers import free_port


@pytest.fixture
def objects(tmp_path: Path) -> list[Outgoing]:
    """Three objects on disk."""
    made = []
    for number in range(3):
        dataset = mr_slice(number=number)
        path = write_file(dataset, tmp_path / f"{number}.dcm")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        made.append(Outgoing(sop_uid=str(dataset.SOPInstanceUID), sop_class=MR, path=path, sha256=digest))
    return made


def to(port: int) -> Address:
    return Address(
        name="pacs",
        calling_ae="MEDK2N",
        called_ae="PACS",
        host="127.0.0.1",
        port=port,
        connect_timeout_s=2.0,
        response_timeout_s=3.0,
    )


def offer(port: int, objects: list[Outgoing]) -> tuple[bool, list[tuple[str, Response]]]:
    answers: list[tuple[str, Response]] = []
    whole = send(to(port), objects, lambda one, response: answers.append((one.sop_uid, response)))
    return whole, answers


@pytest.fixture
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    """A receiver that answers as the test's parameter says."""
    answering: Answering | None = getattr(request, "param", None)
    with Receiver(answering=answering) as running:
        yield running


def test_every_object_is_sent_in_order_and_its_status_reported(
    receiver: Receiver, objects: list[Outgoing]
) -> None:
    whole, answers = offer(receiver.port, objects)
    assert whole
    assert [uid for uid, _ in answers] == receiver.offered == [one.sop_uid for one in objects]
    assert {response.status for _, response in answers} == {"0000"}
    assert [str(one.file_meta.TransferSyntaxUID) for one in receiver.received] == ["1.2.840.10008.1.2.1"] * 3


def out_of_space_in_the_middle(number: int, dataset: Dataset) -> int | Dataset:
    if number != 1:
        return 0x0000
    answer = Dataset()
    answer.Status = 0xA700
    answer.ErrorComment = "archive 2 is full"
    return answer


@pytest.mark.parametrize("receiver", [out_of_space_in_the_middle], indirect=True)
def test_one_refused_object_does_not_stop_the_others_and_its_comment_is_kept(
    receiver: Receiver, objects: list[Outgoing]
) -> None:
    whole, answers = offer(receiver.port, objects)
    assert whole
    assert [response.answer for _, response in answers] == [Answer.ACCEPTED, Answer.LATER, Answer.ACCEPTED]
    assert answers[1][1].words == "the peer is out of resources; the peer says: archive 2 is full"


def test_nobody_listening_is_said_with_the_address(objects: list[Outgoing]) -> None:
    port = free_port()
    with pytest.raises(Unreachable, match=f"PACS at 127.0.0.1:{port} does not answer"):
        offer(port, objects)


def test_a_rejected_association_says_what_the_peer_gave_as_the_reason(objects: list[Outgoing]) -> None:
    entity = AE(ae_title="OTHER")
    entity.add_supported_context(MR)
    entity.require_called_aet = True
    server = entity.start_server(("127.0.0.1", 0), block=False)
    try:
        with pytest.raises(Unreachable, match="rejected the association: Called AE title not recognised"):
            offer(server.server_address[1], objects)
    finally:
        server.shutdown()


def test_a_peer_that_takes_no_mr_images_is_said_so(objects: list[Outgoing]) -> None:
    entity = AE(ae_title="PACS")
    entity.add_supported_context(Verification)
    server = entity.start_server(("127.0.0.1", 0), block=False)
    try:
        with pytest.raises(Unreachable, match="accepted none of the offered object types"):
            offer(server.server_address[1], objects)
    finally:
        server.shutdown()


def test_a_file_that_changed_on_disk_is_never_sent(receiver: Receiver, objects: list[Outgoing]) -> None:
    content = objects[1].path.read_bytes()
    objects[1].path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    _, answers = offer(receiver.port, objects)
    assert receiver.offered == [objects[0].sop_uid, objects[2].sop_uid]
    assert answers[1][1].words == "not sent: its file is not the one that was written (the digest differs)"


def test_a_missing_file_waits_for_its_storage_to_come_back(
    receiver: Receiver, objects: list[Outgoing]
) -> None:
    objects[0].path.unlink()
    _, answers = offer(receiver.port, objects)
    assert answers[0][1].answer is Answer.LATER
    assert "cannot be read" in answers[0][1].words

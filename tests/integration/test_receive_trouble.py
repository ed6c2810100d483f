"""Senders that break off, stall, lie or send rubbish: each is answered, and nobody else notices."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from medk2n_node.config import Config, PeerSection
from medk2n_node.store.tables import Association, Conflict, Instance, Quarantine
from tests import peers
from tests.objects import MR, data_set_bytes, encoded, mr_slice
from tests.raw_sender import EXPLICIT, VERIFICATION, RawSender, associate_rq
from tests.receiving import Receiver, receiver, settled

SR = "1.2.840.10008.5.1.4.1.1.88.34"


@pytest.fixture
def node(node_config: Config) -> Iterator[Receiver]:
    with receiver(node_config) as running:
        yield running


def with_listener(config: Config, **values: object) -> Config:
    return config.model_copy(update={"listener": config.listener.model_copy(update=values)})


def send_one(node: Receiver) -> None:
    """A well-behaved sender."""
    dataset = mr_slice()
    with RawSender(node.port) as sender:
        sender.associate()
        assert sender.store(encoded(dataset), sop_uid=dataset.SOPInstanceUID) == (0x0000, "")
        sender.release()
    assert node.stored()[dataset.SOPInstanceUID] == encoded(dataset)


def test_a_poisoned_object_is_refused_and_the_association_goes_on(node: Receiver) -> None:
    good, truncated, nameless, mismatched = mr_slice(), mr_slice(), mr_slice(), mr_slice()
    del nameless.StudyInstanceUID
    with RawSender(node.port) as sender:
        sender.associate([(MR, [EXPLICIT]), (SR, [EXPLICIT])])
        status, words = sender.store(encoded(truncated)[:-50], sop_uid=truncated.SOPInstanceUID)
        assert (status, words[:41]) == (0xC000, "the object ends within (7FE0,0010): 512 b")
        status, words = sender.store(b"these bytes are no DICOM data set", sop_uid="1.2.3.4")
        assert status == 0xC000
        status, words = sender.store(encoded(nameless), sop_uid=nameless.SOPInstanceUID)
        assert (status, words) == (0xC000, "the object has no Study Instance UID")
        status, words = sender.store(b"", sop_uid="1.2.3.5")
        assert status == 0xC000
        status, words = sender.store(encoded(mismatched), sop_uid="1.2.3.6")
        assert status == 0xA900 and words.startswith("the sender announced SOP Instance UID 1.2.3.6")
        status, words = sender.store(
            encoded(mismatched), sop_uid=mismatched.SOPInstanceUID, sop_class=SR, context_id=3
        )
        assert status == 0xA900 and words.startswith("the sender announced SOP Class")
        status, words = sender.store(encoded(mismatched), sop_uid=mismatched.SOPInstanceUID, context_id=3)
        assert status == 0xA900
        assert sender.store(encoded(good), sop_uid=good.SOPInstanceUID) == (0x0000, "")
        sender.release()
    assert list(node.stored()) == [good.SOPInstanceUID]
    reasons = {row.code for row in node.rows(Quarantine)}
    assert reasons == {
        "truncated",
        "not_dicom",
        "missing_uid",
        "empty",
        "instance_mismatch",
        "class_mismatch",
    }
    kept = {data_set_bytes(node.store.path(row.path)) for row in node.rows(Quarantine)}
    assert encoded(truncated)[:-50] in kept and b"these bytes are no DICOM data set" in kept


def test_other_bytes_under_a_known_uid_are_answered_as_configured(node_config: Config) -> None:
    first = mr_slice()
    other = mr_slice(sop_uid=first.SOPInstanceUID, number=9)
    for configured, status in (("success", 0x0000), ("duplicate", 0x0111)):
        with receiver(with_listener(node_config, duplicate_status=configured)) as node:
            with RawSender(node.port) as sender:
                sender.associate()
                assert sender.store(encoded(first), sop_uid=first.SOPInstanceUID)[0] == 0x0000
                assert sender.store(encoded(other), sop_uid=first.SOPInstanceUID)[0] == status
                sender.release()
            assert node.stored() == {first.SOPInstanceUID: encoded(first)}
            assert len(node.rows(Conflict)) == 1


def test_a_full_disk_is_answered_a700_and_is_open_again_by_itself(node_config: Config) -> None:
    free = [0]
    dataset = mr_slice()
    with receiver(node_config, free_bytes=lambda: free[0]) as node, RawSender(node.port) as sender:
        sender.associate()
        assert sender.store(encoded(dataset), sop_uid=dataset.SOPInstanceUID) == (
            0xA700,
            "less than 1024 MiB are free",
        )
        free[0] = 10 << 30
        assert sender.store(encoded(dataset), sop_uid=dataset.SOPInstanceUID) == (0x0000, "")
        sender.release()


def test_a_database_that_fails_is_answered_a700_and_the_object_is_not_lost(
    node: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = mr_slice()
    with RawSender(node.port) as sender:
        sender.associate()
        with node.store.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE instance RENAME TO away")
        status, words = sender.store(encoded(dataset), sop_uid=dataset.SOPInstanceUID)
        assert status == 0xA700 and words.startswith("a row could not be written")
        with node.store.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE away RENAME TO instance")
        assert sender.store(encoded(dataset), sop_uid=dataset.SOPInstanceUID) == (0x0000, "")
        sender.release()
    assert node.stored() == {dataset.SOPInstanceUID: encoded(dataset)}


def test_a_sender_that_breaks_off_within_an_object_leaves_it_in_quarantine(node: Receiver) -> None:
    dataset = mr_slice()
    data = encoded(dataset)
    with RawSender(node.port) as sender:
        sender.associate()
        sender.send_command(sop_uid=dataset.SOPInstanceUID)
        sender.send_fragment(data[:400], last=False)
    assert settled(lambda: bool(node.rows(Quarantine)))
    (row,) = node.rows(Quarantine)
    assert (row.code, row.sop_uid) == ("interrupted", dataset.SOPInstanceUID)
    assert data_set_bytes(node.store.path(row.path)) == data[:400]
    assert settled(lambda: node.rows(Association)[0].ending == "lost")
    assert node.rows(Instance) == []
    send_one(node)


def test_three_hundred_port_probes_leave_no_thread_and_a_real_sender_works(node: Receiver) -> None:
    before = threading.active_count()
    for _ in range(300):
        socket.create_connection(("127.0.0.1", node.port)).close()
    send_one(node)
    assert settled(lambda: node.listener.connections == 0)
    assert threading.active_count() <= before
    assert len(node.rows(Association)) == 1


def test_silent_callers_keep_nobody_out_and_are_hung_up_on(node_config: Config) -> None:
    config = with_listener(node_config, max_associations=2, negotiation_timeout_seconds=1.0)
    with receiver(config) as node:
        silent = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(12)]
        started = time.monotonic()
        send_one(node)
        assert time.monotonic() - started < 5
        assert settled(lambda: node.listener.connections == 0)
        for one in silent:
            one.close()


def test_a_caller_that_trickles_its_request_is_hung_up_on_all_the_same(node_config: Config) -> None:
    request = associate_rq([(MR, [EXPLICIT])], calling_ae=b"SLOW", called_ae=b"B")
    with receiver(with_listener(node_config, negotiation_timeout_seconds=1.0)) as node:
        with socket.create_connection(("127.0.0.1", node.port)) as slow:
            started = time.monotonic()
            try:
                for byte in request:
                    slow.sendall(bytes([byte]))
                    time.sleep(0.1)
                    if not node.listener.connections:
                        break
            except ConnectionError:
                pass  # we were hung up on while sending
            assert time.monotonic() - started < 6
        send_one(node)


def test_an_idle_association_is_ended_after_its_time(node_config: Config) -> None:
    with (
        receiver(with_listener(node_config, idle_timeout_seconds=0.5)) as node,
        RawSender(node.port) as sender,
    ):
        sender.associate()
        kind, payload = sender.read_pdu()
        assert (kind, payload[2]) == (0x07, 2)  # A-ABORT by the provider
        assert settled(lambda: node.rows(Association)[0].ending == "timeout")


def test_a_slow_sender_with_pauses_within_the_limits_is_waited_for(node: Receiver) -> None:
    dataset = mr_slice()
    data = encoded(dataset)
    with RawSender(node.port) as sender:
        sender.associate()
        sender.send_command(sop_uid=dataset.SOPInstanceUID)
        for start in range(0, len(data), 200):
            sender.send_fragment(data[start : start + 200], last=start + 200 >= len(data))
            time.sleep(0.1)
        assert sender.read_status() == (0x0000, "")
        sender.release()
    assert node.stored() == {dataset.SOPInstanceUID: data}


@pytest.mark.parametrize(
    "rubbish",
    [
        b"GET / HTTP/1.0\r\nHost: pacs\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,  # a TLS greeting on the plain port
        b"\x04\x00\x00\x00\x00\x06\x00\x00\x00\x02\x01\x03",  # data before any association
        b"\x01\x00\xff\xff\xff\xff" + b"\0" * 50,  # a request of 4 GB
        b"\x01\x00\x00\x00\x00\x10" + b"\0" * 16,  # a request of 16 bytes
        bytes(range(256)),
    ],
)
def test_rubbish_is_answered_with_an_abort_and_nobody_else_notices(node: Receiver, rubbish: bytes) -> None:
    with RawSender(node.port) as sender:
        sender.socket.sendall(rubbish)
        sender.socket.shutdown(socket.SHUT_WR)
        kind, _ = sender.read_pdu()
        assert kind == 0x07
    send_one(node)


def test_rubbish_within_an_association_ends_it_and_its_row(node: Receiver) -> None:
    with RawSender(node.port) as sender:
        sender.associate()
        sender.socket.sendall(b"\x99" * 64)
        assert sender.read_pdu()[0] == 0x07
    assert settled(lambda: node.rows(Association)[0].ending == "aborted")
    send_one(node)


def test_a_message_in_a_context_that_was_not_agreed_on_ends_the_association(node: Receiver) -> None:
    with RawSender(node.port) as sender:
        sender.associate()
        sender.send_command(sop_uid="1.2.3", context_id=7)
        assert sender.read_pdu()[0] == 0x07


def test_another_operation_than_store_and_echo_is_answered_as_unrecognised(node: Receiver) -> None:
    with RawSender(node.port) as sender:
        sender.associate([(MR, [EXPLICIT]), (VERIFICATION, [EXPLICIT])])
        sender.send_command(sop_uid="", field=0x0020)  # C-FIND-RQ
        sender.send_fragment(b"\x08\x00\x52\x00CS\x06\x00STUDY ", last=True)
        assert sender.read_status()[0] == 0x0211
        sender.send_command(sop_uid="", sop_class=VERIFICATION, context_id=3, field=0x0030, data_set=False)
        assert sender.read_status()[0] == 0x0000
        sender.release()


def test_a_caller_who_is_not_on_the_list_is_rejected_with_the_standards_reason(node_config: Config) -> None:
    allowed = PeerSection(ae_title="MR1", hosts=("127.0.0.1",))
    with receiver(node_config.model_copy(update={"peers": (allowed,)})) as node:
        with RawSender(node.port) as sender:
            assert sender.request(calling_ae=b"STRANGER") == (0x03, struct.pack(">xBBB", 1, 1, 3))
        with RawSender(node.port) as sender:
            sender.associate(calling_ae=b"MR1")
            sender.release()


def test_dcmtk_reads_the_rejection_as_calling_ae_title_not_recognised(node_config: Config) -> None:
    allowed = PeerSection(ae_title="MR1", hosts=("127.0.0.1",))
    with receiver(node_config.model_copy(update={"peers": (allowed,)})) as node:
        refused = peers.echoscu(node.port, calling_ae="STRANGER")
    assert refused.returncode != 0
    assert "Calling AE Title Not Recognized" in refused.stderr + refused.stdout


def test_a_garbage_ae_title_is_rejected_and_the_next_caller_served(node: Receiver) -> None:
    with RawSender(node.port) as sender:
        kind, payload = sender.request(calling_ae=b"\xff\x00\xfe\x01")
        assert (kind, payload[1:]) == (0x03, bytes([1, 1, 3]))
    send_one(node)


def test_the_called_title_is_checked_where_configured(node_config: Config) -> None:
    with receiver(with_listener(node_config, require_called_ae=True)) as node, RawSender(node.port) as sender:
        kind, payload = sender.request(called_ae=b"SOMEBODY")
        assert (kind, payload[1:]) == (0x03, bytes([1, 1, 7]))


@pytest.mark.parametrize("limit", ["max_associations", "max_associations_per_host"])
def test_beyond_the_limit_a_caller_is_asked_to_come_again(node_config: Config, limit: str) -> None:
    with receiver(with_listener(node_config, **{limit: 2})) as node:
        held = [RawSender(node.port) for _ in range(2)]
        for one in held:
            one.associate()
        with RawSender(node.port) as sender:
            assert sender.request() == (0x03, struct.pack(">xBBB", 2, 3, 2))
        held[0].release()
        held[0].socket.close()
        assert settled(lambda: node.listener.associations == 1)
        send_one(node)
        held[1].socket.close()


def test_a_stop_lets_the_object_in_transfer_come_to_its_end(node_config: Config) -> None:
    dataset = mr_slice()
    data = encoded(dataset)
    config = with_listener(node_config, shutdown_seconds=10.0)
    with receiver(config) as node, RawSender(node.port) as sender:
        sender.associate()
        sender.send_command(sop_uid=dataset.SOPInstanceUID)
        sender.send_fragment(data[:300], last=False)
        stopping = threading.Thread(target=node.listener.stop)
        stopping.start()
        time.sleep(1.5)
        sender.send_fragment(data[300:], last=True)
        assert sender.read_status() == (0x0000, "")
        kind, _ = sender.read_pdu()
        assert kind == 0x07  # once it falls silent, it is hung up on
        stopping.join(15)
        assert not stopping.is_alive()
        assert node.stored() == {dataset.SOPInstanceUID: data}
        assert node.rows(Association)[0].ending == "shutdown"

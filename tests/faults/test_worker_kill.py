"""`kill -9` of the worker, in the middle of its work: the study is delivered all the same, and once."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.integration import phantom
from tests.integration.node import Destination, Node, node
from tests.integration.receiver import Receiver

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_a_worker_killed_during_synthesis_and_during_delivery_delivers_each_object_once(
    tmp_path: Path,
) -> None:
    written = phantom.read_study(phantom.write_phantom(tmp_path / "phantom", "T1", "T2"))
    uid, study = phantom.under_new_uids(written, "kill")
    slow = {"seconds": 0.3}

    def answer(number: int, dataset: object) -> int:
        time.sleep(slow["seconds"])
        return 0x0000

    with (
        Receiver(answering=answer) as pacs,
        node(tmp_path / "node", [Destination(name="pacs", ae_title="PACS", port=pacs.port)]) as running,
    ):
        running.send_datasets(phantom.flat(study))
        running.wait(uid, "SYNTHESIZING")
        first = running.worker_pid()
        _wait_for_stage(running, uid)
        os.kill(first, signal.SIGKILL)

        running.wait(uid, "DELIVERING")
        second = running.worker_pid()
        assert second != first
        deadline = time.monotonic() + 60
        while len(pacs.received) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(second, signal.SIGKILL)
        slow["seconds"] = 0.0

        document = running.wait(uid, "DELIVERED")
    kept = {str(one.SOPInstanceUID) for one in pacs.images()}
    assert len(kept) == phantom.SLICES
    assert len({str(one.SeriesInstanceUID) for one in pacs.images()}) == 1
    every = {str(one.SOPInstanceUID) for one in pacs.received}
    assert len(every) == phantom.SLICES + 2, "one map of uncertainty and one report go with the series"
    # An object that was on its way when the worker died is offered again; the PACS knows it by its UID.
    assert len(pacs.offered) <= len(every) + 1
    by_uid: dict[str, set[bytes]] = {}
    for one in pacs.received:
        by_uid.setdefault(str(one.SOPInstanceUID), set()).add(str(one.to_json()).encode())
    assert all(len(versions) == 1 for versions in by_uid.values()), "a repeated object differs from the first"
    states = [one["to"] for one in document["history"]]
    assert states == ["RECEIVING", "SETTLED", "PLANNED", "SYNTHESIZING", "ENCODED", "DELIVERING", "DELIVERED"]
    assert document["attempt"] == 2
    assert [(one["kind"], one["instances"]) for one in document["results"]] == [
        ("series", phantom.SLICES),
        ("uncertainty", 1),
        ("report", 1),
    ]


def _wait_for_stage(running: Node, uid: str) -> None:
    deadline = time.monotonic() + 300
    while running.show(uid)["stage"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.2)

"""The listener is killed in the middle of a transfer: what it acknowledged is there when it starts again."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import select

from medk2n_node.config import load_config
from medk2n_node.store import Store, open_store
from medk2n_node.store.tables import Association, Instance
from tests import peers
from tests.objects import data_set_bytes, encoded, mr_slice, new_uid
from tests.raw_sender import RawSender


class Modality(threading.Thread):
    """Sends objects without end and remembers which were acknowledged with 0x0000."""

    def __init__(self, port: int, study_uid: str) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.study_uid = study_uid
        self.acknowledged: dict[str, bytes] = {}

    def run(self) -> None:
        try:
            with RawSender(self.port, timeout_s=10) as sender:
                sender.associate()
                while True:
                    dataset = mr_slice(study_uid=self.study_uid, rows=128, columns=128)
                    data = encoded(dataset)
                    status, _ = sender.store(data, sop_uid=dataset.SOPInstanceUID)
                    if status == 0x0000:
                        self.acknowledged[dataset.SOPInstanceUID] = data
        except (AssertionError, OSError):
            return  # the listener is gone


def stored(store: Store) -> dict[str, bytes]:
    with store.reading() as session:
        rows = session.scalars(select(Instance)).all()
    return {row.sop_uid: data_set_bytes(store.path(row.path)) for row in rows}


def opened(folder: Path) -> Store:
    return open_store(load_config(folder / "node.toml", {}))


@pytest.mark.parametrize("after_s", [0.3, 0.55, 0.8])
def test_every_acknowledged_object_is_there_after_a_kill(tmp_path: Path, after_s: float) -> None:
    study = new_uid()
    with peers.listener(tmp_path) as first:
        modalities = [Modality(first.port, study) for _ in range(3)]
        for modality in modalities:
            modality.start()
        time.sleep(after_s)
        first.kill()
        for modality in modalities:
            modality.join(20)
            assert not modality.is_alive()
        port = first.port
    acknowledged = {uid: data for modality in modalities for uid, data in modality.acknowledged.items()}
    assert acknowledged, "the kill came before anything was acknowledged"

    with peers.listener(tmp_path, port=port) as second:
        store = opened(tmp_path)
        found = stored(store)
        assert acknowledged.items() <= found.items()
        # At most the one object of each sender whose answer was on its way is there beyond those.
        assert len(found) <= len(acknowledged) + len(modalities)
        assert not list((store.root / "incoming").rglob("*.part"))
        with store.reading() as session:
            endings = session.scalars(select(Association.ending)).all()
        assert endings == ["crashed"] * len(modalities)
        dataset = mr_slice(study_uid=study)
        with RawSender(second.port) as sender:
            sender.associate()
            assert sender.store(encoded(dataset), sop_uid=dataset.SOPInstanceUID)[0] == 0x0000
            sender.release()
        assert dataset.SOPInstanceUID in stored(store)
        store.close()


DYING = """
import os, signal, sys
from pathlib import Path
from medk2n_node.config import load_config
from medk2n_node.listener import Listener
from medk2n_node.store import open_store

where, after = sys.argv[2], int(sys.argv[3])
seen = 0

def step(name):
    global seen
    if name == where:
        seen += 1
        if seen > after:
            os.kill(os.getpid(), signal.SIGKILL)

config = load_config(Path(sys.argv[1]), os.environ)
listener = Listener(config, open_store(config, synchronous="NORMAL", step=step))
listener.start()
signal.pause()
"""


@pytest.mark.parametrize("step", ["written", "synced", "placed", "committed"])
def test_a_kill_between_any_two_steps_loses_nothing_that_was_acknowledged(tmp_path: Path, step: str) -> None:
    port = peers.free_port()
    config_file = tmp_path / "node.toml"
    config_file.write_text(
        f'[node]\nport = {port}\nstorage = "storage"\ndatabase = "sqlite:///medk2n.db"\n', encoding="utf-8"
    )
    log = tmp_path / "log"
    command = [sys.executable, "-c", DYING, str(config_file), step, "4"]
    with peers.running(command, log, environment=os.environ) as process:
        peers.wait_for_port(port, process, log)
        modality = Modality(port, new_uid())
        modality.start()
        assert process.wait(30) == -signal.SIGKILL
        modality.join(20)
    assert len(modality.acknowledged) == 4
    store = opened(tmp_path)
    report = store.sweep()
    found = stored(store)
    assert modality.acknowledged.items() <= found.items()
    expected = {
        "written": (0, 1, 4),
        "synced": (0, 1, 4),
        "placed": (1, 0, 5),
        "committed": (0, 0, 5),
    }[step]
    assert (report.adopted, report.quarantined, len(found)) == expected
    store.close()


def test_a_stop_by_sigterm_ends_the_process_cleanly(tmp_path: Path) -> None:
    with peers.listener(tmp_path, settings="[listener]\nshutdown_seconds = 2\n") as listener:
        with RawSender(listener.port) as sender:
            sender.associate()
            listener.process.send_signal(signal.SIGTERM)
            kind, _ = sender.read_pdu()
            assert kind == 0x07
        assert listener.process.wait(15) == 0
    store = opened(tmp_path)
    with store.reading() as session:
        assert session.scalars(select(Association.ending)).all() == ["shutdown"]
    store.close()


def test_a_port_in_use_is_an_error_in_words(tmp_path: Path) -> None:
    with (
        peers.listener(tmp_path / "first") as first,
        pytest.raises(AssertionError, match="the port cannot be opened"),
        peers.listener(tmp_path / "second", port=first.port) as second,
    ):
        second.process.wait(20)
        raise AssertionError(second.log.read_text())

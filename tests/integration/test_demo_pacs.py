"""The small PACS and the processes of the demo, over real sockets."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from medk2n_node.demo import scanner
from medk2n_node.demo.children import HOST, PACS_AE, Children, free_ports, write_config
from medk2n_node.demo.study import ScannedSeries, datasets
from medk2n_node.errors import InputError, NodeError, PeerError
from tests.unit.derive.cases import make_case


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    folder.mkdir()
    for contrast, series in make_case().sources.items():
        for one in series:
            one.save_as(folder / f"{contrast}-{one.InstanceNumber}.dcm", enforce_file_format=True)
    return folder


def ask(port: int, alive: Children) -> None:
    scanner.wait_until_it_answers(
        HOST, port, calling="TEST", called=PACS_AE, timeout_s=10, still_alive=alive.alive
    )


def test_it_answers_echo_keeps_what_it_is_sent_and_is_gone_afterwards(study: Path, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with Children() as children:
        children.start_pacs(tmp_path / "pacs", port, tmp_path / "pacs.log")
        ask(port, children)
        files = scanner.look_up(study)
        counted: list[int] = []
        scanner.send(files, HOST, port, calling="TEST", called=PACS_AE, sent=counted.append)
    assert counted == list(range(1, 13))
    kept = {path.stem: path for path in (tmp_path / "pacs").rglob("*.dcm")}
    for one in files:
        sent = dcmread(one.path)
        assert dcmread(kept[sent.SOPInstanceUID]).PixelData == sent.PixelData
        assert kept[sent.SOPInstanceUID].parent.name == sent.SeriesInstanceUID
    with pytest.raises(PeerError, match="did not answer C-ECHO"):
        scanner.wait_until_it_answers(
            HOST, port, calling="TEST", called=PACS_AE, timeout_s=0.5, still_alive=lambda: None
        )


def test_the_small_pacs_ends_when_the_process_that_started_it_is_gone(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [sys.executable, "-m", "medk2n_node.demo.pacs", "--folder", str(tmp_path), "--port", str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        assert process.stdout.readline().strip() == b"the small PACS listens"
        process.stdin.close()
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_node_that_cannot_start_is_reported_with_its_own_words(tmp_path: Path) -> None:
    config = write_config(tmp_path, node_port=1, pacs_port=2, quiet_seconds=2.0)
    config.write_text(config.read_text().replace("[completion]", "[completion]\nquiet = 3"))
    with Children() as children:
        children.start_node(config, tmp_path / "node.log")
        with pytest.raises(NodeError, match=r"the node: it ended by itself; its last words: .*quiet"):
            for _ in range(300):
                children.alive()
                time.sleep(0.1)


def test_every_process_is_ended_when_the_demo_fails(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    pids: list[int] = []
    with pytest.raises(ZeroDivisionError), Children() as children:
        children.start_pacs(tmp_path / "pacs", port, tmp_path / "pacs.log")
        pids += [process.pid for process, _ in children._running.values()]
        _ = 1 / 0
    assert pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_folder_that_is_no_study_is_refused_by_name(tmp_path: Path, study: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "notes.txt").write_text("nothing here")
    with pytest.raises(InputError, match="holds no DICOM file"):
        scanner.look_up(empty)
    array = np.ones((1, 4, 4), dtype=np.uint16)
    (other,) = datasets(ScannedSeries(contrast="T1", array=array, affine=np.eye(4)), key="another")
    other.save_as(study / "other.dcm", enforce_file_format=True)
    with pytest.raises(InputError, match="it holds 2 studies"):
        scanner.look_up(study)

"""A whole node for tests: `medk2n serve` as a process, spoken to over DICOM and by its own commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE

from tests import peers

START_SECONDS = 180.0
"""The worker imports torch and loads the weights; a busy machine takes its time."""

SYNTHESIS_SECONDS = 600.0
SETTLED_STATES = ("COMPLETE", "HELD", "REFUSED", "DELIVERED", "FAILED")


@dataclass(frozen=True, kw_only=True)
class Destination:
    """A receiver that the node is told to send to."""

    name: str
    ae_title: str
    port: int


@dataclass(frozen=True, kw_only=True)
class Node:
    """A running node. `process` is the supervisor; `ready` is the line it said when it was ready."""

    process: subprocess.Popen[str]
    config_file: Path
    folder: Path
    port: int
    ready: str

    def send(self, *paths: Path, calling_ae: str = "MODALITY") -> None:
        """Send every file below `paths` over one association; all must be accepted."""
        files = [
            file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*.dcm")))
        ]
        self.send_datasets([dcmread(file) for file in files], calling_ae=calling_ae)

    def send_datasets(self, datasets: Sequence[Dataset], *, calling_ae: str = "MODALITY") -> None:
        """Send data sets over one association; all must be accepted."""
        entity = AE(ae_title=calling_ae)
        for one in datasets:
            syntax = one.file_meta.TransferSyntaxUID
            if not any(
                context.abstract_syntax == one.SOPClassUID and syntax in context.transfer_syntax
                for context in entity.requested_contexts
            ):
                entity.add_requested_context(one.SOPClassUID, syntax)
        # On a busy machine pynetdicom's own thread may take an answer away from send_c_store, which then waits in vain
        # ("Received unexpected C-STORE service message"). A sender does what senders do: it sends what is open again.
        entity.dimse_timeout = 10
        open_ones = list(datasets)
        for _ in range(4):
            open_ones = self._offer(entity, open_ones)
            if not open_ones:
                return
        raise AssertionError(f"{len(open_ones)} objects were not answered in four attempts")

    def _offer(self, entity: AE, datasets: Sequence[Dataset]) -> list[Dataset]:
        """Send over one association; gives those that were not answered. Any answer but success is a failure."""
        association = entity.associate("127.0.0.1", self.port, ae_title="MEDK2N")
        assert association.is_established
        for number, one in enumerate(datasets):
            status = association.send_c_store(one)
            if not status:
                association.abort()
                return list(datasets[number:])
            assert status.Status == 0x0000, status
        association.release()
        return []

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of `medk2n` with the configuration of this node."""
        return subprocess.run(
            [sys.executable, "-m", "medk2n_node", "--config", str(self.config_file), *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def show(self, study_uid: str) -> dict[str, Any]:
        """What `studies show --json` says; an empty document while the study is not known."""
        done = self.command("studies", "show", study_uid, "--json")
        document: dict[str, Any] = json.loads(done.stdout)
        return {"state": None, "revision": 0} if "error" in document else document

    def wait(
        self,
        study_uid: str,
        *states: str,
        revision: int = 1,
        seconds: float = SYNTHESIS_SECONDS,
    ) -> dict[str, Any]:
        """Wait until revision `revision` of the study is in one of `states` (default: any that it rests in)."""
        wanted = states or SETTLED_STATES
        deadline = time.monotonic() + seconds
        while True:
            document = self.show(study_uid)
            if document["revision"] >= revision and document["state"] in wanted:
                return document
            rests = document["revision"] >= revision and document["state"] in SETTLED_STATES
            assert not rests, (document["state"], document["words"], document.get("report"))
            assert time.monotonic() < deadline, (document["state"], document.get("stage"), self.log()[-2000:])
            assert self.process.poll() is None, self.log()[-2000:]
            time.sleep(1.0)

    def log(self) -> str:
        """What the node wrote to its log so far."""
        return (self.folder / "node.log").read_text(errors="replace")

    def worker_pid(self) -> int:
        """The process id of the worker that runs now."""
        lines = [json.loads(line) for line in self.log().splitlines() if '"process is ready"' in line]
        return int([line["pid"] for line in lines if line["child"] == "worker"][-1])

    def stop(self) -> int:
        """End the node with SIGTERM and give its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def write_config(folder: Path, port: int, destinations: Sequence[Destination], settings: str = "") -> Path:
    """A node.toml with a short quiet period."""
    folder.mkdir(parents=True, exist_ok=True)
    blocks = "".join(
        f'[[destinations]]\nname = "{one.name}"\nae_title = "{one.ae_title}"\nhost = "127.0.0.1"\n'
        f"port = {one.port}\n"
        for one in destinations
    )
    file = folder / "node.toml"
    file.write_text(
        f'[node]\nport = {port}\nstorage = "storage"\ndatabase = "sqlite:///medk2n.db"\n'
        "[completion]\nquiet_seconds = 2.0\npoll_seconds = 0.3\n"
        "[delivery]\nbackoff_seconds = 1.0\nbackoff_max_seconds = 3.0\n"
        f'[observe]\nlog_format = "json"\n{blocks}{settings}',
        encoding="utf-8",
    )
    return file


@contextmanager
def node(
    folder: Path, destinations: Sequence[Destination] = (), *, port: int | None = None, settings: str = ""
) -> Iterator[Node]:
    """A node that runs for the `with` block and is ended in order after it."""
    chosen = port or peers.free_port()
    file = write_config(folder, chosen, destinations, settings)
    with (folder / "node.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "medk2n_node", "--config", str(file), "serve"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=dict(os.environ),
        )
    try:
        yield Node(
            process=process, config_file=file, folder=folder, port=chosen, ready=_ready_line(process, folder)
        )
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _ready_line(process: subprocess.Popen[str], folder: Path) -> str:
    assert process.stdout is not None
    timer = threading.Timer(START_SECONDS, process.kill)
    timer.start()
    try:
        line = process.stdout.readline().strip()
    finally:
        timer.cancel()
    if not line:
        log = (folder / "node.log").read_text(errors="replace")
        raise AssertionError(f"the node did not start:\n{log[-3000:]}")
    return line

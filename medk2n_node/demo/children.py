"""The processes of the demo: the node and the small PACS, started together and ended whatever happens."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from medk2n_node.demo.pacs import READY
from medk2n_node.errors import NodeError

NODE_AE, PACS_AE, SCANNER_AE = "MEDK2N", "DEMO_PACS", "DEMO_SCANNER"
HOST = "127.0.0.1"
_GRACE_S = 20.0


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on now."""
    probes = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((HOST, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def write_config(folder: Path, *, node_port: int, pacs_port: int, quiet_seconds: float) -> Path:
    """The node.toml of the demo: loopback only, one destination, a short quiet period."""
    path = folder / "node.toml"
    path.write_text(
        f"""# The configuration of `medk2n demo`.
[node]
ae_title = "{NODE_AE}"
host = "{HOST}"
port = {node_port}
storage = "storage"
database = "sqlite:///medk2n.db"

[[peers]]
ae_title = "{SCANNER_AE}"
hosts = ["{HOST}"]

[[destinations]]
name = "pacs"
ae_title = "{PACS_AE}"
host = "{HOST}"
port = {pacs_port}

[completion]
quiet_seconds = {quiet_seconds}
quiet_min_seconds = {quiet_seconds}
poll_seconds = 0.5

[delivery]
backoff_seconds = 2
""",
        encoding="utf-8",
    )
    return path


class Children:
    """Context manager: every process started through it is ended when it is left, with all it started."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[subprocess.Popen[bytes], Path]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start_pacs(self, folder: Path, port: int, log: Path) -> None:
        """Start the small PACS and wait until it listens; NodeError when it does not."""
        arguments = ["-m", "medk2n_node.demo.pacs", "--folder", str(folder), "--port", str(port)]
        process = self._start(
            "the small PACS", [*arguments, "--ae-title", PACS_AE], log, stdout=subprocess.PIPE
        )
        line = process.stdout.readline().decode("utf-8").strip() if process.stdout is not None else ""
        if line != READY:
            self.alive()
            raise self._ended("the small PACS", log)

    def start_node(self, config: Path, log: Path) -> None:
        """Start `medk2n serve`; it is up when it answers C-ECHO."""
        self._start("the node", ["-m", "medk2n_node", "--config", str(config), "serve"], log)

    def alive(self) -> None:
        """NodeError when a process has ended by itself."""
        for name, (process, log) in self._running.items():
            if process.poll() is not None:
                raise self._ended(name, log)

    def _start(
        self, name: str, arguments: Sequence[str], log: Path, *, stdout: int | None = None
    ) -> subprocess.Popen[bytes]:
        with log.open("ab") as stream:
            process = subprocess.Popen(
                # -P: a folder called model, training or dl in the working directory must not pass for a package.
                [sys.executable, "-P", *arguments],
                stdin=subprocess.PIPE,
                stdout=stream if stdout is None else stdout,
                stderr=stream,
                # A session of its own: Ctrl-C reaches this process alone, which then ends the others in order.
                start_new_session=True,
            )
        self._running[name] = (process, log)
        return process

    def _ended(self, name: str, log: Path) -> NodeError:
        lines = [
            line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()
        ]
        # What a command calls its error outranks what others logged after it.
        last = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")] or lines
        return NodeError(
            code="child_ended",
            subject=name,
            reason=f"it ended by itself; its last words: {last[-1] if last else '(none)'}",
            cure=f"Its log is {log}",
        )

    def stop(self) -> None:
        """End everything: SIGTERM, a grace period, then SIGKILL to the whole group."""
        for process, _ in self._running.values():
            process.terminate()  # the leader alone: it ends its own processes in order
        for process, _ in self._running.values():
            try:
                process.wait(timeout=_GRACE_S)
            except subprocess.TimeoutExpired:
                pass  # killed below with its group
            finally:
                _kill_group(process.pid)
                process.wait()
                for stream in (process.stdin, process.stdout):
                    if stream is not None:
                        stream.close()
        self._running.clear()


def _kill_group(group: int) -> None:
    """End what is left of a process group; it outlives its leader while any member runs."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return

"""The supervisor of `medk2n serve`, with small scripts in place of the listener and the worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from medk2n_node.serve import READY, Supervisor

SAY_READY = f"import sys, time, os; print('{READY}' + str(os.getpid()), flush=True); "
STAY = SAY_READY + "time.sleep(600)"
FOLLOW = f"from medk2n_node.serve import end_with_supervisor; end_with_supervisor(); {STAY}"


def python(script: str) -> list[str]:
    return [sys.executable, "-c", script]


class Running:
    """A supervisor on a thread of its own."""

    def __init__(self, commands: Mapping[str, list[str]]) -> None:
        self.announced: list[Mapping[str, str]] = []
        self.ready = threading.Event()
        self.supervisor = Supervisor(commands, self._announce)
        self.code: int | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _announce(self, words: Mapping[str, str]) -> None:
        self.announced.append(words)
        self.ready.set()

    def _run(self) -> None:
        self.code = self.supervisor.run()

    def end(self) -> int | None:
        self.supervisor.stop()
        self._thread.join(30)
        return self.code

    def join(self) -> int | None:
        self._thread.join(30)
        return self.code


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def wait_for(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_it_says_ready_once_when_all_children_are() -> None:
    running = Running({"a": python(STAY), "b": python(STAY)})
    assert running.ready.wait(20)
    assert running.end() == 0
    assert [set(words) for words in running.announced] == [{"a", "b"}]
    assert not any(alive(int(pid)) for pid in running.announced[0].values())


def test_a_child_that_dies_is_started_again_and_the_other_is_left_alone() -> None:
    running = Running({"a": python(STAY), "b": python(STAY)})
    assert running.ready.wait(20)
    before = running.supervisor.pids()
    os.kill(before["a"], signal.SIGKILL)
    wait_for(lambda: running.supervisor.pids().get("a") not in (None, before["a"]))
    assert running.supervisor.pids()["b"] == before["b"]
    assert running.end() == 0
    assert len(running.announced) == 1


def test_a_child_that_cannot_start_ends_the_node_with_its_exit_code() -> None:
    running = Running({"a": python(STAY), "b": python("import sys; sys.exit(3)")})
    assert running.join() == 3
    assert not running.ready.is_set()


def test_children_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    script = (
        "from medk2n_node.serve import Supervisor; import sys; "
        f"Supervisor({{'a': [sys.executable, '-c', {FOLLOW!r}]}}, lambda words: print(words['a'], flush=True)).run()"
    )
    with subprocess.Popen(python(script), stdout=subprocess.PIPE, text=True) as supervisor:
        try:
            assert supervisor.stdout is not None
            child = int(next(line for line in supervisor.stdout if line.strip().isdigit()))
            assert alive(child)
        finally:
            supervisor.kill()
    wait_for(lambda: not alive(child))

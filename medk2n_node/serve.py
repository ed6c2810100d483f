"""`medk2n serve`: starts the processes of the node, watches them, restarts what dies, ends them in order.

A child says on its standard output, in one line, that it is ready; it holds the reading end of a pipe of ours as
standard input, so that it also ends when the supervisor itself is killed. A child that dies before it was ever
ready is a failed start and ends the node with its exit code; one that dies later is started again, after a
delay that doubles while it keeps dying.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from medk2n_node.observe import get_logger

log = get_logger("serve")

READY = "medk2n-ready "
"""How a child's line that says it is ready begins; what it says for people follows."""

FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 60.0
STEADY_SECONDS = 60.0
"""A child that ran this long starts again with the first delay."""

STOP_SECONDS = 30.0
"""How long children may take to end in order before they are killed."""


@dataclass(frozen=True, kw_only=True)
class News:
    """Something that happened: a child is ready (with its words), a child ended (with its code), or stop."""

    kind: Literal["ready", "ended", "stop"]
    name: str = ""
    words: str = ""
    code: int = 0
    pid: int = 0


@dataclass(kw_only=True)
class Child:
    """One process under supervision. `start_at` is set while it waits for its next start (monotonic seconds)."""

    name: str
    command: Sequence[str]
    process: subprocess.Popen[str] | None = None
    words: str | None = None
    was_ready: bool = False
    started: float = 0.0
    delay: float = FIRST_DELAY_SECONDS
    start_at: float | None = field(default=None)


def command_of(name: str, config_file: Path | None) -> list[str]:
    """The command line of a child process: the same program with the same configuration."""
    options = [] if config_file is None else ["--config", str(config_file)]
    # -P: a folder called model, training or dl in the working directory must not pass for a package.
    return [sys.executable, "-P", "-m", "medk2n_node", *options, "serve", name, "--supervised"]


class Supervisor:
    """Runs children until told to stop. `on_ready` is called once, when all are ready, with their words."""

    def __init__(
        self, commands: Mapping[str, Sequence[str]], on_ready: Callable[[Mapping[str, str]], None]
    ) -> None:
        self._children = {name: Child(name=name, command=command) for name, command in commands.items()}
        self._on_ready = on_ready
        self._news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._followers: list[threading.Thread] = []

    def stop(self) -> None:
        """End the children and let `run` return. May be called from a signal handler."""
        self._news.put(News(kind="stop"))

    def run(self) -> int:
        """Start and watch the children; gives the exit code of the node."""
        for child in self._children.values():
            self._start(child)
        try:
            return self._watch()
        finally:
            self._end_all()

    def pids(self) -> dict[str, int]:
        """The process ids of the children that run."""
        return {
            name: child.process.pid for name, child in self._children.items() if child.process is not None
        }

    def _watch(self) -> int:
        announced = False
        while True:
            for child in self._children.values():
                if child.start_at is not None and time.monotonic() >= child.start_at:
                    self._start(child)
            try:
                news = self._news.get(timeout=self._next_start())
            except queue.Empty:
                continue
            if news.kind == "stop":
                return 0
            child = self._children[news.name]
            if child.process is None or child.process.pid != news.pid:
                continue  # news of a process that was replaced already
            if news.kind == "ready":
                child.words, child.was_ready = news.words, True
                log.info("process is ready", child=child.name, pid=news.pid)
                if not announced and all(one.was_ready for one in self._children.values()):
                    announced = True
                    self._on_ready({one.name: one.words or "" for one in self._children.values()})
            elif not child.was_ready:
                log.error("process could not start", child=child.name, code=news.code)
                return news.code if news.code > 0 else 1
            else:
                self._schedule(child, news.code)

    def _next_start(self) -> float | None:
        waits = [
            child.start_at - time.monotonic()
            for child in self._children.values()
            if child.start_at is not None
        ]
        return max(0.0, min(waits)) if waits else None

    def _schedule(self, child: Child, code: int) -> None:
        now = time.monotonic()
        if now - child.started >= STEADY_SECONDS:
            child.delay = FIRST_DELAY_SECONDS
        log.error(
            "process ended; it is started again", child=child.name, code=code, delay_seconds=child.delay
        )
        child.process = None
        child.start_at = now + child.delay
        child.delay = min(child.delay * 2, LONGEST_DELAY_SECONDS)

    def _start(self, child: Child) -> None:
        # A session of its own: Ctrl-C in a terminal reaches the supervisor alone, which then ends the children.
        process = subprocess.Popen(
            child.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        child.process, child.started, child.start_at = process, time.monotonic(), None
        follower = threading.Thread(target=self._follow, args=(child.name, process), daemon=True)
        follower.start()
        self._followers = [*(one for one in self._followers if one.is_alive()), follower]

    def _follow(self, name: str, process: subprocess.Popen[str]) -> None:
        """Read a child's lines to their end, then its exit code."""
        stdout: IO[str] | None = process.stdout
        if stdout is not None:
            for line in stdout:
                if line.startswith(READY):
                    words = line.removeprefix(READY).strip()
                    self._news.put(News(kind="ready", name=name, words=words, pid=process.pid))
                else:
                    sys.stderr.write(line)
            stdout.close()
        code = process.wait()
        if process.stdin is not None:
            process.stdin.close()
        self._news.put(News(kind="ended", name=name, code=code, pid=process.pid))

    def _end_all(self) -> None:
        running = [child.process for child in self._children.values() if child.process is not None]
        for process in running:
            if process.poll() is None:
                process.terminate()
        until = time.monotonic() + STOP_SECONDS
        for process in running:
            try:
                process.wait(timeout=max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.error("process did not end in time and is killed", pid=process.pid)
                process.kill()
                process.wait()
        for follower in self._followers:
            follower.join(timeout=1.0)


def on_signals(stop: Callable[[], None]) -> None:
    """Call `stop` on SIGTERM and SIGINT."""

    def handle(number: int, frame: object) -> None:
        stop()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)


def announce_ready(words: str, *, supervised: bool) -> None:
    """Say that this process is ready: to the supervisor in its form, to a person in plain words."""
    sys.stdout.write(f"{READY}{words}\n" if supervised else f"medk2n ready: {words}\n")
    sys.stdout.flush()


def end_with_supervisor() -> None:
    """End this process in order when the supervisor is gone: its end of our standard input closes with it."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="supervisor-watch", daemon=True).start()

"""The listener as a process of its own."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType

from medk2n_node.config import Config
from medk2n_node.listener.server import Listener, serve_until
from medk2n_node.observe import configure_logging
from medk2n_node.store import open_store


def run(config: Config, *, ready: Callable[[int], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then stop gracefully. Call it on the main thread of a process.

    Args:
        ready: called with the open port once callers are accepted.

    Raises:
        NodeError: the storage, the database or the port cannot be used.
    """
    configure_logging(config.observe, process="listener")
    asked_to_stop = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        asked_to_stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    # Every row that the listener writes can be rebuilt from a synced file: the sync of each commit is spared.
    store = open_store(config, synchronous="NORMAL")
    try:
        listener = Listener(config, store)

        def wait() -> None:
            if ready is not None:
                ready(listener.port)
            asked_to_stop.wait()

        serve_until(listener, wait)
    finally:
        store.close()

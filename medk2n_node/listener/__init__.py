"""Storage and Verification SCP: bytes from the network into the store, and a status back.

In: associations. Out: files and rows, by way of the store. Never decodes a pixel, never imports torch, never
waits for another process; the worker finds what arrived in the tables.
"""

from __future__ import annotations

from medk2n_node.listener.run import run
from medk2n_node.listener.server import Listener

__all__ = ["Listener", "run"]

"""Received objects as files on disk, and the tables about them and about all that was decided and done.

In: bytes as they were sent. Out: rows and paths. Never decodes a pixel, never deletes what was received.
"""

from __future__ import annotations

from medk2n_node.store.intake import DiskFullError, Intake, Outcome
from medk2n_node.store.part10 import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION
from medk2n_node.store.store import Clock, Store, open_store, utc_now
from medk2n_node.store.sweep import SweepReport

__all__ = [
    "IMPLEMENTATION_UID",
    "IMPLEMENTATION_VERSION",
    "Clock",
    "DiskFullError",
    "Intake",
    "Outcome",
    "Store",
    "SweepReport",
    "open_store",
    "utc_now",
]

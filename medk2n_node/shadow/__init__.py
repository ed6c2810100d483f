"""Shadow mode: sequences that are present are made from the others and compared with them, so that drift is seen.

In: one study in N that is finished. Out: a row of figures in `shadow/rows.jsonl` below the storage root, and a table of
drift per scanner and protocol. Never: an image that leaves this room, patient data, or a moment of a real study's time.
"""

from __future__ import annotations

from medk2n_node.shadow.drift import Drift, drift_of
from medk2n_node.shadow.rows import ShadowRow, Tried, ledger_of
from medk2n_node.shadow.run import chosen, shadow_study
from medk2n_node.shadow.watch import Shadow

__all__ = ["Drift", "Shadow", "ShadowRow", "Tried", "chosen", "drift_of", "ledger_of", "shadow_study"]

"""What Med-K2N is compared with: each a `Method`, trained or fitted on the same cases with the same budget.

In: training cases. Out: methods for `training.evaluate`. Never: a look at the truth, but where the name says oracle.
"""

from __future__ import annotations

from training.peers.method import Method, brain_slices, connected, source_slices

__all__ = ["Method", "brain_slices", "connected", "source_slices"]

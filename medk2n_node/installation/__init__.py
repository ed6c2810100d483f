"""What is installed on this machine, and whether it can carry the node.

In: the environment, the configuration. Out: rows that a person can read (`Check`). Never changes anything, with one
exception that the install step and `medk2n doctor --repair` ask for by name: `stray.remove` deletes what sam2 leaves
behind.
"""

from __future__ import annotations

from medk2n_node.installation.checks import Check, Echo, Echoed, State
from medk2n_node.installation.examine import examine

__all__ = ["Check", "Echo", "Echoed", "State", "examine"]

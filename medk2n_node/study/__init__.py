"""What becomes of a study: when it has settled, what is planned, what is done, and why.

In: what the listener stored. Out: revisions that move along one table of states, each move with its time and its
reason. The workflow here calls the other rooms in order and commits what they returned; a crash anywhere leaves
the state before that commit. Never decodes a network message, never decides what a series shows.
"""

from __future__ import annotations

from medk2n_node.study.completion import (
    CompletionRules,
    SenderAssociation,
    Settled,
    Snapshot,
    Waiting,
    verdict,
)
from medk2n_node.study.received import received_files
from medk2n_node.study.revisions import latest, release, retry
from medk2n_node.study.states import TRANSITIONS, IllegalTransition, State
from medk2n_node.study.view import list_document, show_document, unfiled_document

__all__ = [
    "TRANSITIONS",
    "CompletionRules",
    "IllegalTransition",
    "SenderAssociation",
    "Settled",
    "Snapshot",
    "State",
    "Waiting",
    "latest",
    "list_document",
    "received_files",
    "release",
    "retry",
    "show_document",
    "unfiled_document",
    "verdict",
]

"""The durable side of delivery: one queue per destination, one workflow per turn.

A turn that leaves something open enqueues the next one with a delay, so waiting for a dead PACS occupies
nothing, survives a restart, and never stands in the way of another destination or of the next study.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from dbos import DBOS, SetEnqueueOptions, SetWorkflowID

from medk2n_node.config import Config, DestinationSection
from medk2n_node.delivery.send import send_due
from medk2n_node.store import Store

RunningStates = ("ENQUEUED", "DELAYED", "PENDING")


def queue_name(destination: str) -> str:
    """The name of a destination's queue."""
    return f"deliver-{destination}"


class Deliverer:
    """The delivery workflow and its queues. Create it before the engine is launched.

    `after_turn(revision_id)` is called after every turn; it moves the revision when nothing is open any more.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        clock: Callable[[], datetime],
        after_turn: Callable[[int], None],
    ) -> None:
        self._destinations: Mapping[str, DestinationSection] = {one.name: one for one in config.destinations}

        @DBOS.step(name="send_due", retries_allowed=True, max_attempts=3)
        def send_step(revision_id: int, destination: str) -> float | None:
            turn = send_due(config, store, revision_id, self._destinations[destination], clock)
            return turn.wait_s

        @DBOS.step(name="after_turn", retries_allowed=True, max_attempts=3)
        def after_step(revision_id: int) -> None:
            after_turn(revision_id)

        @DBOS.workflow(name="deliver", max_recovery_attempts=None)
        def deliver(revision_id: int, destination: str, stay: int, turn: int) -> None:
            wait_s = send_step(revision_id, destination)
            after_step(revision_id)
            if wait_s is not None:
                self._enqueue(revision_id, destination, stay, turn + 1, wait_s)

        self._deliver = deliver

    def register_queues(self) -> None:
        """Make a queue for each destination; call after the engine was launched."""
        for name in self._destinations:
            DBOS.register_queue(queue_name(name), worker_concurrency=1, polling_interval_sec=0.5)

    @property
    def names(self) -> frozenset[str]:
        """The destinations that can be delivered to."""
        return frozenset(self._destinations)

    def ensure(self, revision_id: int, destination: str, stay: int) -> None:
        """See to it that a turn is queued, delayed or running for the open objects of a revision.

        `stay` names this stay of the revision in DELIVERING. Safe to call at any time, from any worker.
        """
        turns = DBOS.list_workflows(
            workflow_id_prefix=_workflow_id(revision_id, destination, stay, None),
            load_input=False,
            load_output=False,
        )
        if not any(one.status in RunningStates for one in turns):
            self._enqueue(revision_id, destination, stay, len(turns), 0.0)

    def _enqueue(self, revision_id: int, destination: str, stay: int, turn: int, delay_s: float) -> None:
        with SetWorkflowID(_workflow_id(revision_id, destination, stay, turn)):
            if delay_s > 0:
                with SetEnqueueOptions(delay_seconds=delay_s):
                    DBOS.enqueue_workflow(
                        queue_name(destination), self._deliver, revision_id, destination, stay, turn
                    )
            else:
                DBOS.enqueue_workflow(
                    queue_name(destination), self._deliver, revision_id, destination, stay, turn
                )


def _workflow_id(revision_id: int, destination: str, stay: int, turn: int | None) -> str:
    return f"deliver:{revision_id}:{destination}:{stay}:{'' if turn is None else turn}"

"""The durable engine behind the study's steps. Everything the node asks of DBOS is in this module and its twin in
`delivery`, so that the engine could be exchanged.

What is true about a revision stands in our own tables; the engine only makes sure that its next step runs, again
after a crash, and one at a time where the device allows one. So a lost engine database loses nothing: `ensure`
queues whatever the tables say is owed, under names that a second call recognises.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from dbos import DBOS, DBOSConfig, SetWorkflowID
from dbos import error as engine_error
from sqlalchemy.engine import make_url

from medk2n_node.delivery.workflow import Deliverer
from medk2n_node.observe import get_logger, words_of
from medk2n_node.study.context import Context
from medk2n_node.study.delivery_step import close_delivery
from medk2n_node.study.plan_step import plan_revision
from medk2n_node.study.states import State
from medk2n_node.study.synthesis_step import fail_revision, synthesize_revision

log = get_logger("study")

PLAN_QUEUE = "plan"
SYNTHESIS_QUEUE = "synthesis"
APPLICATION_VERSION = "1"
"""Raised when the steps of a workflow change order: work recorded under another version is not replayed."""

STOP_SECONDS = 2
"""How long a stopping worker lets running steps end; a synthesis does not, and is taken up again later."""

_DEAD = ("ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")


class Engine:
    """The queues and workflows of one worker process. One per process: DBOS keeps global state."""

    def __init__(self, context: Context, executor_id: str) -> None:
        self._context = context
        attempts = context.config.synthesis.attempts
        engine_config: DBOSConfig = {
            "name": "medk2n",
            "system_database_url": engine_url(context.config.node.database),
            "executor_id": executor_id,
            "application_version": APPLICATION_VERSION,
            "log_level": "WARNING",
            "enable_otlp": False,
        }
        DBOS(config=engine_config)

        @DBOS.step(
            name="plan", retries_allowed=True, max_attempts=attempts, interval_seconds=2.0, backoff_rate=4.0
        )
        def plan_step(revision_id: int) -> str:
            return _in_words(plan_revision, context, revision_id)

        @DBOS.step(
            name="synthesize",
            retries_allowed=True,
            max_attempts=attempts,
            interval_seconds=2.0,
            backoff_rate=4.0,
        )
        def synthesize_step(revision_id: int) -> str:
            return _in_words(synthesize_revision, context, revision_id)

        @DBOS.step(name="fail", retries_allowed=True, max_attempts=3)
        def fail_step(revision_id: int, words: str) -> None:
            fail_revision(context, revision_id, words)

        # No cap on recoveries: each run of a step counts itself in the revision's row, which also survives the
        # loss of the engine's database, and gives up with words instead of an engine's error.
        @DBOS.workflow(name="plan_revision", max_recovery_attempts=None)
        def plan_workflow(revision_id: int) -> None:
            try:
                plan_step(revision_id)
            except engine_error.DBOSMaxStepRetriesExceeded as error:
                fail_step(revision_id, str(error.errors[-1]))

        @DBOS.workflow(name="synthesize_revision", max_recovery_attempts=None)
        def synthesis_workflow(revision_id: int) -> None:
            try:
                synthesize_step(revision_id)
            except engine_error.DBOSMaxStepRetriesExceeded as error:
                fail_step(revision_id, str(error.errors[-1]))

        self._plan = plan_workflow
        self._synthesize = synthesis_workflow

        def after_turn(revision_id: int) -> None:
            close_delivery(context, revision_id)

        self._deliverer = Deliverer(context.config, context.store, context.clock, after_turn)

    def launch(self) -> None:
        """Start the engine; what this executor id left unfinished is taken up again."""
        prepare_database(engine_url(self._context.config.node.database))
        DBOS.launch()
        DBOS.register_queue(PLAN_QUEUE, worker_concurrency=2, polling_interval_sec=0.5)
        DBOS.register_queue(SYNTHESIS_QUEUE, worker_concurrency=1, polling_interval_sec=0.5)
        self._deliverer.register_queues()

    def stop(self) -> None:
        """Stop taking up work. What runs is recovered by whoever holds the executor id next."""
        DBOS.destroy(workflow_completion_timeout_sec=STOP_SECONDS)

    @property
    def destinations(self) -> frozenset[str]:
        """The destinations that can be delivered to."""
        return self._deliverer.names

    def ensure(self, revision_id: int, state: State, stay: int) -> str | None:
        """See to it that the step which `state` waits for is queued or running.

        `stay` names this stay of the revision in that state (the id of the transition that began it). Gives the
        engine's word when the step can no longer run by itself, else None.
        """
        queue, function = {
            State.SETTLED: (PLAN_QUEUE, self._plan),
            State.PLANNED: (SYNTHESIS_QUEUE, self._synthesize),
        }[state]
        name = f"{queue}:{revision_id}:{stay}"
        status = DBOS.get_workflow_status(name)
        if status is None:
            with SetWorkflowID(name):
                DBOS.enqueue_workflow(queue, function, revision_id)
        elif status.status in _DEAD:
            return f"the durable engine gave up on this step ({status.status})"
        return None

    def ensure_delivery(self, revision_id: int, destination: str, stay: int) -> None:
        """See to it that the open objects of a revision are offered to a destination when they are due."""
        self._deliverer.ensure(revision_id, destination, stay)

    def recover(self, executor_ids: list[str]) -> None:
        """Queue the unfinished work of dead workers again. Idempotent."""
        DBOS._recover_pending_workflows(executor_ids)  # the engine offers no public call for this


def engine_url(database: str) -> str:
    """The engine's database for the node's: a file beside it, or its own schema in the same PostgreSQL."""
    url = make_url(database)
    if url.get_backend_name() != "sqlite" or not url.database:
        return url.set(drivername="postgresql").render_as_string(hide_password=False)
    file = Path(url.database)
    return f"sqlite:///{file.with_name(f'{file.stem}-engine{file.suffix}')}"


def prepare_database(url_text: str) -> None:
    """Put a SQLite engine database into write-ahead logging: a step then costs 3 ms, not 8. It is kept in the file."""
    url = make_url(url_text)
    if url.get_backend_name() != "sqlite" or not url.database:
        return
    Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(url.database, timeout=30)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()


class StepFailed(Exception):
    """An attempt at a step ended in an error; the words name it. Plain text, so that the engine can store it."""


def _in_words(step: Callable[[Context, int], str], context: Context, revision_id: int) -> str:
    try:
        return step(context, revision_id)
    except Exception as error:
        log.error("an attempt failed", revision_id=revision_id, exc_info=True)
        # Without the cause: the engine prints and stores what it is given, and the cause may quote a patient.
        raise StepFailed(words_of(error)) from None

"""What a worker does on every tick: settle studies, queue what is owed, take over from dead workers.

The tick reads our own tables and makes the engine follow them. It may run in any number of workers at once:
opening a revision is unique by its number, moves are compare-and-set, and queueing is recognised by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, OperationalError

from dicom_rules.derive import is_ours_or_synthetic
from medk2n_node.delivery import outbox
from medk2n_node.models import ModelUnusable
from medk2n_node.observe import get_logger, words_of
from medk2n_node.store.tables import Instance, Revision
from medk2n_node.study import intake, revisions, slots
from medk2n_node.study.completion import CompletionRules
from medk2n_node.study.context import Context
from medk2n_node.study.delivery_step import close_delivery
from medk2n_node.study.plan_step import MODEL_UNUSABLE
from medk2n_node.study.states import ACTIVE, IllegalTransition, State
from medk2n_node.study.synthesis_step import fail_revision
from medk2n_node.study.workflow import Engine

log = get_logger("study")

OVERLAP = timedelta(seconds=60)
"""Rows of the same moment are committed at different times; a study is looked at again for this long."""

RECHECK = timedelta(seconds=30)
"""How often steps that were queued are checked to be still on their way, and dead workers are looked for."""


@dataclass(frozen=True, kw_only=True)
class Owed:
    """A step that a revision waits for: `stay` is the transition that began the wait."""

    revision_id: int
    state: State
    stay: int
    destination: str | None = None


class Attendant:
    """One worker's view of what is to be done. `slot` is the lease under which its engine runs."""

    def __init__(self, context: Context, engine: Engine, slot: slots.Slot) -> None:
        self._context = context
        self._engine = engine
        self._slot = slot
        self._since: datetime | None = None
        self._queued: set[Owed] = set()
        self._rechecked: datetime | None = None

    def tick(self) -> None:
        """Do what is due now."""
        now = self._context.clock()
        self._settle(now)
        if self._rechecked is None or now - self._rechecked >= RECHECK:
            self._rechecked = now
            self._queued.clear()
            self._take_over(now)
            self._release_held(now)
        self._queue()

    def _settle(self, now: datetime) -> None:
        completion = self._context.config.completion
        rules = CompletionRules(
            quiet_seconds=completion.quiet_seconds, max_wait_seconds=completion.max_wait_minutes * 60.0
        )
        with self._context.store.reading() as session:
            newest = intake.newest_arrival(session)
            studies = intake.candidates(session, self._since)
        for study_uid in studies:
            try:
                with self._context.store.session() as session:
                    intake.look_after(session, study_uid, now, rules, self._loop_reason)
            except (IntegrityError, revisions.Overtaken):
                log.debug("another worker looked after this study", study=study_uid)
            except OperationalError:
                raise  # the database is away: the whole tick is tried again
            except Exception:
                # One study that cannot be looked after must not stop the others, on this tick or any later one.
                log.error("a study could not be looked after", study=study_uid, exc_info=True)
        if newest is not None:
            self._since = newest - OVERLAP

    def _loop_reason(self, instance: Instance) -> str | None:
        """Why an instance may never be a source because it is synthetic; None when it is not, or unreadable."""
        try:
            header = dcmread(self._context.store.path(instance.path), stop_before_pixels=True)
        except (OSError, InvalidDicomError, ValueError, EOFError) as error:
            log.warning("an object cannot be read", sop_uid=instance.sop_uid, error=words_of(error))
            return None
        return is_ours_or_synthetic(header)

    def _queue(self) -> None:
        for owed in self._owed():
            if owed in self._queued:
                continue
            if owed.state is State.DELIVERING:
                self._queue_delivery(owed)
            else:
                trouble = self._engine.ensure(owed.revision_id, owed.state, owed.stay)
                if trouble is not None:
                    self._give_up(owed, trouble)
            self._queued.add(owed)

    def _owed(self) -> list[Owed]:
        steps: list[Owed] = []
        with self._context.store.reading() as session:
            rows = session.scalars(
                select(Revision)
                .where(Revision.state.in_([state.value for state in ACTIVE]))
                .order_by(Revision.id)
            ).all()
            for row in rows:
                state = State(row.state)
                if state is State.SYNTHESIZING:
                    state = State.PLANNED  # the step began there and is the same until it ends
                stay = revisions.entered_by(session, row.id, state)
                if state is State.DELIVERING:
                    names = outbox.open_destinations(session, row.id)
                    steps += [
                        Owed(revision_id=row.id, state=state, stay=stay, destination=name) for name in names
                    ]
                    if not names:
                        steps.append(Owed(revision_id=row.id, state=state, stay=stay))
                elif state is not State.ENCODED:
                    steps.append(Owed(revision_id=row.id, state=state, stay=stay))
            for revision_id in outbox.resting_with_open(session):
                state = State(revisions.get(session, revision_id).state)
                stay = revisions.entered_by(session, revision_id, state)
                steps += [
                    Owed(revision_id=revision_id, state=State.DELIVERING, stay=stay, destination=name)
                    for name in outbox.open_destinations(session, revision_id)
                ]
        return steps

    def _queue_delivery(self, owed: Owed) -> None:
        if owed.destination is None:
            close_delivery(self._context, owed.revision_id)
        elif owed.destination in self._engine.destinations:
            self._engine.ensure_delivery(owed.revision_id, owed.destination, owed.stay)
        else:
            with self._context.store.session() as session:
                outbox.discard(session, owed.destination, "this destination is no longer configured")
            close_delivery(self._context, owed.revision_id)

    def _give_up(self, owed: Owed, words: str) -> None:
        log.error("a step cannot run", revision_id=owed.revision_id, reason=words)
        fail_revision(self._context, owed.revision_id, words)

    def _release_held(self, now: datetime) -> None:
        """Studies that wait for a model that can be used go on when there is one."""
        with self._context.store.reading() as session:
            held = session.scalars(
                select(Revision.id).where(Revision.state == State.HELD.value, Revision.code == MODEL_UNUSABLE)
            ).all()
        if not held:
            return
        try:
            self._context.bundle()
        except ModelUnusable as error:
            log.warning("studies wait for a model", studies=len(held), reason=str(error))
            return
        for revision_id in held:
            try:
                with self._context.store.session() as session:
                    revisions.move(
                        session,
                        revisions.get(session, revision_id),
                        State.SETTLED,
                        now=now,
                        words="the model in force can be used again",
                    )
            except (revisions.Overtaken, IllegalTransition):
                log.debug("somebody else moved this revision", revision_id=revision_id)

    def _take_over(self, now: datetime) -> None:
        with self._context.store.reading() as session:
            dead = slots.dead_slots(session, self._slot, now)
        for executor_id in dead:
            with self._context.store.session() as session:
                seized = slots.seize(session, executor_id, self._slot, now)
            if not seized:
                continue
            log.warning("a worker is gone; its unfinished work is taken over", executor=executor_id)
            self._engine.recover([executor_id])
            with self._context.store.session() as session:
                slots.drop(session, executor_id, self._slot)

"""From received instances to settled revisions: what the worker does on every tick.

Reads what the listener wrote, opens a revision for instances that no revision holds, and freezes it when the
completion verdict says so. Our own results and every other synthetic object that comes back are counted to the
revision they meet and open no work (the loop guard): a PACS that forwards what it receives cannot make the
node synthesise for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from medk2n_node.store.tables import Association, Instance, ResultInstance, Revision, RevisionInstance, Study
from medk2n_node.study import revisions
from medk2n_node.study.completion import (
    CompletionRules,
    SenderAssociation,
    Settled,
    Snapshot,
    Waiting,
    verdict,
)
from medk2n_node.study.states import State

LoopReason = Callable[[Instance], str | None]
"""Gives the sentence why an instance may never be a source because it is synthetic, or None."""

OURS = "objects that this node made came back; they are never a source"


def candidates(session: Session, since: datetime | None) -> list[str]:
    """Studies with an instance that no revision holds, among those touched since `since` or still receiving."""
    held = (
        select(RevisionInstance.sop_uid)
        .join(Revision, Revision.id == RevisionInstance.revision_id)
        .where(Revision.study_uid == Study.study_uid)
        .correlate(Study)
    )
    waiting = select(Instance.sop_uid).where(
        Instance.study_uid == Study.study_uid, Instance.sop_uid.not_in(held)
    )
    query = select(Study.study_uid).where(waiting.correlate(Study).exists())
    if since is not None:
        receiving = select(Revision.study_uid).where(Revision.state == State.RECEIVING.value)
        query = query.where(or_(Study.last_at >= since, Study.study_uid.in_(receiving)))
    return list(session.scalars(query.order_by(Study.last_at)))


def look_after(
    session: Session, study_uid: str, now: datetime, rules: CompletionRules, loop_reason: LoopReason
) -> Settled | Waiting | None:
    """Bring the revisions of one study up to date with what was received.

    Gives the verdict when one was asked for, None when nothing waits to be settled.
    """
    waiting = _uncovered(session, study_uid)
    if not waiting:
        return None
    revision = revisions.latest(session, study_uid)
    if revision is not None and revision.state != State.RECEIVING.value:
        returned, news = _sort(session, waiting, loop_reason)
        for sentence, uids in returned.items():
            revisions.absorb(session, revision, uids, sentence)
        if not news:
            return None
        waiting = news
        revision = None
    if revision is None:
        revision = revisions.begin(session, study_uid, now)
    answer = verdict(_snapshot(session, study_uid, waiting), now, rules)
    if isinstance(answer, Settled):
        revisions.settle(session, revision, now, code=answer.code, sentences=answer.evidence)
    return answer


def _uncovered(session: Session, study_uid: str) -> list[Instance]:
    """The instances of a study that no revision holds, oldest first."""
    held = (
        select(RevisionInstance.sop_uid)
        .join(Revision, Revision.id == RevisionInstance.revision_id)
        .where(Revision.study_uid == study_uid)
    )
    return list(
        session.scalars(
            select(Instance)
            .where(Instance.study_uid == study_uid, Instance.sop_uid.not_in(held))
            .order_by(Instance.received_at)
        )
    )


def _sort(
    session: Session, instances: Sequence[Instance], loop_reason: LoopReason
) -> tuple[dict[str, list[str]], list[Instance]]:
    """Split into what came back (SOP UIDs by sentence) and what is news."""
    study_uid = instances[0].study_uid
    made = set(
        session.scalars(
            select(ResultInstance.sop_uid)
            .join(Revision, Revision.id == ResultInstance.revision_id)
            .where(Revision.study_uid == study_uid)
        )
    )
    returned: dict[str, list[str]] = {}
    news: list[Instance] = []
    for instance in instances:
        sentence = OURS if instance.sop_uid in made else loop_reason(instance)
        if sentence is None:
            news.append(instance)
        else:
            returned.setdefault(sentence, []).append(instance.sop_uid)
    return returned, news


def _snapshot(session: Session, study_uid: str, waiting: Sequence[Instance]) -> Snapshot:
    ids = {instance.association_id for instance in waiting}
    rows = session.scalars(select(Association).where(Association.id.in_(ids))).all()
    associations = [
        SenderAssociation(
            association_id=row.id,
            calling_ae=row.calling_ae,
            last_at=row.last_at,
            closed_at=row.closed_at,
            ending=row.ending,
            moved_on=row.closed_at is None and _moved_on(session, row.id, study_uid),
        )
        for row in rows
    ]
    return Snapshot(
        study_uid=study_uid,
        instances=len(waiting),
        series=len({instance.series_uid for instance in waiting}),
        first_at=min(instance.received_at for instance in waiting),
        last_at=max(instance.received_at for instance in waiting),
        associations=associations,
    )


def _moved_on(session: Session, association_id: str, study_uid: str) -> bool:
    newest = session.execute(
        select(Instance.study_uid)
        .where(Instance.association_id == association_id)
        .order_by(Instance.received_at.desc())
        .limit(1)
    ).scalar()
    return newest is not None and newest != study_uid


def newest_arrival(session: Session) -> datetime | None:
    """When the newest instance of any study arrived."""
    return session.execute(select(func.max(Study.last_at))).scalar()

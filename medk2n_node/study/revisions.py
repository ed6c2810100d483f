"""The revision rows: opened, settled, moved along the arrows, superseded, retried.

Every function works inside the session it is given and never commits: the caller decides what belongs to one
transaction. A move is a compare-and-set on the stored state, so of two processes that want to move the same
revision one wins and the other gets `Overtaken`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

from sqlalchemy import CursorResult, insert, literal, select, update
from sqlalchemy.orm import Session

from medk2n_node.delivery import outbox
from medk2n_node.observe import get_logger
from medk2n_node.store.tables import (
    Instance,
    ResultInstance,
    Revision,
    RevisionInstance,
    Transition,
)
from medk2n_node.study.states import IllegalTransition, State, can_be_superseded, check

log = get_logger("study")


SUPERSEDES = "supersedes"
"""The code of a revision that is held because it would supersede what was delivered."""

NO_RESULTS = ("report", "rejection")
"""Kinds of object that tell about a revision and are no result of a synthesis."""


class Overtaken(Exception):
    """Another process moved the revision first; what this one was about to do is no longer wanted."""

    def __init__(self, revision_id: int, expected: State) -> None:
        self.revision_id = revision_id
        super().__init__(f"revision {revision_id} is no longer {expected.value}")


def latest(session: Session, study_uid: str) -> Revision | None:
    """The newest revision of a study, or None before the first."""
    return session.scalars(
        select(Revision).where(Revision.study_uid == study_uid).order_by(Revision.number.desc()).limit(1)
    ).first()


def get(session: Session, revision_id: int) -> Revision:
    """The revision with this id; it must exist."""
    return session.scalars(select(Revision).where(Revision.id == revision_id)).one()


def begin(session: Session, study_uid: str, now: datetime) -> Revision:
    """Open the next revision of a study in RECEIVING; an unfinished older one is superseded."""
    before = latest(session, study_uid)
    number = 1 if before is None else before.number + 1
    revision = Revision(
        study_uid=study_uid,
        number=number,
        state=State.RECEIVING.value,
        created_at=now,
        updated_at=now,
        evidence={},
        attempt=0,
    )
    check(None, State.RECEIVING)
    session.add(revision)
    session.flush()
    words = (
        "first instance of the study"
        if before is None
        else f"instances arrived after revision {before.number}"
    )
    _note(session, revision.id, None, State.RECEIVING, now, None, words)
    if before is not None and can_be_superseded(State(before.state)):
        move(
            session,
            before,
            State.SUPERSEDED,
            now=now,
            words=f"revision {number} took over: later instances arrived",
        )
        outbox.close(session, before.id, f"superseded by revision {number}")
    return revision


def settle(
    session: Session, revision: Revision, now: datetime, *, code: str, sentences: Sequence[str]
) -> None:
    """Freeze all instances of the study as this revision, with the evidence for doing so now."""
    mine = select(RevisionInstance.sop_uid).where(RevisionInstance.revision_id == revision.id)
    session.execute(
        insert(RevisionInstance).from_select(
            ["revision_id", "sop_uid"],
            select(literal(revision.id), Instance.sop_uid).where(
                Instance.study_uid == revision.study_uid, Instance.sop_uid.not_in(mine)
            ),
        )
    )
    revision.set_hash = _set_hash(session, revision.id)
    revision.evidence = {"completion": {"code": code, "sentences": list(sentences)}}
    move(session, revision, State.SETTLED, now=now, code=code, words="; ".join(sentences))


def absorb(session: Session, revision: Revision, sop_uids: Sequence[str], sentence: str) -> None:
    """Count instances to a revision without opening work: our own results, or other synthetic objects."""
    session.execute(
        insert(RevisionInstance), [{"revision_id": revision.id, "sop_uid": uid} for uid in sop_uids]
    )
    evidence = dict(revision.evidence)
    absorbed = dict(evidence.get("returned", {}))
    absorbed[sentence] = int(absorbed.get(sentence, 0)) + len(sop_uids)
    evidence["returned"] = absorbed
    revision.evidence = evidence


def move(
    session: Session,
    revision: Revision,
    new: State,
    *,
    now: datetime,
    code: str | None = None,
    words: str | None = None,
    release: str | None = None,
) -> None:
    """Move a revision along an allowed arrow and write the transition.

    Raises:
        IllegalTransition: the table has no such arrow.
        Overtaken: another process moved the revision since it was read.
    """
    old = State(revision.state)
    check(old, new)
    session.flush()
    moved = cast(
        CursorResult[Any],
        session.execute(
            update(Revision)
            .where(Revision.id == revision.id, Revision.state == old.value)
            .values(state=new.value, updated_at=now, code=code, words=words, release=release, stage=None)
            .execution_options(synchronize_session=False)
        ),
    )
    if moved.rowcount != 1:
        raise Overtaken(revision.id, old)
    session.refresh(revision)
    log.info(
        "revision moved",
        study=revision.study_uid,
        revision=revision.number,
        old=old.value,
        new=new.value,
        code=code,
    )
    _note(session, revision.id, old, new, now, code, words)


def retry(session: Session, revision: Revision, now: datetime) -> State:
    """What a person asks for with `studies retry`: take up the revision again where it stopped.

    HELD and REFUSED are decided anew; FAILED goes back to the step that failed. Gives the new state; raises
    IllegalTransition where nothing can be retried.
    """
    old = State(revision.state)
    new = State.SETTLED
    if old is State.FAILED:
        if session.scalars(
            select(ResultInstance)
            .where(ResultInstance.revision_id == revision.id, ResultInstance.kind.not_in(NO_RESULTS))
            .limit(1)
        ).first():
            new = State.DELIVERING
        elif revision.plan is not None:
            new = State.PLANNED
    move(session, revision, new, now=now, words="a person asked for another attempt")
    revision.attempt = 0
    if new is State.DELIVERING:
        outbox.reopen(session, revision.id, now)
    return new


def release(session: Session, revision: Revision, now: datetime) -> State:
    """What a person says with `studies release`: a revision held for superseding may go on.

    Raises IllegalTransition when the revision is not held, ValueError when it is held for another reason, which
    nobody can wave through.
    """
    if State(revision.state) is not State.HELD:
        raise IllegalTransition(State(revision.state), State.SETTLED)
    if revision.code != SUPERSEDES:
        raise ValueError(f"it is held for another reason ({revision.code}: {revision.words})")
    released = [*revision.evidence.get("released", []), SUPERSEDES]
    revision.evidence = {**revision.evidence, "released": released}
    move(session, revision, State.SETTLED, now=now, words="a person released it")
    return State.SETTLED


def instances(session: Session, revision_id: int) -> list[Instance]:
    """The instances that a revision is made of, by series and UID."""
    return list(
        session.scalars(
            select(Instance)
            .join(RevisionInstance, RevisionInstance.sop_uid == Instance.sop_uid)
            .where(RevisionInstance.revision_id == revision_id)
            .order_by(Instance.series_uid, Instance.sop_uid)
        )
    )


def entered_by(session: Session, revision_id: int, state: State) -> int:
    """The id of the transition that last put the revision into `state`: names one stay in that state."""
    return session.scalars(
        select(Transition.id)
        .where(Transition.revision_id == revision_id, Transition.new == state.value)
        .order_by(Transition.id.desc())
        .limit(1)
    ).one()


def _set_hash(session: Session, revision_id: int) -> str:
    """SHA-256 over the (SOP UID, content hash) pairs of the revision; our own results do not count."""
    ours = select(ResultInstance.sop_uid)
    rows = session.execute(
        select(Instance.sop_uid, Instance.sha256)
        .join(RevisionInstance, RevisionInstance.sop_uid == Instance.sop_uid)
        .where(RevisionInstance.revision_id == revision_id, Instance.sop_uid.not_in(ours))
        .order_by(Instance.sop_uid)
    )
    digest = hashlib.sha256()
    for sop_uid, sha256 in rows:
        digest.update(f"{sop_uid} {sha256}\n".encode())
    return digest.hexdigest()


def _note(
    session: Session,
    revision_id: int,
    old: State | None,
    new: State,
    now: datetime,
    code: str | None,
    words: str | None,
) -> None:
    session.add(
        Transition(
            revision_id=revision_id,
            old=None if old is None else old.value,
            new=new.value,
            at=now,
            code=code,
            words=words,
        )
    )

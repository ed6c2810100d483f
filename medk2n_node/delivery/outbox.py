"""The ledger of what has to go where: one row per object and destination.

Every function works inside the session it is given and never commits. A row is OPEN until the destination
accepted the object (DONE) or the time to give up came (DEAD); every answer is kept in the row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from medk2n_node.delivery.backoff import BackoffRules, delay_seconds, given_up
from medk2n_node.delivery.scu import Outgoing
from medk2n_node.delivery.statuses import DECLINED_STATUS, REJECTED_ATTEMPTS, Answer, Response
from medk2n_node.store.tables import Delivery, ResultInstance, Revision, Transition

RESTING = ("COMPLETE", "HELD", "REFUSED")
"""States of a revision that makes nothing and may have a report to deliver."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How far the deliveries of a revision, or of a revision to one destination, have come.

    `declined`: objects beside the series that a destination has no use for (it supports no such class); they are not
    counted as `dead`.
    """

    open: int
    done: int
    dead: int
    next_at: datetime | None
    last_error: str | None
    declined: int = 0


def write(
    session: Session, revision_id: int, sop_uids: Sequence[str], destinations: Iterable[str], now: datetime
) -> None:
    """Put objects into the outbox of each destination.

    An object that an earlier revision already wrote (the same sources give the same UIDs) keeps its row where it
    was accepted, and becomes due again where it was not.
    """
    for destination in destinations:
        known = {
            row.sop_uid: row
            for row in session.scalars(
                select(Delivery).where(Delivery.destination == destination, Delivery.sop_uid.in_(sop_uids))
            )
        }
        for uid in sop_uids:
            row = known.get(uid)
            if row is None:
                session.add(
                    Delivery(
                        revision_id=revision_id,
                        sop_uid=uid,
                        destination=destination,
                        state="OPEN",
                        attempts=0,
                        next_at=now,
                    )
                )
                continue
            row.revision_id = revision_id
            if row.state != "DONE":
                row.state, row.attempts, row.next_at, row.last_error = "OPEN", 0, now, None


def due(session: Session, revision_id: int, destination: str, now: datetime, storage: Path) -> list[Outgoing]:
    """The objects of a revision that are to be offered to a destination now, in the order they were written."""
    rows = session.execute(
        select(
            ResultInstance.sop_uid,
            ResultInstance.sop_class,
            ResultInstance.path,
            ResultInstance.sha256,
            ResultInstance.kind,
        )
        .join(Delivery, Delivery.sop_uid == ResultInstance.sop_uid)
        .where(
            Delivery.revision_id == revision_id,
            Delivery.destination == destination,
            Delivery.state == "OPEN",
            Delivery.next_at <= now,
        )
        .order_by(Delivery.id)
    )
    return [
        Outgoing(
            sop_uid=uid,
            sop_class=sop_class,
            path=storage / path,
            sha256=digest,
            needed=kind in ("series", "enhanced"),
        )
        for uid, sop_class, path, digest, kind in rows
    ]


def record(
    session: Session,
    sop_uid: str,
    destination: str,
    response: Response,
    *,
    now: datetime,
    rules: BackoffRules,
    chance: float,
) -> None:
    """Keep the answer to one object and decide when, or whether, it is offered again."""
    row = session.scalars(
        select(Delivery).where(Delivery.sop_uid == sop_uid, Delivery.destination == destination)
    ).one()
    row.attempts += 1
    row.last_status = response.status
    if response.answer is Answer.ACCEPTED:
        row.state = "DONE"
        row.done_at = now
        # A warning is kept: the object is there, but the peer changed or doubted something.
        row.last_error = None if response.status == "0000" else response.words
        return
    row.last_error = response.words
    spent = response.answer is Answer.DECLINED or (
        response.answer is Answer.REJECTED and row.attempts >= REJECTED_ATTEMPTS
    )
    if row.state != "OPEN":
        return  # superseded meanwhile
    if spent or given_up(written_at(session, row.revision_id, now), now, rules):
        row.state = "DEAD"
    else:
        row.next_at = now + timedelta(seconds=delay_seconds(row.attempts, rules, chance))


def postpone(
    session: Session,
    revision_id: int,
    destination: str,
    words: str,
    *,
    now: datetime,
    rules: BackoffRules,
    chance: float,
) -> None:
    """No association could be made: every due object waits for the same next attempt, or is given up."""
    rows = session.scalars(
        select(Delivery).where(
            Delivery.revision_id == revision_id,
            Delivery.destination == destination,
            Delivery.state == "OPEN",
            Delivery.next_at <= now,
        )
    ).all()
    if not rows:
        return
    over = given_up(written_at(session, revision_id, now), now, rules)
    next_at = now + timedelta(seconds=delay_seconds(max(row.attempts for row in rows) + 1, rules, chance))
    for row in rows:
        row.attempts += 1
        row.last_status = None
        row.last_error = words
        row.state = "DEAD" if over else "OPEN"
        row.next_at = next_at


def discard(session: Session, destination: str, words: str) -> int:
    """Turn every open row of a destination into a dead letter; gives how many there were."""
    rows = session.scalars(
        select(Delivery).where(Delivery.destination == destination, Delivery.state == "OPEN")
    ).all()
    for row in rows:
        row.state = "DEAD"
        row.last_error = words
    return len(rows)


def standing(session: Session, revision_id: int, destination: str | None = None) -> Standing:
    """Count a revision's rows by state, for one destination or all."""
    query = select(Delivery).where(Delivery.revision_id == revision_id)
    if destination is not None:
        query = query.where(Delivery.destination == destination)
    every = session.scalars(query.order_by(Delivery.id)).all()
    rows = [row for row in every if not (row.state == "DEAD" and row.last_status == DECLINED_STATUS)]
    open_rows = [row for row in rows if row.state == "OPEN"]
    troubled = [row for row in rows if row.last_error and row.state != "DONE"]
    return Standing(
        open=len(open_rows),
        done=sum(row.state == "DONE" for row in rows),
        dead=sum(row.state == "DEAD" for row in rows),
        next_at=min((row.next_at for row in open_rows), default=None),
        last_error=f"{troubled[-1].destination}: {troubled[-1].last_error}" if troubled else None,
        declined=len(every) - len(rows),
    )


def open_destinations(session: Session, revision_id: int) -> list[str]:
    """The destinations that a revision still has open rows for."""
    return list(
        session.scalars(
            select(Delivery.destination)
            .where(Delivery.revision_id == revision_id, Delivery.state == "OPEN")
            .distinct()
            .order_by(Delivery.destination)
        )
    )


def resting_with_open(session: Session) -> list[int]:
    """The revisions that rest (their work is done) while a report of theirs is still to be delivered."""
    return list(
        session.scalars(
            select(Revision.id)
            .where(Revision.state.in_(RESTING))
            .where(Revision.id.in_(select(Delivery.revision_id).where(Delivery.state == "OPEN")))
            .order_by(Revision.id)
        )
    )


def all_open_destinations(session: Session) -> list[str]:
    """Every destination that any open row names."""
    return list(session.scalars(select(Delivery.destination).where(Delivery.state == "OPEN").distinct()))


def written_at(session: Session, revision_id: int, now: datetime) -> datetime:
    """When the revision last began to be delivered: the time to give up is counted from here.

    A report of a revision that makes nothing goes out from the state in which that revision rests.
    """
    began = session.execute(
        select(func.max(Transition.at)).where(
            Transition.revision_id == revision_id, Transition.new.in_(("DELIVERING", *RESTING))
        )
    ).scalar()
    return began or now


def reopen(session: Session, revision_id: int, now: datetime) -> None:
    """Make the dead letters of a revision due again, with a fresh count."""
    session.execute(
        update(Delivery)
        .where(Delivery.revision_id == revision_id, Delivery.state == "DEAD")
        .values(state="OPEN", attempts=0, next_at=now)
    )


def close(session: Session, revision_id: int, why: str) -> None:
    """Stop offering the open objects of a revision (a newer one took over)."""
    session.execute(
        update(Delivery)
        .where(Delivery.revision_id == revision_id, Delivery.state == "OPEN")
        .values(state="DEAD", last_error=why)
    )

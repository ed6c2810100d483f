"""The step after every turn of delivery: DELIVERING ends as DELIVERED or FAILED once no object is open."""

from __future__ import annotations

from medk2n_node.delivery import outbox
from medk2n_node.study import revisions
from medk2n_node.study.context import Context
from medk2n_node.study.states import State


def close_delivery(context: Context, revision_id: int) -> str:
    """DELIVERING -> DELIVERED or FAILED once no object is open. Gives the state it is in afterwards."""
    with context.store.session() as session:
        revision = revisions.get(session, revision_id)
        if revision.state != State.DELIVERING.value:
            return revision.state
        standing = outbox.standing(session, revision_id)
        now = context.clock()
        if standing.open:
            return revision.state
        if standing.dead:
            total = standing.dead + standing.done
            revisions.move(
                session,
                revision,
                State.FAILED,
                now=now,
                code="dead_letter",
                words=f"{standing.dead} of {total} deliveries were not accepted; {standing.last_error}",
                release="medk2n studies retry offers them again",
            )
            return revision.state
        report = dict(revision.report or {})
        began = outbox.written_at(session, revision_id, now)
        report["seconds"] = {**report.get("seconds", {}), "deliver": round((now - began).total_seconds(), 3)}
        revision.report = report
        words = (
            f"{standing.done} deliveries were accepted"
            if standing.done
            else "no destination is configured: the results stay in the storage folder"
        )
        if standing.declined:
            words += (
                f"; {standing.declined} beside the series found no use (the destination takes no such object)"
            )
        revisions.move(session, revision, State.DELIVERED, now=now, words=words)
        return revision.state

"""From instances to revisions: opened, settled, superseded, and left alone when our own output comes back."""

from __future__ import annotations

from sqlalchemy import func, select

from medk2n_node.store.tables import Instance, ResultInstance, Revision, RevisionInstance
from medk2n_node.study import intake, revisions
from medk2n_node.study.completion import CompletionRules, Settled, Waiting
from medk2n_node.study.states import State
from tests.unit.study.desk import Desk

RULES = CompletionRules(quiet_seconds=5, max_wait_seconds=3600)


def nothing_synthetic(instance: Instance) -> str | None:
    return None


def look(
    desk: Desk, study: str, loop_reason: intake.LoopReason = nothing_synthetic
) -> Settled | Waiting | None:
    with desk.store.session() as session:
        return intake.look_after(session, study, desk.now, RULES, loop_reason)


def move(desk: Desk, study: str, *states: State) -> None:
    with desk.store.session() as session:
        revision = revisions.latest(session, study)
        assert revision is not None
        for state in states:
            revisions.move(session, revision, state, now=desk.now)


def settled(desk: Desk, study: str = "1.2", *sops: str) -> None:
    association = desk.associate()
    for sop in sops or ("1.2.1", "1.2.2"):
        desk.receive(study, sop, association)
    desk.release(association)
    desk.wait(5)
    assert isinstance(look(desk, study), Settled)


def test_a_first_instance_opens_revision_one_and_waits(desk: Desk) -> None:
    desk.receive("1.2", "1.2.1", desk.associate())
    assert isinstance(look(desk, "1.2"), Waiting)
    assert desk.states("1.2") == [(1, "RECEIVING")]


def test_a_settled_revision_holds_its_instances_a_hash_and_the_evidence(desk: Desk) -> None:
    settled(desk)
    with desk.store.reading() as session:
        revision = revisions.latest(session, "1.2")
        assert revision is not None
        held = session.execute(select(func.count()).select_from(RevisionInstance)).scalar_one()
        assert (revision.state, held, len(revision.set_hash or "")) == ("SETTLED", 2, 64)
        assert revision.evidence["completion"]["code"] == "quiet"
        sentences = revision.evidence["completion"]["sentences"]
        assert sentences[-1] == "no further instance for 5 s; the quiet period is 5 s"


def test_the_same_set_in_another_order_has_the_same_hash(desk: Desk) -> None:
    settled(desk, "1.2", "1.2.1", "1.2.2")
    with desk.store.reading() as session:
        first = revisions.latest(session, "1.2")
        assert first is not None
        assert revisions.latest(session, "none") is None
        again = revisions._set_hash(session, first.id)
    assert again == first.set_hash


def test_a_settled_study_with_nothing_new_is_no_candidate(desk: Desk) -> None:
    settled(desk)
    with desk.store.reading() as session:
        assert intake.candidates(session, None) == []
    assert look(desk, "1.2") is None


def test_a_study_still_receiving_stays_a_candidate_however_long_it_is_silent(desk: Desk) -> None:
    desk.receive("1.2", "1.2.1", desk.associate())
    look(desk, "1.2")
    desk.wait(1000)
    with desk.store.reading() as session:
        assert intake.candidates(session, desk.now) == ["1.2"]


def test_a_late_instance_supersedes_unfinished_work_with_the_next_revision(desk: Desk) -> None:
    settled(desk)
    move(desk, "1.2", State.PLANNED, State.SYNTHESIZING)
    settled(desk, "1.2", "1.2.3")
    assert desk.states("1.2") == [(1, "SUPERSEDED"), (2, "SETTLED")]
    assert (1, "SYNTHESIZING", "SUPERSEDED", "revision 2 took over: later instances arrived") in desk.history(
        "1.2"
    )
    with desk.store.reading() as session:
        second = revisions.latest(session, "1.2")
        assert second is not None
        held = select(func.count()).where(RevisionInstance.revision_id == second.id)
        assert session.execute(held).scalar_one() == 3


def test_a_late_instance_leaves_what_was_delivered_as_it_is(desk: Desk) -> None:
    settled(desk)
    move(desk, "1.2", State.PLANNED, State.SYNTHESIZING, State.ENCODED, State.DELIVERING, State.DELIVERED)
    settled(desk, "1.2", "1.2.3")
    assert desk.states("1.2") == [(1, "DELIVERED"), (2, "SETTLED")]


def test_our_own_object_coming_back_opens_no_revision_even_while_it_is_being_delivered(desk: Desk) -> None:
    settled(desk)
    move(desk, "1.2", State.PLANNED, State.SYNTHESIZING, State.ENCODED, State.DELIVERING)
    with desk.store.session() as session:
        revision = revisions.latest(session, "1.2")
        assert revision is not None
        session.add(
            ResultInstance(
                sop_uid="2.25.1",
                revision_id=revision.id,
                series_uid="2.25",
                contrast="FLAIR",
                path="r",
                sha256="0",
            )
        )
    desk.receive("1.2", "2.25.1", desk.associate(), series="2.25")
    assert look(desk, "1.2") is None
    assert desk.states("1.2") == [(1, "DELIVERING")]
    with desk.store.reading() as session:
        row = session.scalars(select(Revision)).one()
        assert row.evidence["returned"] == {intake.OURS: 1}
        assert intake.candidates(session, None) == []


def test_a_synthetic_object_of_another_node_opens_no_revision_either(desk: Desk) -> None:
    settled(desk)
    desk.receive("1.2", "1.2.77", desk.associate(), series="1.77")
    assert look(desk, "1.2", lambda instance: "Synthetic Data (0008,001C) is YES") is None
    assert desk.states("1.2") == [(1, "SETTLED")]


def test_a_study_that_begins_with_a_synthetic_object_still_gets_its_revision_and_its_verdict(
    desk: Desk,
) -> None:
    association = desk.associate()
    desk.receive("1.2", "1.2.77", association)
    desk.release(association)
    desk.wait(5)
    assert isinstance(look(desk, "1.2", lambda instance: "synthetic"), Settled)


def test_two_workers_that_move_the_same_revision_do_so_once(desk: Desk) -> None:
    settled(desk)
    with desk.store.reading() as session:
        stale = revisions.latest(session, "1.2")
        assert stale is not None
    move(desk, "1.2", State.PLANNED)
    try:
        with desk.store.session() as session:
            revisions.move(session, session.merge(stale, load=False), State.PLANNED, now=desk.now)
    except revisions.Overtaken as error:
        assert str(error) == f"revision {stale.id} is no longer SETTLED"
    else:
        raise AssertionError("the second move was not noticed")


def test_retry_takes_up_a_failed_revision_where_it_stopped(desk: Desk) -> None:
    settled(desk)
    move(desk, "1.2", State.FAILED)
    with desk.store.session() as session:
        revision = revisions.latest(session, "1.2")
        assert revision is not None
        assert revisions.retry(session, revision, desk.now) is State.SETTLED

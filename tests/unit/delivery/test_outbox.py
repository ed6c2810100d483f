"""The ledger: what is due, what an answer does to a row, and when it ends as a dead letter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from medk2n_node.delivery import outbox
from medk2n_node.delivery.backoff import BackoffRules
from medk2n_node.delivery.statuses import judge
from medk2n_node.store import Store
from medk2n_node.store.tables import Delivery, ResultInstance, Revision, Study, Transition

START = datetime(2025, 3, 1, tzinfo=UTC)
RULES = BackoffRules(first_seconds=10, longest_seconds=60, give_up_after=timedelta(hours=1))


@dataclass
class Ledger:
    """A revision with two objects for two destinations."""

    store: Store
    now: datetime = START

    def due(self, destination: str) -> list[str]:
        with self.store.reading() as session:
            return [one.sop_uid for one in outbox.due(session, 1, destination, self.now, self.store.root)]

    def answer(self, sop_uid: str, status: int | None, destination: str = "pacs") -> None:
        with self.store.session() as session:
            outbox.record(
                session, sop_uid, destination, judge(status), now=self.now, rules=RULES, chance=0.999
            )

    def standing(self, destination: str | None = None) -> outbox.Standing:
        with self.store.reading() as session:
            return outbox.standing(session, 1, destination)


@pytest.fixture
def ledger(store: Store) -> Iterator[Ledger]:
    """Objects 2.1 and 2.2 of revision 1, written to pacs and archive."""
    with store.session() as session:
        session.add(Study(study_uid="1", patient_hash="p", first_at=START, last_at=START, calling_ae="MR"))
        session.flush()
        session.add(
            Revision(
                id=1,
                study_uid="1",
                number=1,
                state="DELIVERING",
                created_at=START,
                updated_at=START,
                evidence={},
            )
        )
        session.flush()
        session.add(Transition(revision_id=1, old="ENCODED", new="DELIVERING", at=START))
        for uid in ("2.1", "2.2"):
            session.add(
                ResultInstance(
                    sop_uid=uid,
                    revision_id=1,
                    series_uid="2",
                    contrast="FLAIR",
                    path=f"results/{uid}",
                    sha256="0",
                )
            )
        session.flush()
        outbox.write(session, 1, ["2.1", "2.2"], ["pacs", "archive"], START)
    yield Ledger(store)


def test_everything_is_due_at_once_for_every_destination(ledger: Ledger) -> None:
    assert ledger.due("pacs") == ledger.due("archive") == ["2.1", "2.2"]


def test_an_accepted_object_is_done_there_and_still_due_elsewhere(ledger: Ledger) -> None:
    ledger.answer("2.1", 0x0000)
    assert ledger.due("pacs") == ["2.2"]
    assert ledger.due("archive") == ["2.1", "2.2"]
    assert (ledger.standing("pacs").done, ledger.standing("pacs").open) == (1, 1)


def test_a_warning_counts_as_accepted_and_its_words_are_kept(ledger: Ledger) -> None:

    ledger.answer("2.1", 0xB000)
    with ledger.store.reading() as session:
        row = session.scalars(select(Delivery).where(Delivery.destination == "pacs")).first()
        assert row is not None
        assert (row.state, row.last_status, row.last_error) == (
            "DONE",
            "B000",
            "stored, with elements coerced",
        )


def test_a_peer_out_of_resources_is_asked_again_after_a_growing_delay(ledger: Ledger) -> None:
    ledger.answer("2.1", 0xA700)
    assert ledger.due("pacs") == ["2.2"]
    ledger.now += timedelta(seconds=10)
    assert ledger.due("pacs") == ["2.1", "2.2"]
    ledger.answer("2.1", 0xA700)
    ledger.now += timedelta(seconds=10)
    assert ledger.due("pacs") == ["2.2"]


def test_an_object_is_offered_until_the_time_to_give_up_and_then_is_a_dead_letter(ledger: Ledger) -> None:
    ledger.now += timedelta(minutes=59)
    ledger.answer("2.1", None)
    assert ledger.standing("pacs").dead == 0
    ledger.now += timedelta(minutes=1)
    ledger.answer("2.1", None)
    after = ledger.standing("pacs")
    assert (after.dead, after.open) == (1, 1)
    assert after.last_error == "pacs: no answer came before the association ended"


def test_an_object_that_the_peer_rejects_for_what_it_is_is_given_up_after_five_offers(ledger: Ledger) -> None:
    for _ in range(4):
        ledger.answer("2.1", 0xA900)
    assert ledger.standing("pacs").dead == 0
    ledger.answer("2.1", 0xA900)
    assert ledger.standing("pacs").dead == 1
    assert ledger.standing("archive").open == 2


def test_an_unreachable_destination_puts_all_its_due_objects_off_together(ledger: Ledger) -> None:
    with ledger.store.session() as session:
        outbox.postpone(session, 1, "pacs", "nobody there", now=ledger.now, rules=RULES, chance=0.999)
    assert ledger.due("pacs") == []
    assert ledger.due("archive") == ["2.1", "2.2"]
    ledger.now += timedelta(seconds=10)
    assert ledger.due("pacs") == ["2.1", "2.2"]


def test_a_retry_makes_dead_letters_due_with_a_fresh_count(ledger: Ledger) -> None:
    for _ in range(5):
        ledger.answer("2.1", 0xA900)
    with ledger.store.session() as session:
        outbox.reopen(session, 1, ledger.now)
    assert ledger.due("pacs") == ["2.1", "2.2"]


def test_a_superseded_revision_offers_nothing_more_and_says_why(ledger: Ledger) -> None:
    ledger.answer("2.1", 0x0000)
    with ledger.store.session() as session:
        outbox.close(session, 1, "superseded by revision 2")
    assert ledger.due("pacs") == ledger.due("archive") == []
    after = ledger.standing("pacs")
    assert (after.done, after.dead, after.last_error) == (1, 1, "pacs: superseded by revision 2")


def test_the_same_objects_written_again_by_a_later_revision_are_not_sent_twice(ledger: Ledger) -> None:
    ledger.answer("2.1", 0x0000)
    with ledger.store.session() as session:
        outbox.close(session, 1, "superseded by revision 2")
        session.add(
            Revision(
                id=2,
                study_uid="1",
                number=2,
                state="DELIVERING",
                created_at=START,
                updated_at=START,
                evidence={},
            )
        )
        session.flush()
        outbox.write(session, 2, ["2.1", "2.2"], ["pacs"], ledger.now)
    with ledger.store.reading() as session:
        assert [one.sop_uid for one in outbox.due(session, 2, "pacs", ledger.now, ledger.store.root)] == [
            "2.2"
        ]
        assert outbox.open_destinations(session, 2) == ["pacs"]

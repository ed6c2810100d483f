"""When a study has settled: the verdict on snapshots that real senders produce."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from medk2n_node.study.completion import (
    CompletionRules,
    SenderAssociation,
    Settled,
    Snapshot,
    Waiting,
    verdict,
)

START = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
RULES = CompletionRules(quiet_seconds=60, max_wait_seconds=3600)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def association(
    closed: float | None = None,
    *,
    ending: str = "released",
    last: float = 10,
    moved_on: bool = False,
    ae: str = "MR1",
) -> SenderAssociation:
    return SenderAssociation(
        association_id=f"{ae}-{closed}",
        calling_ae=ae,
        last_at=at(last),
        closed_at=None if closed is None else at(closed),
        ending=None if closed is None else ending,
        moved_on=moved_on,
    )


def snapshot(*associations: SenderAssociation, last: float = 10) -> Snapshot:
    return Snapshot(
        study_uid="1.2.3", instances=72, series=2, first_at=START, last_at=at(last), associations=associations
    )


def test_waits_while_the_quiet_period_is_not_over() -> None:
    answer = verdict(snapshot(association(10)), at(69.9), RULES)
    assert answer == Waiting(look_again_at=at(70), reasons=("the last instance is less than 60 s old",))


def test_settles_when_the_sender_released_and_the_quiet_period_is_over() -> None:
    answer = verdict(snapshot(association(11)), at(70), RULES)
    assert isinstance(answer, Settled)
    assert answer.code == "quiet"
    assert answer.evidence == (
        "72 instances in 2 series received between 2025-03-01 12:00:00 UTC and 2025-03-01 12:00:10 UTC",
        "the association of MR1 was released by the sender at 2025-03-01 12:00:11 UTC",
        "no further instance for 60 s; the quiet period is 60 s",
    )


def test_never_settles_under_a_slow_sender_that_holds_its_association() -> None:
    answer = verdict(snapshot(association()), at(900), RULES)
    assert answer == Waiting(look_again_at=at(3600), reasons=("the association of MR1 is still open",))


def test_an_association_that_went_on_to_another_study_does_not_hold_this_one() -> None:
    answer = verdict(snapshot(association(moved_on=True)), at(70), RULES)
    assert isinstance(answer, Settled)
    assert "the association of MR1 went on to another study" in answer.evidence


def test_one_of_two_senders_still_open_is_waited_for() -> None:
    answer = verdict(snapshot(association(11, ae="MR1"), association(ae="MR2")), at(200), RULES)
    assert isinstance(answer, Waiting)
    assert answer.reasons == ("the association of MR2 is still open",)


def test_the_longest_wait_settles_even_under_an_open_association_and_says_so() -> None:
    answer = verdict(snapshot(association(), last=3590), at(3600), RULES)
    assert isinstance(answer, Settled)
    assert answer.code == "max_wait"
    assert answer.evidence[1:] == (
        "the longest wait of 3600 s since the first instance is over",
        "the association of MR1 was still open",
    )


def test_a_quiet_period_beyond_the_longest_wait_is_cut_short() -> None:
    rules = CompletionRules(quiet_seconds=7200, max_wait_seconds=3600)
    answer = verdict(snapshot(association(11)), at(20), rules)
    assert isinstance(answer, Waiting)
    assert answer.look_again_at == at(3600)


@pytest.mark.parametrize("ending", ["aborted", "lost", "crashed"])
def test_an_association_that_broke_off_is_told_as_it_was(ending: str) -> None:
    answer = verdict(snapshot(association(11, ending=ending)), at(100), RULES)
    assert isinstance(answer, Settled)
    assert f"the association of MR1 ended ({ending}) at 2025-03-01 12:00:11 UTC" in answer.evidence

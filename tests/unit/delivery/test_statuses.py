"""What each C-STORE status does to the ledger, and the words it leaves there."""

from __future__ import annotations

import pytest

from medk2n_node.delivery.statuses import Answer, judge


@pytest.mark.parametrize("status", [0x0000, 0x0107, 0x0116, 0xB000, 0xB006, 0xB007, 0xB123])
def test_success_and_warnings_mean_that_the_peer_holds_the_object(status: int) -> None:
    assert judge(status).answer is Answer.ACCEPTED


def test_a_duplicate_is_the_proof_that_an_earlier_attempt_got_through() -> None:
    response = judge(0x0111)
    assert response.answer is Answer.ACCEPTED
    assert response.status == "0111"


@pytest.mark.parametrize("status", [0x0110, 0x0213, 0xA700, 0xA702, 0xA7FF])
def test_a_peer_that_cannot_now_is_asked_again(status: int) -> None:
    assert judge(status).answer is Answer.LATER


@pytest.mark.parametrize("status", [0x0106, 0x0117, 0x0122, 0x0124, 0xA900, 0xC000, 0xC211, 0xFF00])
def test_a_peer_that_does_not_want_the_object_rejects_it(status: int) -> None:
    assert judge(status).answer is Answer.REJECTED


def test_no_answer_is_not_a_failure_but_an_unknown_end() -> None:
    response = judge(None)
    assert response.answer is Answer.LATER
    assert response.status is None
    assert response.words == "no answer came before the association ended"


def test_the_peers_own_error_comment_is_kept_on_one_line() -> None:
    response = judge(0xA700, "disk\nfull on  ARCHIVE2 ")
    assert response.words == "the peer is out of resources; the peer says: disk full on ARCHIVE2"

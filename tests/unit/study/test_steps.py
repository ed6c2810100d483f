"""The steps of a revision on a real store, with a stand-in for the network: what each leaves, once and twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from pydicom import dcmread

import model
from medk2n_node.config import Config
from medk2n_node.delivery import outbox
from medk2n_node.delivery.send import backoff_rules
from medk2n_node.delivery.statuses import judge
from medk2n_node.demo.study import ScannedSeries, WrittenStudy, write_study
from medk2n_node.store import Store
from medk2n_node.store.tables import Delivery
from medk2n_node.study import intake, revisions, show_document
from medk2n_node.study.completion import CompletionRules
from medk2n_node.study.context import Context
from medk2n_node.study.delivery_step import close_delivery
from medk2n_node.study.plan_step import plan_revision
from medk2n_node.study.synthesis_step import fail_revision, synthesize_revision
from tests.objects import EXPLICIT, encoded
from tests.unit.synthesis.fakes import FakeBundle, fake_synthesize


@dataclass
class Bench:
    """A store with a study, and the context of a worker that is never started."""

    context: Context
    study: WrittenStudy
    now: datetime

    @property
    def store(self) -> Store:
        return self.context.store

    def settle(self) -> int:
        """Let the completion verdict freeze what arrived; gives the revision's id."""
        later = datetime.now(UTC) + timedelta(seconds=60)
        rules = CompletionRules(quiet_seconds=1, max_wait_seconds=3600)
        with self.store.session() as session:
            intake.look_after(session, self.study.study_uid, later, rules, lambda instance: None)
            revision = revisions.latest(session, self.study.study_uid)
            assert revision is not None
            return revision.id

    def show(self) -> dict[str, Any]:
        with self.store.reading() as session:
            return show_document(session, self.study.study_uid)

    def accept_all(self, revision_id: int) -> None:
        with self.store.session() as session:
            for row in session.query(Delivery).filter_by(revision_id=revision_id):
                outbox.record(
                    session,
                    row.sop_uid,
                    row.destination,
                    judge(0x0000),
                    now=self.now,
                    rules=backoff_rules(self.context.config),
                    chance=0.5,
                )


def put(store: Store, *paths: Path) -> None:
    for path in paths:
        dataset = dcmread(path)
        outcome = store.put(
            encoded(dataset),
            sop_class=str(dataset.SOPClassUID),
            sop_uid=str(dataset.SOPInstanceUID),
            transfer_syntax=EXPLICIT,
            calling_ae="MR1",
        )
        assert outcome.kind == "stored"


def series(contrast: str, seed: int) -> ScannedSeries:
    pixels = np.random.default_rng(seed).integers(1, 4000, (12, 40, 40)).astype(np.uint16)
    return ScannedSeries(contrast=contrast, array=pixels, affine=np.diag([5.0, 5.0, 5.0, 1.0]))


@pytest.fixture
def bench(store: Store, node_config: Config, tmp_path: Path) -> Iterator[Bench]:
    """T1 and T2 received, one destination configured."""
    study = write_study(tmp_path / "study", series("T1", 1), series("T2", 2))
    put(store, *study.files["T1"], *study.files["T2"])
    config = Config.model_validate(
        {
            **node_config.model_dump(),
            "destinations": [{"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}],
        }
    )
    context = Context(
        config=config,
        store=store,
        bundle=lambda: cast("model.Bundle", FakeBundle()),
        synthesize=fake_synthesize,
    )
    yield Bench(context, study, datetime.now(UTC))


def test_a_study_runs_from_settled_to_delivered_with_a_reason_for_every_move(bench: Bench) -> None:
    revision = bench.settle()
    assert plan_revision(bench.context, revision) == "PLANNED"
    assert synthesize_revision(bench.context, revision) == "DELIVERING"
    assert close_delivery(bench.context, revision) == "DELIVERING"
    bench.accept_all(revision)
    assert close_delivery(bench.context, revision) == "DELIVERED"
    document = bench.show()
    assert [one["to"] for one in document["history"]][-4:] == [
        "SYNTHESIZING",
        "ENCODED",
        "DELIVERING",
        "DELIVERED",
    ]
    assert [(one["kind"], one["contrast"], one["instances"]) for one in document["results"]] == [
        ("series", "FLAIR", 12),
        ("uncertainty", "FLAIR", 1),
        ("report", None, 1),
    ]
    assert document["deliveries"][0]["done"] == 14
    assert document["deliveries"][0]["kinds"]["series"]["done"] == 12
    assert document["report"]["model"]["name"] == "fake"


def test_steps_that_run_twice_leave_what_one_run_leaves(bench: Bench) -> None:
    revision = bench.settle()
    plan_revision(bench.context, revision)
    plan_revision(bench.context, revision)
    synthesize_revision(bench.context, revision)
    before = bench.show()
    assert synthesize_revision(bench.context, revision) == "DELIVERING"
    assert plan_revision(bench.context, revision) == "DELIVERING"
    assert bench.show() == before


def test_a_step_that_was_killed_in_the_middle_makes_the_same_objects_when_it_runs_again(bench: Bench) -> None:
    revision = bench.settle()
    plan_revision(bench.context, revision)

    def killed(*arguments: Any, **options: Any) -> model.Outputs:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesize_revision(replace(bench.context, synthesize=killed), revision)
    assert bench.show()["state"] == "SYNTHESIZING"
    assert synthesize_revision(bench.context, revision) == "DELIVERING"
    assert bench.show()["attempt"] == 2


def test_an_unexpected_error_is_raised_for_another_attempt_and_kept_in_words(bench: Bench) -> None:
    revision = bench.settle()
    plan_revision(bench.context, revision)

    def broken(*arguments: Any, **options: Any) -> model.Outputs:
        raise ZeroDivisionError("no idea")

    context = replace(bench.context, synthesize=broken)
    for _ in range(context.config.synthesis.attempts):
        with pytest.raises(ZeroDivisionError):
            synthesize_revision(context, revision)
    assert bench.show()["report"]["last_error"] == "ZeroDivisionError: no idea"
    assert synthesize_revision(context, revision) == "FAILED"
    document = bench.show()
    assert document["words"] == "ZeroDivisionError: no idea (attempt 3 of 3)"
    assert document["release"] == "medk2n studies retry tries again"


def test_a_worker_that_dies_on_every_attempt_ends_the_revision_as_failed(bench: Bench) -> None:
    revision = bench.settle()
    plan_revision(bench.context, revision)

    def deadly(*arguments: Any, progress: Any, **options: Any) -> model.Outputs:
        progress("network", 0.0)
        raise SystemExit

    for _ in range(bench.context.config.synthesis.attempts):
        with pytest.raises(SystemExit):
            synthesize_revision(replace(bench.context, synthesize=deadly), revision)
    assert synthesize_revision(bench.context, revision) == "FAILED"
    assert bench.show()["words"] == "the worker process ended during network (attempt 3 of 3)"


def test_a_failed_synthesis_can_be_retried_and_then_succeeds(bench: Bench) -> None:
    revision = bench.settle()
    plan_revision(bench.context, revision)
    fail_revision(bench.context, revision, "the engine gave up")
    with bench.store.session() as session:
        assert revisions.retry(session, revisions.get(session, revision), bench.now).value == "PLANNED"
    assert synthesize_revision(bench.context, revision) == "DELIVERING"


def test_a_reason_of_the_model_refuses_the_revision_and_says_what_helps(bench: Bench) -> None:
    revision = bench.settle()
    plan_revision(bench.context, revision)

    def fruit(*arguments: Any, **options: Any) -> model.Outputs:
        raise model.ImagingError(
            code="not_a_brain", subject="T1", reason="this is a fruit", cure="Send a head"
        )

    assert synthesize_revision(replace(bench.context, synthesize=fruit), revision) == "REFUSED"
    document = bench.show()
    assert (document["code"], document["words"], document["release"]) == (
        "not_a_brain",
        "T1: this is a fruit",
        "Send a head",
    )


def test_a_synthesis_stops_when_its_revision_is_superseded_meanwhile(bench: Bench, tmp_path: Path) -> None:
    revision = bench.settle()
    plan_revision(bench.context, revision)

    def overtaken(*arguments: Any, progress: Any, **options: Any) -> model.Outputs:
        with bench.store.session() as session:
            revisions.begin(session, bench.study.study_uid, bench.now)
        progress("network", 0.0)
        raise AssertionError("it went on")

    assert synthesize_revision(replace(bench.context, synthesize=overtaken), revision) == "SUPERSEDED"
    assert bench.show()["results"] == []


def test_weights_that_were_exchanged_after_the_plan_lead_to_a_new_plan(bench: Bench) -> None:
    revision = bench.settle()
    plan_revision(bench.context, revision)
    other = replace(bench.context, bundle=lambda: cast("model.Bundle", FakeBundle(digest="cd" * 32)))
    assert synthesize_revision(other, revision) == "SETTLED"
    assert plan_revision(other, revision) == "PLANNED"
    assert synthesize_revision(other, revision) == "DELIVERING"


def test_late_objects_that_are_no_source_keep_the_delivered_result(bench: Bench, tmp_path: Path) -> None:
    revision = bench.settle()
    plan_revision(bench.context, revision)
    synthesize_revision(bench.context, revision)
    bench.accept_all(revision)
    close_delivery(bench.context, revision)
    _send_localizer(bench, tmp_path)
    second = bench.settle()
    assert plan_revision(bench.context, second) == "COMPLETE"
    assert bench.show()["words"] == "what arrived changes no source: the results of revision 1 stand"


def test_late_objects_that_are_no_source_repeat_unfinished_work_under_the_same_uids(
    bench: Bench, tmp_path: Path
) -> None:
    revision = bench.settle()
    plan_revision(bench.context, revision)
    synthesize_revision(bench.context, revision)
    first = {row["series_uid"] for row in bench.show()["results"] if row["kind"] != "report"}
    _send_localizer(bench, tmp_path)
    second = bench.settle()
    assert plan_revision(bench.context, second) == "PLANNED"
    assert synthesize_revision(bench.context, second) == "DELIVERING"
    document = bench.show()
    assert {row["series_uid"] for row in document["results"] if row["kind"] != "report"} == first
    # What the first revision's report told is closed with it; the second tells what it found itself.
    waiting = {one["revision"]: (one["open"], one["dead"]) for one in document["deliveries"]}
    assert waiting == {1: (0, 1), 2: (14, 0)}


def _send_localizer(bench: Bench, tmp_path: Path) -> None:
    other = write_study(tmp_path / "late", series("T1", 3), key="late")
    for path in other.files["T1"][:1]:
        dataset = dcmread(path)
        dataset.StudyInstanceUID = bench.study.study_uid
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        dataset.SeriesDescription = dataset.ProtocolName = "localizer"
        dataset.save_as(path)
        put(bench.store, path)


def test_a_series_number_that_the_study_uses_is_left_alone(bench: Bench, tmp_path: Path) -> None:
    other = write_study(tmp_path / "taken", series("DWI", 4), key="taken")
    for path in other.files["DWI"]:
        dataset = dcmread(path)
        dataset.StudyInstanceUID = bench.study.study_uid
        dataset.SeriesNumber = 9003
        dataset.save_as(path)
    put(bench.store, *other.files["DWI"])
    revision = bench.settle()
    plan_revision(bench.context, revision)
    synthesize_revision(bench.context, revision)
    made = bench.show()["results"][0]
    assert dcmread(bench.store.root / made["first_file"]).SeriesNumber == 9004


def test_without_a_destination_the_results_stay_and_the_study_is_done(bench: Bench) -> None:
    nowhere = replace(bench.context, config=bench.context.config.model_copy(update={"destinations": ()}))
    revision = bench.settle()
    plan_revision(nowhere, revision)
    synthesize_revision(nowhere, revision)
    assert close_delivery(nowhere, revision) == "DELIVERED"
    assert bench.show()["words"] == "no destination is configured: the results stay in the storage folder"


def test_dead_letters_fail_the_revision_with_the_last_answer_and_can_be_retried(bench: Bench) -> None:
    revision = bench.settle()
    plan_revision(bench.context, revision)
    synthesize_revision(bench.context, revision)
    with bench.store.session() as session:
        outbox.discard(session, "pacs", "this destination is no longer configured")
    assert close_delivery(bench.context, revision) == "FAILED"
    assert bench.show()["words"] == (
        "14 of 14 deliveries were not accepted; pacs: this destination is no longer configured"
    )
    with bench.store.session() as session:
        assert revisions.retry(session, revisions.get(session, revision), bench.now).value == "DELIVERING"
    assert bench.show()["deliveries"][0]["open"] == 14

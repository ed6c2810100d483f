"""A store with a study and the context of a worker that is never started, for tests of the steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset

from medk2n_node.config import Config
from medk2n_node.delivery import outbox
from medk2n_node.delivery.send import backoff_rules
from medk2n_node.delivery.statuses import judge
from medk2n_node.store import Store
from medk2n_node.store.tables import Delivery
from medk2n_node.study import intake, revisions, show_document
from medk2n_node.study.completion import CompletionRules
from medk2n_node.study.context import Context
from medk2n_node.study.delivery_step import close_delivery
from medk2n_node.study.plan_step import plan_revision
from medk2n_node.study.synthesis_step import synthesize_revision
from tests.objects import encoded


@dataclass
class Ward:
    """One study on a real store; `run` lets the worker's steps happen without an engine."""

    context: Context
    study_uid: str

    @property
    def store(self) -> Store:
        return self.context.store

    def configured(self, **sections: Mapping[str, Any]) -> Ward:
        """The same with other settings."""
        values = self.context.config.model_dump()
        for name, changes in sections.items():
            values[name] = {**values[name], **changes}
        return Ward(replace(self.context, config=Config.model_validate(values)), self.study_uid)

    def receive(self, *paths: Path) -> None:
        for path in paths:
            self.take(dcmread(path))

    def take(self, dataset: Dataset) -> None:
        syntax = str(dataset.file_meta.TransferSyntaxUID)
        outcome = self.store.put(
            encoded(dataset, syntax),
            sop_class=str(dataset.SOPClassUID),
            sop_uid=str(dataset.SOPInstanceUID),
            transfer_syntax=syntax,
            calling_ae="MR1",
        )
        assert outcome.kind == "stored"

    def settle(self) -> int:
        """Let the completion verdict freeze what arrived; gives the revision's id."""
        later = datetime.now(UTC) + timedelta(seconds=60)
        rules = CompletionRules(quiet_seconds=1, max_wait_seconds=3600)
        with self.store.session() as session:
            intake.look_after(session, self.study_uid, later, rules, lambda instance: None)
            revision = revisions.latest(session, self.study_uid)
            assert revision is not None
            return revision.id

    def run(self) -> str:
        """Settle, plan, synthesise and deliver what is due; gives the state it ends in."""
        return self.go_on(self.settle())

    def go_on(self, revision_id: int) -> str:
        state = plan_revision(self.context, revision_id)
        if state == "PLANNED":
            state = synthesize_revision(self.context, revision_id)
        self.accept(revision_id)
        return close_delivery(self.context, revision_id) if state == "DELIVERING" else state

    def accept(self, revision_id: int) -> None:
        """Every destination accepts what is open."""
        with self.store.session() as session:
            for row in session.query(Delivery).filter_by(revision_id=revision_id, state="OPEN"):
                outbox.record(
                    session,
                    row.sop_uid,
                    row.destination,
                    judge(0x0000),
                    now=datetime.now(UTC),
                    rules=backoff_rules(self.context.config),
                    chance=0.5,
                )

    def show(self) -> dict[str, Any]:
        with self.store.reading() as session:
            return show_document(session, self.study_uid)

    def results(self, kind: str) -> list[tuple[int, Dataset]]:
        """The first object of each series of a kind, with its revision."""
        return [
            (one["revision"], dcmread(self.store.root / one["first_file"]))
            for one in self.show()["results"]
            if one["kind"] == kind
        ]

    def told(self, revision: int) -> list[str]:
        """The sentences of the report of a revision."""
        documents = [document for number, document in self.results("report") if number == revision]
        return [str(item.TextValue) for item in documents[-1].ContentSequence[-1].ContentSequence]

"""Acts as the listener for tests of the study room."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from medk2n_node.store import Store
from medk2n_node.store.tables import Association, Instance, Revision, Series, Study, Transition


@dataclass
class Desk:
    """Acts as the listener: writes rows of received instances at the time of its clock."""

    store: Store
    now: datetime = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
    _counter: int = field(default=0)

    def clock(self) -> datetime:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def associate(self, ae: str = "MR1") -> str:
        self._counter += 1
        with self.store.session() as session:
            session.add(
                Association(
                    id=f"a{self._counter}",
                    calling_ae=ae,
                    peer="127.0.0.1",
                    opened_at=self.now,
                    last_at=self.now,
                )
            )
        return f"a{self._counter}"

    def release(self, association: str) -> None:
        with self.store.session() as session:
            row = session.get_one(Association, association)
            row.closed_at, row.ending = self.now, "released"

    def receive(
        self, study: str, sop_uid: str, association: str, *, series: str = "1.9", patient: str = "p1"
    ) -> None:
        with self.store.session() as session:
            known = session.get(Study, study)
            if known is None:
                session.add(
                    Study(
                        study_uid=study,
                        patient_hash=patient,
                        first_at=self.now,
                        last_at=self.now,
                        calling_ae="MR1",
                    )
                )
                session.flush()
            else:
                known.last_at = self.now
            if session.get(Series, series) is None:
                session.add(Series(series_uid=series, study_uid=study, modality="MR"))
                session.flush()
            session.add(
                Instance(
                    sop_uid=sop_uid,
                    sop_class="1.2.840.10008.5.1.4.1.1.4",
                    series_uid=series,
                    study_uid=study,
                    transfer_syntax="1.2.840.10008.1.2.1",
                    path=f"instances/{sop_uid}.dcm",
                    size=1,
                    sha256=hashlib.sha256(sop_uid.encode()).hexdigest(),
                    received_at=self.now,
                    calling_ae="MR1",
                    association_id=association,
                    patient_hash=patient,
                )
            )

    def states(self, study: str) -> list[tuple[int, str]]:
        with self.store.reading() as session:
            rows = session.scalars(
                select(Revision).where(Revision.study_uid == study).order_by(Revision.number)
            )
            return [(row.number, row.state) for row in rows]

    def history(self, study: str) -> list[tuple[int, str | None, str, str | None]]:
        with self.store.reading() as session:
            rows = session.execute(
                select(Revision.number, Transition.old, Transition.new, Transition.words)
                .join(Transition, Transition.revision_id == Revision.id)
                .where(Revision.study_uid == study)
                .order_by(Transition.id)
            )
            return [(number, old, new, words) for number, old, new, words in rows]

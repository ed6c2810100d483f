"""The step that plans: SETTLED becomes PLANNED, COMPLETE, HELD or REFUSED.

Idempotent, like every step of a revision: it looks at the stored state first, does nothing when the state says
that the step is done or no longer wanted, and commits its outcome together with the change of state.
"""

from __future__ import annotations

import hashlib
import socket
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from dicom_rules.protocols import Problem
from medk2n_node.store.tables import ResultInstance, Revision, Study
from medk2n_node.study import revisions
from medk2n_node.study.context import Context
from medk2n_node.study.planning import Planned, make_plan
from medk2n_node.study.states import State


def plan_revision(context: Context, revision_id: int) -> str:
    """SETTLED -> PLANNED, COMPLETE, HELD or REFUSED, with the stored plan. Gives the state it is in afterwards."""
    with context.store.reading() as session:
        revision = revisions.get(session, revision_id)
        if revision.state != State.SETTLED.value:
            return revision.state
        study = session.get_one(Study, revision.study_uid)
        problems = _problems(study)
        rows = revisions.instances(session, revision_id)
        taken = _numbers_of_earlier_results(session, revision)
    files: dict[str, list[Path]] = {}
    patients: dict[str, set[str]] = {}
    content: dict[str, str] = {}
    for row in rows:
        files.setdefault(row.series_uid, []).append(context.store.root / row.path)
        patients.setdefault(row.series_uid, set()).add(row.patient_hash)
        content[row.series_uid] = hashlib.sha256(
            f"{content.get(row.series_uid, '')}{row.sop_uid}{row.sha256}".encode()
        ).hexdigest()
    planned = make_plan(
        files,
        config=context.config,
        bundle=context.bundle(),
        problems=problems,
        patients={uid: frozenset(hashes) for uid, hashes in patients.items()},
        numbers_taken=taken,
        content=content,
    )
    with context.store.session() as session:
        revision = revisions.get(session, revision_id)
        if revision.state == State.SETTLED.value:
            _store_plan(session, revision, planned, context.clock())
        return revision.state


def _problems(study: Study) -> list[Problem]:
    if study.problem_code is None or study.problem_code == "two_patients":
        return []  # two patients are judged from the instances, where synthetic ones can be told apart
    return [
        Problem(
            code=study.problem_code,
            words=study.problem_words or study.problem_code,
            release="Correct the study at its source and send it again",
        )
    ]


def _numbers_of_earlier_results(session: Session, revision: Revision) -> list[int]:
    """Series numbers of what earlier revisions of the study may have delivered."""
    reports = session.scalars(
        select(Revision.report)
        .where(Revision.study_uid == revision.study_uid, Revision.number < revision.number)
        .where(Revision.id.in_(select(ResultInstance.revision_id)))
    )
    return [
        number
        for report in reports
        if report
        for number in report.get("work", {}).get("numbers", {}).values()
    ]


def _store_plan(session: Session, revision: Revision, planned: Planned, now: datetime) -> None:
    verdict = planned.plan.verdict
    state, code, words = State(verdict.state), verdict.code, verdict.words
    work: dict[str, Any] = {
        "key": planned.work_key,
        "model_digest": planned.model_digest,
        "numbers": dict(planned.numbers),
        "revision": revision.number,
        "made_at": now.isoformat(),
        "station": socket.gethostname()[:16],
    }
    if state is State.PLANNED:
        twin = _same_work(session, revision, planned.work_key)
        if twin is not None and twin.report is not None:
            # The same sources, targets and weights: the same objects, under the identity they first had.
            work = dict(twin.report["work"])
            if twin.state == State.DELIVERED.value:
                state, code = State.COMPLETE, "unchanged"
                words = f"what arrived changes no source: the results of revision {twin.number} stand"
    revision.plan = planned.plan.to_json()
    revision.report = {"work": work}
    revisions.move(session, revision, state, now=now, code=code, words=words, release=verdict.release or None)


def _same_work(session: Session, revision: Revision, key: str) -> Revision | None:
    """The newest earlier revision of the study with this work; one that was delivered comes first."""
    earlier = session.scalars(
        select(Revision)
        .where(Revision.study_uid == revision.study_uid, Revision.number < revision.number)
        .order_by(Revision.number.desc())
    ).all()
    same = [one for one in earlier if (one.report or {}).get("work", {}).get("key") == key]
    return next((one for one in same if one.state == State.DELIVERED.value), same[0] if same else None)

"""The step that plans: SETTLED becomes PLANNED, COMPLETE, HELD or REFUSED.

Idempotent, like every step of a revision: it looks at the stored state first, does nothing when the state says
that the step is done or no longer wanted, and commits its outcome together with the change of state.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from dicom_rules.protocols import Problem
from medk2n_node.models import ModelUnusable
from medk2n_node.store.tables import ResultInstance, Revision, Study
from medk2n_node.study import kinds, revisions, superseding
from medk2n_node.study.context import Context
from medk2n_node.study.planning import Planned, make_plan
from medk2n_node.study.reporting import Outcome, objects_about
from medk2n_node.study.revisions import SUPERSEDES
from medk2n_node.study.states import State
from medk2n_node.study.superseding import Older
from medk2n_node.synthesis import MadeObject

MODEL_UNUSABLE = "model_unusable"
"""The code of a revision that is held because the weights in force cannot be used."""


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
    try:
        bundle = context.bundle()
    except ModelUnusable as error:
        return _hold(context, revision_id, error)
    planned = make_plan(
        files,
        config=context.config,
        bundle=bundle,
        problems=problems,
        patients={uid: frozenset(hashes) for uid, hashes in patients.items()},
        numbers_taken=taken,
        content=content,
    )
    with context.store.reading() as session:
        revision = revisions.get(session, revision_id)
        decided = _decide(session, revision, planned, context.clock())
        found = superseding.find(session, revision, decided.plan, planned.work_key)
    older = superseding.measured(context, found, revision)
    decided = _with_older(decided, older, hold=_holds_superseding(context, revision))
    objects: list[MadeObject] = []
    if decided.outcome.state != State.PLANNED.value and decided.outcome.code != SUPERSEDES:
        objects, why_none = objects_about(
            context,
            revision_id,
            decided.outcome,
            maker=context.maker(str(decided.work["station"]), bundle),
            plan=decided.plan,
            work=decided.work,
            targets={},
            older=[one for one in older if one.by == "real"],
        )
        if why_none:
            decided = replace(decided, notes=(why_none,))
    with context.store.session() as session:
        revision = revisions.get(session, revision_id)
        if revision.state == State.SETTLED.value:
            superseding.keep(session, revision, older, context)
            _store(session, revision, decided, older, context.clock())
            kinds.count(session, context.config, revision_id, objects, context.clock())
        return revision.state


@dataclass(frozen=True, kw_only=True)
class _Decided:
    """What was decided about a revision, as it will be stored."""

    outcome: Outcome
    plan: Mapping[str, Any]
    work: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def _hold(context: Context, revision_id: int, error: ModelUnusable) -> str:
    """No weights to plan for: the study waits, with the reason, until a model can be used again."""
    with context.store.session() as session:
        revision = revisions.get(session, revision_id)
        if revision.state == State.SETTLED.value:
            revisions.move(
                session,
                revision,
                State.HELD,
                now=context.clock(),
                code=MODEL_UNUSABLE,
                words=f"{error.subject}: {error.reason}",
                release=f"{error.cure.rstrip('.')}; the study goes on by itself then",
            )
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


def _decide(session: Session, revision: Revision, planned: Planned, now: datetime) -> _Decided:
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
            work = {**twin.report["work"], "numbers": {**work["numbers"], **twin.report["work"]["numbers"]}}
            if twin.state == State.DELIVERED.value:
                state, code = State.COMPLETE, "unchanged"
                words = f"what arrived changes no source: the results of revision {twin.number} stand"
    outcome = Outcome(state=state.value, code=code, words=words, release=verdict.release or "")
    return _Decided(
        outcome=outcome, plan=planned.plan.to_json(), work={**work, "decided_at": now.isoformat()}
    )


def _holds_superseding(context: Context, revision: Revision) -> bool:
    """Whether a person has to look first, and has not."""
    return context.config.results.superseding == "hold" and SUPERSEDES not in revision.evidence.get(
        "released", []
    )


def _with_older(decided: _Decided, older: Sequence[Older], *, hold: bool) -> _Decided:
    """The decision with what it supersedes: named in the work, or a reason to hold the revision."""
    if not older:
        return decided
    newer: dict[str, list[str]] = dict(decided.work.get("supersedes", {}))
    for one in older:
        if one.by == "newer":
            newer.setdefault(one.contrast, [])
            newer[one.contrast] = list(dict.fromkeys([*newer[one.contrast], one.series_uid]))
    decided = replace(decided, work={**decided.work, "supersedes": newer})
    if not hold or decided.outcome.state not in (State.PLANNED.value, State.COMPLETE.value):
        return decided
    named = "; ".join(f"the synthetic {one.contrast} of revision {one.revision}" for one in older)
    cause = (
        "a real series of its contrast arrived" if older[0].by == "real" else "slices of a source came later"
    )
    outcome = Outcome(
        state=State.HELD.value,
        code=SUPERSEDES,
        words=f"{named} is to be superseded: {cause}",
        release="medk2n studies release lets it go on",
    )
    return replace(decided, outcome=outcome)


def _store(
    session: Session, revision: Revision, decided: _Decided, older: Sequence[Older], now: datetime
) -> None:
    outcome = decided.outcome
    revision.plan = dict(decided.plan)
    report: dict[str, Any] = {"work": dict(decided.work)}
    if older:
        report["superseded"] = [one.to_json() for one in older]
    if decided.notes:
        report["notes"] = list(decided.notes)
    revision.report = report
    revisions.move(
        session,
        revision,
        State(outcome.state),
        now=now,
        code=outcome.code,
        words=outcome.words,
        release=outcome.release or None,
    )


def _same_work(session: Session, revision: Revision, key: str) -> Revision | None:
    """The newest earlier revision of the study with this work; one that was delivered comes first."""
    earlier = session.scalars(
        select(Revision)
        .where(Revision.study_uid == revision.study_uid, Revision.number < revision.number)
        .order_by(Revision.number.desc())
    ).all()
    same = [one for one in earlier if (one.report or {}).get("work", {}).get("key") == key]
    return next((one for one in same if one.state == State.DELIVERED.value), same[0] if same else None)

"""The step that synthesises: PLANNED becomes SYNTHESIZING, then ENCODED and DELIVERING, or REFUSED.

Idempotent: what the objects are called and when they were made is fixed with the plan, so a second run, after a
kill or by another worker, writes the same files again and the same rows.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from dicom_rules.derive import Maker
from medk2n_node.delivery import outbox
from medk2n_node.observe import get_logger
from medk2n_node.store.tables import ResultInstance, Revision, Transition
from medk2n_node.study import revisions
from medk2n_node.study.context import Context, node_version
from medk2n_node.study.states import State
from medk2n_node.synthesis import Job, Product, Refused, Target, run

log = get_logger("study")
LOOK_SECONDS = 2.0
"""How often a running synthesis looks whether it is still wanted."""


class NotWanted(Exception):
    """The revision was superseded while it was worked on."""


def synthesize_revision(context: Context, revision_id: int) -> str:
    """PLANNED -> SYNTHESIZING -> ENCODED -> DELIVERING, or REFUSED. Gives the state it is in afterwards.

    Any other error is kept with the revision and raised, for the engine to try again.
    """
    begun = _begin_attempt(context, revision_id)
    if begun is None:
        with context.store.reading() as session:
            return revisions.get(session, revision_id).state
    job, station = begun
    bundle = context.bundle()
    try:
        product = run(
            job,
            write=context.store.write_result,
            bundle=bundle,
            maker=_maker(context, station),
            device=context.config.synthesis.device,
            batch_slices=context.config.synthesis.batch_slices,
            progress=_Watch(context, revision_id),
            synthesize=context.synthesize,
        )
    except NotWanted:
        log.info("superseded during the synthesis", revision_id=revision_id)
        return State.SUPERSEDED.value
    except Refused as refusal:
        return _refuse(context, revision_id, refusal)
    except Exception as error:
        _note_error(context, revision_id, f"{type(error).__name__}: {error}")
        raise
    return _finish(context, revision_id, product)


def fail_revision(context: Context, revision_id: int, words: str) -> None:
    """All attempts are spent: FAILED with the last error in words. Nothing when it is already elsewhere."""
    with context.store.session() as session:
        revision = revisions.get(session, revision_id)
        state = State(revision.state)
        if state in (State.SETTLED, State.PLANNED, State.SYNTHESIZING):
            last = (revision.report or {}).get("last_error")
            revisions.move(
                session,
                revision,
                State.FAILED,
                now=context.clock(),
                code="attempts_spent",
                words=str(last or words),
                release="medk2n studies retry tries again",
            )


class _Watch:
    """Progress of a running synthesis: writes the stage, and stops the run when it is no longer wanted."""

    def __init__(self, context: Context, revision_id: int) -> None:
        self._context = context
        self._revision_id = revision_id
        self._stage = ""
        self._looked = time.monotonic()

    def __call__(self, stage: str, share: float) -> None:
        now = time.monotonic()
        if stage == self._stage and now - self._looked < LOOK_SECONDS:
            return
        self._stage, self._looked = stage, now
        with self._context.store.session() as session:
            still = session.execute(
                update(Revision)
                .where(Revision.id == self._revision_id, Revision.state == State.SYNTHESIZING.value)
                .values(stage=stage)
                .returning(Revision.id)
            ).scalar()
        if still is None:
            raise NotWanted


def _begin_attempt(context: Context, revision_id: int) -> tuple[Job, str] | None:
    """Count an attempt and give its job and station name; None when there is nothing (more) to attempt."""
    digest = context.bundle().digest
    with context.store.session() as session:
        revision = revisions.get(session, revision_id)
        state = State(revision.state)
        if (
            state not in (State.PLANNED, State.SYNTHESIZING)
            or revision.plan is None
            or revision.report is None
        ):
            return None
        now = context.clock()
        if state is State.PLANNED and revision.report["work"]["model_digest"] != digest:
            revisions.move(
                session, revision, State.SETTLED, now=now, words="the model was exchanged after the plan"
            )
            return None
        if revision.attempt >= context.config.synthesis.attempts:
            stage = revision.stage or "the start"
            last = revision.report.get("last_error") or f"the worker process ended during {stage}"
            revisions.move(
                session,
                revision,
                State.FAILED,
                now=now,
                code="attempts_spent",
                words=f"{last} (attempt {revision.attempt} of {context.config.synthesis.attempts})",
                release="medk2n studies retry tries again",
            )
            return None
        if state is State.PLANNED:
            revisions.move(session, revision, State.SYNTHESIZING, now=now)
        revision.attempt += 1
        work = revision.report["work"]
        return _job(session, revision, revision.plan, work, context.store.root), str(work["station"])


def _job(
    session: Session, revision: Revision, plan: Mapping[str, Any], work: Mapping[str, Any], storage: Path
) -> Job:
    paths: dict[str, list[Path]] = {}
    for row in revisions.instances(session, revision.id):
        paths.setdefault(row.series_uid, []).append(storage / row.path)
    targets = tuple(
        Target(
            contrast=one["contrast"],
            sources=tuple(one["sources"]),
            key=one["key"],
            reasons=tuple(one["reasons"]),
            series_number=int(work["numbers"][one["contrast"]]),
        )
        for one in plan["targets"]
        if one["decision"] == "make"
    )
    needed = {source for target in targets for source in target.sources}
    return Job(
        study_uid=revision.study_uid,
        revision=int(work["revision"]),
        made_at=datetime.fromisoformat(work["made_at"]),
        reference=plan["reference"],
        targets=targets,
        series={
            contrast: tuple(paths[uid]) for contrast, uid in plan["present"].items() if contrast in needed
        },
    )


def _maker(context: Context, station: str) -> Maker:
    bundle = context.bundle()
    return Maker(
        node_version=node_version(),
        model_name=bundle.name,
        model_version=bundle.version,
        model_digest=bundle.digest,
        ae_title=context.config.node.ae_title,
        station=station,
        content_qualification=context.config.results.content_qualification,
    )


def _refuse(context: Context, revision_id: int, refusal: Refused) -> str:
    with context.store.session() as session:
        revision = revisions.get(session, revision_id)
        if revision.state == State.SYNTHESIZING.value:
            revisions.move(
                session,
                revision,
                State.REFUSED,
                now=context.clock(),
                code=refusal.code,
                words=f"{refusal.subject}: {refusal.reason}",
                release=refusal.cure or None,
            )
        return revision.state


def _note_error(context: Context, revision_id: int, words: str) -> None:
    with context.store.session() as session:
        revision = revisions.get(session, revision_id)
        revision.report = {**(revision.report or {}), "last_error": words}


def _finish(context: Context, revision_id: int, product: Product) -> str:
    """The objects are on disk: their rows, the outbox and the change of state in one transaction."""
    bundle = context.bundle()
    destinations = [one.name for one in context.config.destinations if "series" in one.send]
    with context.store.session() as session:
        revision = revisions.get(session, revision_id)
        if revision.state != State.SYNTHESIZING.value:
            return revision.state
        now = context.clock()
        began = session.scalars(
            select(Transition.at).where(
                Transition.id == revisions.entered_by(session, revision_id, State.SYNTHESIZING)
            )
        ).one()
        for one in product.objects:
            session.merge(
                ResultInstance(
                    sop_uid=one.sop_uid,
                    revision_id=revision_id,
                    series_uid=one.series_uid,
                    contrast=one.contrast,
                    path=one.path,
                    sha256=one.sha256,
                )
            )
        report = dict(revision.report or {})
        report.pop("last_error", None)
        revision.report = {
            **report,
            "model": {"name": bundle.name, "version": bundle.version, "digest": bundle.digest},
            "targets": {name: dict(one) for name, one in product.targets.items()},
            "registrations": {name: dict(one) for name, one in product.registrations.items()},
            "notes": list(product.notes),
            "seconds": {**product.seconds, "synthesis": round((now - began).total_seconds(), 3)},
        }
        words = f"{len(product.objects)} objects in {len({one.series_uid for one in product.objects})} series"
        revisions.move(session, revision, State.ENCODED, now=now, words=words)
        outbox.write(session, revision_id, [one.sop_uid for one in product.objects], destinations, now)
        goes_to = ", ".join(destinations) or "no destination"
        revisions.move(session, revision, State.DELIVERING, now=now, words=f"to {goes_to}")
        return revision.state

"""The step that synthesises: PLANNED becomes SYNTHESIZING, then ENCODED and DELIVERING, or REFUSED.

Idempotent: what the objects are called and when they were made is fixed with the plan, so a second run, after a
kill or by another worker, writes the same files again and the same rows.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from dicom_rules.derive import Maker
from medk2n_node.models import ModelUnusable
from medk2n_node.observe import get_logger, words_of
from medk2n_node.store.tables import Revision, Transition
from medk2n_node.study import kinds, revisions
from medk2n_node.study.context import Context
from medk2n_node.study.planning import BESIDE
from medk2n_node.study.reporting import Outcome, objects_about
from medk2n_node.study.states import State
from medk2n_node.study.superseding import SERIES, Older, from_json
from medk2n_node.synthesis import Job, MadeObject, Product, Refused, Target, run

if TYPE_CHECKING:
    from model import Bundle

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
    job, station, bundle = begun
    maker = context.maker(station, bundle)
    try:
        product = run(
            job,
            write=context.store.write_result,
            bundle=bundle,
            maker=maker,
            device=context.config.synthesis.device,
            batch_slices=context.config.synthesis.batch_slices,
            precision=context.config.synthesis.precision,
            deterministic={"on": True, "off": False}.get(context.config.synthesis.deterministic),
            site=context.config.synthesis.site,
            progress=_Watch(context, revision_id),
            synthesize=context.synthesize,
        )
    except NotWanted:
        log.info("superseded during the synthesis", revision_id=revision_id)
        return State.SUPERSEDED.value
    except Refused as refusal:
        return _refuse(context, revision_id, refusal, maker)
    except Exception as error:
        _note_error(context, revision_id, words_of(error))
        raise
    return _finish(context, revision_id, product, bundle, maker)


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


def _bundle_for(context: Context, revision_id: int) -> Bundle | ModelUnusable:
    """The weights in force for a revision that has not begun; those that it began with for one that has."""
    with context.store.reading() as session:
        revision = revisions.get(session, revision_id)
        begun = revision.state == State.SYNTHESIZING.value and context.bundle_named is not None
        digest = (revision.report or {}).get("work", {}).get("model_digest", "")
    try:
        return context.bundle_named(digest) if begun and context.bundle_named else context.bundle()
    except ModelUnusable as error:
        return error


def _begin_attempt(context: Context, revision_id: int) -> tuple[Job, str, Bundle] | None:
    """Count an attempt and give its job, station name and weights; None when there is nothing (more) to attempt."""
    bundle = _bundle_for(context, revision_id)
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
        if isinstance(bundle, ModelUnusable) or bundle.digest != revision.report["work"]["model_digest"]:
            # Planned anew with the weights in force, or held by the plan where there are none that can be used.
            words = "the model was exchanged after the plan"
            if isinstance(bundle, ModelUnusable):
                words = f"{bundle.subject}: {bundle.reason}"
            revisions.move(session, revision, State.SETTLED, now=now, words=words)
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
        job = _job(session, revision, revision.plan, work, context)
        return job, str(work["station"]), bundle


def _job(
    session: Session,
    revision: Revision,
    plan: Mapping[str, Any],
    work: Mapping[str, Any],
    context: Context,
) -> Job:
    paths: dict[str, list[Path]] = {}
    for row in revisions.instances(session, revision.id):
        paths.setdefault(row.series_uid, []).append(context.store.root / row.path)
    targets = tuple(
        Target(
            contrast=one["contrast"],
            sources=tuple(one["sources"]),
            key=one["key"],
            reasons=tuple(one["reasons"]),
            series_number=int(work["numbers"][one["contrast"]]),
            numbers={
                kind: int(work["numbers"][f"{kind}:{one['contrast']}"])
                for kind in BESIDE
                if f"{kind}:{one['contrast']}" in work["numbers"]
            },
            supersedes=tuple(work.get("supersedes", {}).get(one["contrast"], ())),
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
        forms=kinds.forms(context.config),
    )


def _refuse(context: Context, revision_id: int, refusal: Refused, maker: Maker) -> str:
    outcome = Outcome(
        state=State.REFUSED.value,
        code=refusal.code,
        words=f"{refusal.subject}: {refusal.reason}",
        release=refusal.cure or "",
    )
    told = _told(context, revision_id, outcome, maker, targets=refusal.targets)
    with context.store.session() as session:
        revision = revisions.get(session, revision_id)
        if revision.state == State.SYNTHESIZING.value:
            now = context.clock()
            revision.report = {
                **(revision.report or {}),
                "targets": {name: dict(one) for name, one in refusal.targets.items()},
                "notes": list(told.notes),
            }
            kinds.count(session, context.config, revision_id, told.objects, now)
            revisions.move(
                session,
                revision,
                State.REFUSED,
                now=now,
                code=outcome.code,
                words=outcome.words,
                release=outcome.release or None,
            )
        return revision.state


@dataclass(frozen=True, kw_only=True)
class _Told:
    """The objects that tell of a revision, and the notes that stay with it."""

    objects: tuple[MadeObject, ...]
    notes: tuple[str, ...]
    superseded: tuple[Older, ...]


def _told(
    context: Context,
    revision_id: int,
    outcome: Outcome,
    maker: Maker,
    *,
    targets: Mapping[str, Mapping[str, Any]],
    notes: Sequence[str] = (),
    made: Sequence[MadeObject] = (),
) -> _Told:
    """Write the report of a revision whose synthesis ended, and what marks the older results it supersedes."""
    with context.store.reading() as session:
        revision = revisions.get(session, revision_id)
        report, plan = revision.report or {}, revision.plan or {}
    newer = {one.contrast: one.series_uid for one in reversed(made) if one.kind in SERIES}
    older = tuple(
        replace(one, by_series_uid=newer[one.contrast]) if one.by == "newer" else one
        for one in from_json(report.get("superseded", []))
        if one.by == "real" or one.contrast in newer  # what was to replace it may not have been made
    )
    objects, why_none = objects_about(
        context,
        revision_id,
        outcome,
        maker=maker,
        plan=plan,
        work=report["work"],
        targets=targets,
        notes=notes,
        made=made,
        older=older,
    )
    return _Told(
        objects=tuple(objects), notes=(*notes, why_none) if why_none else tuple(notes), superseded=older
    )


def _note_error(context: Context, revision_id: int, words: str) -> None:
    with context.store.session() as session:
        revision = revisions.get(session, revision_id)
        revision.report = {**(revision.report or {}), "last_error": words}


def _finish(context: Context, revision_id: int, product: Product, bundle: Bundle, maker: Maker) -> str:
    """The objects are on disk: their rows, the outbox and the change of state in one transaction."""
    series = len({one.series_uid for one in product.objects if one.kind in SERIES})
    words = f"{len(product.objects)} objects of {series} series"
    told = _told(
        context,
        revision_id,
        Outcome(state=State.ENCODED.value, code=None, words=words, release=""),
        maker,
        targets=product.targets,
        notes=product.notes,
        made=product.objects,
    )
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
        report = dict(revision.report or {})
        report.pop("last_error", None)
        revision.report = {
            **report,
            "model": {"name": bundle.name, "version": bundle.version, "digest": bundle.digest},
            "targets": {name: dict(one) for name, one in product.targets.items()},
            "registrations": {name: dict(one) for name, one in product.registrations.items()},
            "superseded": [one.to_json() for one in told.superseded],
            "notes": list(told.notes),
            "seconds": {**product.seconds, "synthesis": round((now - began).total_seconds(), 3)},
        }
        made = [*product.objects, *told.objects]
        words = f"{len(made)} objects in {len({one.series_uid for one in made})} series"
        revisions.move(session, revision, State.ENCODED, now=now, words=words)
        goes_to = ", ".join(kinds.count(session, context.config, revision_id, made, now))
        revisions.move(
            session, revision, State.DELIVERING, now=now, words=f"to {goes_to or 'no destination'}"
        )
        return revision.state

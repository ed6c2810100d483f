"""Older synthetic series that something better replaces: a real series of the contrast, or one of more slices.

Nothing of ours is ever deleted elsewhere. The older series is measured against the real one, the error is kept in
the database, and the next report names it superseded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from medk2n_node.observe import get_logger
from medk2n_node.store.tables import Delivery, ResultInstance, Revision, TruthScore
from medk2n_node.study import revisions
from medk2n_node.study.context import Context
from medk2n_node.study.states import State
from medk2n_node.synthesis import Measured, measure

log = get_logger("study")

SERIES = ("series", "enhanced")


@dataclass(frozen=True, kw_only=True)
class Older:
    """One synthetic series of an earlier revision that is superseded.

    `by`: "real" or "newer"; `by_series_uid` is empty for "newer" until the newer one is made. The rest is what was
    measured ("real" only).
    """

    contrast: str
    revision: int
    series_uid: str
    by: str
    by_series_uid: str
    psnr_db: float | None = None
    error: float | None = None
    voxels: int = 0
    words: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it is kept with the newer revision."""
        return asdict(self)


def from_json(rows: Sequence[Mapping[str, Any]]) -> list[Older]:
    """What `to_json` gave."""
    return [Older(**row) for row in rows]


def find(
    session: Session, revision: Revision, plan: Mapping[str, Any], work_key: str
) -> list[tuple[Older, Revision]]:
    """The delivered synthetic series that the plan of `revision` supersedes, each with its own revision."""
    made = {one["contrast"] for one in plan["targets"] if one["decision"] == "make"}
    earlier = session.scalars(
        select(Revision)
        .where(Revision.study_uid == revision.study_uid, Revision.number < revision.number)
        .order_by(Revision.number)
    ).all()
    found: list[tuple[Older, Revision]] = []
    for one in earlier:
        same_work = (one.report or {}).get("work", {}).get("key") == work_key
        for contrast, series_uid in _series_that_went_out(session, one):
            if contrast in plan["present"]:
                by, by_series = "real", str(plan["present"][contrast])
            elif contrast in made and not same_work:
                by, by_series = "newer", ""
            else:
                continue
            older = Older(
                contrast=contrast,
                revision=one.number,
                series_uid=series_uid,
                by=by,
                by_series_uid=by_series,
            )
            found.append((older, one))
    return found


def _series_that_went_out(session: Session, revision: Revision) -> list[tuple[str, str]]:
    """Contrast and UID of a revision's series that somebody holds; one form of each."""
    query = (
        select(ResultInstance.contrast, ResultInstance.series_uid, ResultInstance.kind)
        .where(ResultInstance.revision_id == revision.id, ResultInstance.kind.in_(SERIES))
        .distinct()
        .order_by(ResultInstance.kind.desc())  # the classic form ("series") first
    )
    if revision.state != State.DELIVERED.value:  # without a destination it is DELIVERED and stays here
        taken = select(Delivery.sop_uid).where(Delivery.state == "DONE")
        query = query.where(ResultInstance.sop_uid.in_(taken))
    rows = session.execute(query).all()
    chosen: dict[str, str] = {}
    for contrast, series_uid, _ in rows:
        chosen.setdefault(contrast, series_uid)
    return sorted(chosen.items())


def measured(context: Context, found: Sequence[tuple[Older, Revision]], revision: Revision) -> list[Older]:
    """The same with their errors against the real series; what was measured before is taken from the database.

    Takes its time (registration), so call it outside a transaction; `keep` stores what is new.
    """
    return [
        _with(older, _measure(context, older, made_by, revision)) if older.by == "real" else older
        for older, made_by in found
    ]


def _with(older: Older, figures: Measured) -> Older:
    return Older(
        **{
            **asdict(older),
            "psnr_db": figures.psnr_db,
            "error": figures.error,
            "voxels": figures.voxels,
            "words": figures.words,
        }
    )


def _measure(context: Context, older: Older, made_by: Revision, revision: Revision) -> Measured:
    with context.store.reading() as session:
        known = _stored(session, older)
        if known is not None:
            return Measured(psnr_db=known.psnr_db, error=known.error, voxels=known.voxels, words=known.words)
        synthetic = session.scalars(
            select(ResultInstance.path).where(ResultInstance.series_uid == older.series_uid)
        ).all()
        truth = [
            row.path
            for row in revisions.instances(session, revision.id)
            if row.series_uid == older.by_series_uid
        ]
    target = ((made_by.report or {}).get("targets") or {}).get(older.contrast) or {}
    root: Path = context.store.root
    figures = measure(
        [root / path for path in synthetic],
        [root / path for path in truth],
        contrast=older.contrast,
        scale=float(target.get("scale") or 1.0),
    )
    log.info(
        "a synthetic series was measured against the real one",
        series=older.series_uid,
        contrast=older.contrast,
        psnr_db=figures.psnr_db,
        error=figures.error,
    )
    return figures


def keep(session: Session, revision: Revision, found: Sequence[Older], context: Context) -> None:
    """Store the errors that are not stored yet."""
    for older in found:
        if older.by != "real" or _stored(session, older) is not None:
            continue
        made_by = session.scalars(
            select(Revision).where(
                Revision.study_uid == revision.study_uid, Revision.number == older.revision
            )
        ).one()
        session.add(
            TruthScore(
                study_uid=revision.study_uid,
                revision_id=made_by.id,
                contrast=older.contrast,
                synthetic_series_uid=older.series_uid,
                truth_series_uid=older.by_series_uid,
                model_digest=str(((made_by.report or {}).get("model") or {}).get("digest", "")),
                psnr_db=older.psnr_db,
                error=older.error,
                voxels=older.voxels,
                words=older.words,
                measured_at=context.clock(),
            )
        )


def _stored(session: Session, older: Older) -> TruthScore | None:
    return session.scalars(
        select(TruthScore).where(
            TruthScore.synthetic_series_uid == older.series_uid,
            TruthScore.truth_series_uid == older.by_series_uid,
        )
    ).first()

"""What can be told about studies: the documents behind `studies list` and `studies show`.

Reads tables, decides nothing. The documents hold UIDs, times, states and sentences, never patient data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from medk2n_node.delivery.statuses import DECLINED_STATUS
from medk2n_node.errors import InputError
from medk2n_node.store.tables import (
    Conflict,
    Delivery,
    Instance,
    Quarantine,
    ResultInstance,
    Revision,
    Series,
    Study,
    Transition,
    TruthScore,
)
from medk2n_node.study import revisions
from medk2n_node.study.states import State

RECEIVED_ONLY = "received; no worker has looked at it yet"
KINDS = ("series", "enhanced", "uncertainty", "overlay", "summary", "report", "rejection")
"""The kinds of result in the order in which they are shown."""

ALL_SET_ASIDE = "no object of this study could be taken in; each was set aside with its reason"


def list_document(session: Session) -> dict[str, Any]:
    """Every study, newest first, and the objects that could not be given to a study."""
    studies = []
    for study in session.scalars(select(Study).order_by(Study.last_at.desc())):
        revision = revisions.latest(session, study.study_uid)
        studies.append(
            {
                "study_uid": study.study_uid,
                **_standing(revision),
                "instances": _count(session, Instance, study.study_uid),
                "series": _count(session, Series, study.study_uid),
                "calling_ae": study.calling_ae,
                "last_at": study.last_at,
            }
        )
    known = {one["study_uid"] for one in studies}
    orphans = session.scalars(select(Quarantine).order_by(Quarantine.id.desc())).all()
    for study_uid in dict.fromkeys(row.study_uid for row in orphans if row.study_uid):
        if study_uid not in known:
            mine = [row for row in orphans if row.study_uid == study_uid]
            studies.append(
                {
                    "study_uid": study_uid,
                    **_refused_unseen(mine),
                    "instances": 0,
                    "series": 0,
                    "calling_ae": mine[0].calling_ae,
                    "last_at": mine[0].received_at,
                }
            )
    return {
        "studies": studies,
        "quarantine": [_set_aside(row) for row in orphans if row.study_uid is None],
    }


def show_document(session: Session, study_uid: str) -> dict[str, Any]:
    """Everything about one study. Raises InputError when nothing of it was ever received."""
    study = session.get(Study, study_uid)
    quarantined = session.scalars(
        select(Quarantine).where(Quarantine.study_uid == study_uid).order_by(Quarantine.id)
    ).all()
    if study is None and not quarantined:
        raise InputError(
            code="unknown_study",
            subject=f"study {study_uid}",
            reason="no object of it was received",
            cure="medk2n studies list shows what was",
        )
    rows = session.scalars(
        select(Revision).where(Revision.study_uid == study_uid).order_by(Revision.number)
    ).all()
    newest = rows[-1] if rows else None
    document: dict[str, Any] = {
        "study_uid": study_uid,
        **(_standing(newest) if study is not None else _refused_unseen(quarantined)),
        "received": _received(session, study),
        "evidence": newest.evidence if newest else {},
        "history": _history(session, rows),
        "plan": newest.plan if newest else None,
        "report": _report(newest),
        "results": _results(session, rows),
        "superseded": _superseded(session, study_uid),
        "deliveries": _deliveries(session, rows),
        "quarantine": [_set_aside(row) for row in quarantined],
        "conflicts": _conflicts(session, study_uid),
    }
    return document


def unfiled_document(session: Session) -> list[dict[str, Any]]:
    """The objects that were set aside and name no study (bytes that are not DICOM, missing UIDs)."""
    rows = session.scalars(select(Quarantine).where(Quarantine.study_uid.is_(None)).order_by(Quarantine.id))
    return [_set_aside(row) for row in rows]


def _standing(revision: Revision | None) -> dict[str, Any]:
    if revision is None:
        return {
            "state": State.RECEIVING.value,
            "revision": 0,
            "code": None,
            "words": RECEIVED_ONLY,
            "release": None,
            "stage": None,
            "attempt": 0,
        }
    return {
        "state": revision.state,
        "revision": revision.number,
        "code": revision.code,
        "words": revision.words,
        "release": revision.release,
        "stage": revision.stage,
        "attempt": revision.attempt,
    }


def _refused_unseen(quarantined: Sequence[Quarantine]) -> dict[str, Any]:
    """A study of which every object was set aside has no rows of its own; it is refused all the same."""
    return {
        "state": State.REFUSED.value,
        "revision": 0,
        "code": quarantined[0].code,
        "words": f"{ALL_SET_ASIDE}: {quarantined[0].words}",
        "release": "Send the study again with whole, valid objects",
        "stage": None,
        "attempt": 0,
    }


def _received(session: Session, study: Study | None) -> dict[str, Any]:
    if study is None:
        return {"instances": 0, "series": [], "first_at": None, "last_at": None, "calling_ae": None}
    counts = session.execute(
        select(Instance.series_uid, Series.modality, func.count())
        .join(Series, Series.series_uid == Instance.series_uid)
        .where(Instance.study_uid == study.study_uid)
        .group_by(Instance.series_uid, Series.modality)
        .order_by(Instance.series_uid)
    ).all()
    return {
        "instances": sum(number for _, _, number in counts),
        "series": [
            {"series_uid": uid, "modality": modality, "instances": number} for uid, modality, number in counts
        ],
        "first_at": study.first_at,
        "last_at": study.last_at,
        "calling_ae": study.calling_ae,
    }


def _history(session: Session, rows: Sequence[Revision]) -> list[dict[str, Any]]:
    numbers = {row.id: row.number for row in rows}
    transitions = session.scalars(
        select(Transition).where(Transition.revision_id.in_(numbers)).order_by(Transition.id)
    )
    return [
        {
            "revision": numbers[one.revision_id],
            "from": one.old,
            "to": one.new,
            "at": one.at,
            "code": one.code,
            "reason": one.words,
        }
        for one in transitions
    ]


def _report(revision: Revision | None) -> dict[str, Any] | None:
    """What the synthesis measured and said; without the bookkeeping that only the steps need."""
    if revision is None or revision.report is None:
        return None
    return {name: value for name, value in revision.report.items() if name != "work"} or None


def _results(session: Session, rows: Sequence[Revision]) -> list[dict[str, Any]]:
    """One entry per series that was made: by revision, the images first, then what tells about them."""
    numbers = {row.id: row.number for row in rows}
    found = session.execute(
        select(
            ResultInstance.revision_id,
            ResultInstance.kind,
            ResultInstance.contrast,
            ResultInstance.series_uid,
            func.count(),
            func.min(ResultInstance.path),
        )
        .where(ResultInstance.revision_id.in_(numbers))
        .group_by(
            ResultInstance.revision_id,
            ResultInstance.kind,
            ResultInstance.contrast,
            ResultInstance.series_uid,
        )
    ).all()
    ordered = sorted(
        found, key=lambda row: (numbers[row.revision_id], KINDS.index(row.kind), row.contrast, row.series_uid)
    )
    return [
        {
            "revision": numbers[revision_id],
            "kind": kind,
            "contrast": contrast or None,
            "series_uid": series_uid,
            "instances": number,
            "first_file": path,
        }
        for revision_id, kind, contrast, series_uid, number, path in ordered
    ]


def _superseded(session: Session, study_uid: str) -> list[dict[str, Any]]:
    """The errors of synthetic series, measured against real ones that came later."""
    rows = session.scalars(
        select(TruthScore).where(TruthScore.study_uid == study_uid).order_by(TruthScore.id)
    ).all()
    return [
        {
            "contrast": row.contrast,
            "synthetic_series_uid": row.synthetic_series_uid,
            "real_series_uid": row.truth_series_uid,
            "psnr_db": row.psnr_db,
            "error": row.error,
            "voxels": row.voxels,
            "words": row.words,
            "measured_at": row.measured_at,
        }
        for row in rows
    ]


def _deliveries(session: Session, rows: Sequence[Revision]) -> list[dict[str, Any]]:
    """One entry per revision and destination, with the newest trouble in words; `kinds` counts by kind of object.

    `declined` counts what went along with a series to a destination that takes no such object.
    """
    numbers = {row.id: row.number for row in rows}
    entries: dict[tuple[int, str], dict[str, Any]] = {}
    ledger = session.execute(
        select(Delivery, ResultInstance.kind)
        .join(ResultInstance, ResultInstance.sop_uid == Delivery.sop_uid)
        .where(Delivery.revision_id.in_(numbers))
        .order_by(Delivery.id)
    )
    for row, kind in ledger:
        entry = entries.setdefault(
            (row.revision_id, row.destination),
            {
                "revision": numbers[row.revision_id],
                "destination": row.destination,
                "objects": 0,
                "open": 0,
                "done": 0,
                "dead": 0,
                "declined": 0,
                "kinds": {},
                "attempts": 0,
                "next_at": None,
                "done_at": None,
                "last_status": None,
                "last_error": None,
            },
        )
        declined = row.state == "DEAD" and row.last_status == DECLINED_STATUS
        standing = "declined" if declined else row.state.lower()
        entry["objects"] += 1
        entry[standing] += 1
        counted = entry["kinds"].setdefault(
            kind, {"objects": 0, "open": 0, "done": 0, "dead": 0, "declined": 0}
        )
        counted["objects"] += 1
        counted[standing] += 1
        entry["attempts"] = max(entry["attempts"], row.attempts)
        entry["last_status"] = row.last_status or entry["last_status"]
        entry["last_error"] = row.last_error or entry["last_error"]
        if row.state == "OPEN":
            entry["next_at"] = min(row.next_at, entry["next_at"] or row.next_at)
        if row.done_at is not None:
            entry["done_at"] = max(row.done_at, entry["done_at"] or row.done_at)
    return list(entries.values())


def _conflicts(session: Session, study_uid: str) -> list[dict[str, Any]]:
    rows = session.scalars(
        select(Conflict)
        .join(Instance, Instance.sop_uid == Conflict.sop_uid)
        .where(Instance.study_uid == study_uid)
        .order_by(Conflict.id)
    )
    return [
        {
            "sop_uid": row.sop_uid,
            "path": row.path,
            "received_at": row.received_at,
            "calling_ae": row.calling_ae,
            "words": "another object came under a UID that is already held; the first one is kept",
        }
        for row in rows
    ]


def _set_aside(row: Quarantine) -> dict[str, Any]:
    return {
        "id": row.id,
        "received_at": row.received_at,
        "calling_ae": row.calling_ae,
        "code": row.code,
        "words": row.words,
        "sop_uid": row.sop_uid,
        "path": row.path,
    }


def _count(session: Session, table: type[Instance] | type[Series], study_uid: str) -> int:
    return session.execute(
        select(func.count()).select_from(table).where(table.study_uid == study_uid)
    ).scalar_one()

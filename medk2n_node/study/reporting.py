"""The report of a revision, and the notes that reject what it supersedes: from the tables and files to objects.

Called before the transaction that stores the outcome, so that nobody waits for it; what it writes is counted only
when that transaction commits, and the same revision gives the same bytes again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from sqlalchemy import select
from sqlalchemy.orm import Session

from dicom_rules.derive import (
    Account,
    Decision,
    Figures,
    FoundSeries,
    Maker,
    Superseded,
    encode_rejection,
    encode_report,
)
from dicom_rules.errors import RuleError
from medk2n_node.observe import get_logger
from medk2n_node.store.tables import Instance, ResultInstance, Revision
from medk2n_node.study import revisions
from medk2n_node.study.context import Context
from medk2n_node.study.superseding import SERIES, Older
from medk2n_node.synthesis import MadeObject, write_objects

log = get_logger("study")

PICTURES = (*SERIES, "uncertainty", "summary")
"""The kinds that a note of rejection names: images."""

NOBODYS = "two_patients"
"""The problem that forbids a report: it would have to go into somebody's record."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Where a revision goes: its state and code, what a person reads, what would help."""

    state: str
    code: str | None
    words: str
    release: str


def objects_about(
    context: Context,
    revision_id: int,
    outcome: Outcome,
    *,
    maker: Maker,
    plan: Mapping[str, Any],
    work: Mapping[str, Any],
    targets: Mapping[str, Mapping[str, Any]],
    notes: Sequence[str] = (),
    made: Sequence[MadeObject] = (),
    older: Sequence[Older] = (),
) -> tuple[list[MadeObject], str | None]:
    """Write the report and the notes of rejection; also gives the sentence why there is no report, if there is none.

    Args:
        outcome: where the revision is about to go.
        maker: what the headers say about the node and the weights.
        plan, work: of the revision, as stored.
        targets: what the synthesis reported, by contrast; empty when none ran.
        made: the objects of this revision.
        older: what this revision supersedes.
    """
    results = context.config.results
    reports = results.report and bool(made or older or results.report_when_nothing_made)
    rejects = results.reject_superseded and bool(older)
    if not (reports or rejects):
        return [], None
    if outcome.code == NOBODYS:
        return [], "no report was made: nobody can say into whose record it belongs"
    with context.store.reading() as session:
        revision = revisions.get(session, revision_id)
        rows = revisions.instances(session, revision_id)
        before = _earlier_reports(session, revision)
        replaced = [_result_rows(session, one) for one in older]
        known = set(session.scalars(select(ResultInstance.sop_uid).where(ResultInstance.kind == "rejection")))
    headers = _headers(context, rows)
    patient = _patient(headers, plan)
    if patient is None:
        return [], "no report was made: no object of the study can be read"
    root = context.store.root
    made_at = datetime.fromisoformat(str(work["decided_at"]))
    facts = [(one, own, _superseded(one, root, own)) for one, own in zip(older, replaced, strict=True)]
    account = Account(
        study_uid=revision.study_uid,
        revision=revision.number,
        outcome=_headline(outcome, made),
        words=outcome.words,
        release=outcome.release,
        series=_series(plan, headers, rows),
        decisions=tuple(_decision(one, targets, made, root) for one in plan["targets"]),
        superseded=tuple(fact for _, _, fact in facts),
        notes=tuple(notes),
    )
    objects: list[MadeObject] = []
    try:
        if reports:
            report = encode_report(
                account,
                patient=patient,
                maker=maker,
                series_number=int(work["numbers"]["report"]),
                made_at=made_at,
                predecessors=[_read(root / path) for path in before],
            )
            objects += write_objects(context.store.write_result, "report", "", [report])
        for one, own, fact in facts if rejects else ():
            note = encode_rejection(
                one.contrast,
                rejected=[_read(root / row.path) for row in own if row.kind in PICTURES],
                reason=fact.sentence,
                first=patient,
                maker=maker,
                series_number=int(work["numbers"]["rejection"]),
                made_at=made_at,
            )
            if str(note.SOPInstanceUID) not in known:
                objects += write_objects(context.store.write_result, "rejection", one.contrast, [note])
    except RuleError as error:
        # What was decided stands, with or without a report of it; the reason is kept with the revision.
        log.warning("no report could be made", revision_id=revision_id, reason=str(error))
        return [], f"no report could be made ({error})"
    return objects, None


def _headline(outcome: Outcome, made: Sequence[MadeObject]) -> str:
    """The first words a person reads."""
    if any(one.kind in SERIES for one in made):
        contrasts = dict.fromkeys(one.contrast for one in made if one.kind in SERIES)
        return f"Synthetic (AI) {' and '.join(contrasts)} made"
    return {
        "HELD": "Nothing was synthesised: held for a person",
        "REFUSED": "Nothing was synthesised: refused",
    }.get(outcome.state, "Nothing was synthesised")


def _headers(context: Context, rows: Sequence[Instance]) -> dict[str, Dataset]:
    """The header of one readable object of each series, by Series Instance UID."""
    found: dict[str, Dataset] = {}
    for row in rows:
        if row.series_uid in found:
            continue
        try:
            header = _read(context.store.path(row.path))
        except (InvalidDicomError, OSError, ValueError, EOFError):
            continue  # another object of the series may be readable; the plan says what is wrong with it
        if "SOPClassUID" in header and "SeriesInstanceUID" in header:
            found[row.series_uid] = header
    return found


def _read(path: Path) -> Dataset:
    return dcmread(path, stop_before_pixels=True)


def _patient(headers: Mapping[str, Dataset], plan: Mapping[str, Any]) -> Dataset | None:
    """The header that patient and study are copied from: a series in use, else any that is an image."""
    for uid in (*plan["present"].values(), *(one["series_uid"] for one in plan["series"])):
        if uid in headers:
            return headers[uid]
    return next(iter(headers.values()), None)


def _series(
    plan: Mapping[str, Any], headers: Mapping[str, Dataset], rows: Sequence[Instance]
) -> tuple[FoundSeries, ...]:
    return tuple(
        FoundSeries(
            header=headers[one["series_uid"]],
            instances=sum(row.series_uid == one["series_uid"] for row in rows),
            role=str(one["role"]),
            contrast=one["contrast"],
            reasons=tuple(one["reasons"]),
        )
        for one in plan["series"]
        if one["series_uid"] in headers
    )


def _decision(
    planned: Mapping[str, Any],
    targets: Mapping[str, Mapping[str, Any]],
    made: Sequence[MadeObject],
    root: Path,
) -> Decision:
    contrast = str(planned["contrast"])
    told = targets.get(contrast)
    reasons = [*planned["reasons"], *(told["reasons"] if told else ())]
    outcome = str(planned["decision"])
    if outcome == "make":
        # Planned, but the images or the model gave a reason not to: the report says the outcome, not the plan.
        outcome = "refuse" if told is None else ("abstained" if told["abstained"] else "made")
    firsts: dict[str, MadeObject] = {}
    for one in made:
        if one.contrast == contrast and one.kind in PICTURES:
            firsts.setdefault(one.kind, one)
    return Decision(
        contrast=contrast,
        outcome=outcome,
        sources=tuple(planned["sources"]),
        key=told["key"] if told else planned["key"],
        reasons=tuple(dict.fromkeys(reasons)),
        figures=_figures(told) if told else None,
        results=tuple(_read(root / one.path) for one in firsts.values()),
    )


def _figures(told: Mapping[str, Any]) -> Figures:
    quality, interval = told["quality"], told["interval"]
    return Figures(
        expected_error=quality.get("expected_mae"),
        expected_dissimilarity=quality.get("expected_dissimilarity"),
        half_width=interval["half_width"],
        calibrated=bool(interval["calibrated"]),
        contributions=told["contributions"],
    )


def _superseded(one: Older, root: Path, own: Sequence[ResultInstance]) -> Superseded:
    first = next(row for row in own if row.series_uid == one.series_uid)
    return Superseded(
        contrast=one.contrast,
        revision=one.revision,
        by=one.by,
        by_series_uid=one.by_series_uid,
        first=_read(root / first.path),
        psnr_db=one.psnr_db,
        error=one.error,
        words=one.words,
    )


def _result_rows(session: Session, one: Older) -> list[ResultInstance]:
    """All objects made of the superseded result, its series first."""
    revision_id = select(ResultInstance.revision_id).where(ResultInstance.series_uid == one.series_uid)
    rows = session.scalars(
        select(ResultInstance)
        .where(ResultInstance.revision_id.in_(revision_id), ResultInstance.contrast == one.contrast)
        .order_by(ResultInstance.sop_uid)
    ).all()
    return sorted(rows, key=lambda row: row.series_uid != one.series_uid)


def _earlier_reports(session: Session, revision: Revision) -> list[str]:
    """The files of the newest report that an earlier decision on this study left."""
    rows = session.execute(
        select(Revision.number, ResultInstance.path)
        .join(ResultInstance, ResultInstance.revision_id == Revision.id)
        .where(Revision.study_uid == revision.study_uid, ResultInstance.kind == "report")
        .order_by(Revision.number.desc(), ResultInstance.sop_uid)
    ).all()
    return [path for number, path in rows if number == rows[0][0]]

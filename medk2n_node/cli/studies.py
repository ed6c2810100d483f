"""`medk2n studies list | show | retry | release`: what became of every study, and why."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from medk2n_node.cli.context import JsonFlag, configuration, people, print_json
from medk2n_node.errors import InputError, UsageError

studies = typer.Typer(help="What was received, what became of it, and why.", no_args_is_help=True)

UNFILED = "unfiled"
StudyUid = Annotated[str, typer.Argument(metavar="UID", help="Study Instance UID.")]


@studies.command("list")
def list_studies(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Every study, newest first, and what could not be given to a study."""
    from medk2n_node.store import open_store
    from medk2n_node.study import list_document

    with open_store(configuration(context)).reading() as session:
        document = list_document(session)
    if as_json:
        print_json(document)
        return
    console = people()
    for one in document["studies"]:
        received = f"{one['instances']} objects in {one['series']} series, last {_time(one['last_at'])}"
        console.print(f"{one['study_uid']}  {one['state']}  r{one['revision']}  {received}", soft_wrap=True)
        if one["words"]:
            console.print(f"    {one['words']}", markup=False, soft_wrap=True)
    if not document["studies"]:
        console.print("No study has been received.")
    if document["quarantine"]:
        number = len(document["quarantine"])
        console.print(f"{number} set aside without a study: medk2n studies show {UNFILED}")


@studies.command("show")
def show_study(
    context: typer.Context,
    uid: Annotated[str, typer.Argument(metavar="UID", help=f"Study Instance UID, or the word {UNFILED}.")],
    as_json: JsonFlag = False,
) -> None:
    """One study: state, history, plan, results, deliveries, and what was set aside."""
    from medk2n_node.store import open_store
    from medk2n_node.study import show_document, unfiled_document

    with open_store(configuration(context)).reading() as session:
        if uid == UNFILED:
            document: dict[str, Any] = {"quarantine": unfiled_document(session)}
        else:
            document = show_document(session, uid)
    if as_json:
        print_json(document)
        return
    lines = _set_aside_lines(document["quarantine"]) if uid == UNFILED else _study_lines(document)
    console = people()
    for line in lines or ["Nothing is set aside."]:
        console.print(line, markup=False, soft_wrap=True)


@studies.command("retry")
def retry_study(context: typer.Context, uid: StudyUid, as_json: JsonFlag = False) -> None:
    """Take up a study again that was held or refused, or that failed; a running worker does the rest."""
    from medk2n_node.observe import configure_logging
    from medk2n_node.store import open_store
    from medk2n_node.study import IllegalTransition, latest, retry

    config = configuration(context)
    configure_logging(config.observe, process="studies")
    store = open_store(config)
    with store.session() as session:
        revision = latest(session, uid)
        if revision is None:
            raise _unknown(uid)
        try:
            state = retry(session, revision, store.clock())
        except IllegalTransition as error:
            raise UsageError(
                code="nothing_to_retry",
                subject=f"study {uid}",
                reason=f"revision {revision.number} is {revision.state}: only HELD, REFUSED and FAILED can be retried",
                cure="medk2n studies show tells where it stands",
            ) from error
        number = revision.number
    if as_json:
        print_json({"study_uid": uid, "revision": number, "state": state.value})
    else:
        people().print(f"Revision {number} is {state.value} again; a running worker takes it up.")


@studies.command("release")
def release_study(context: typer.Context, uid: StudyUid, as_json: JsonFlag = False) -> None:
    """Let a study go on that is held because it would supersede a synthetic series that was delivered."""
    from medk2n_node.observe import configure_logging
    from medk2n_node.store import open_store
    from medk2n_node.study import IllegalTransition, latest, release

    config = configuration(context)
    configure_logging(config.observe, process="studies")
    store = open_store(config)
    with store.session() as session:
        revision = latest(session, uid)
        if revision is None:
            raise _unknown(uid)
        try:
            state = release(session, revision, store.clock())
        except (IllegalTransition, ValueError) as error:
            reason = f"revision {revision.number} is {revision.state}: only HELD can be released"
            if isinstance(error, ValueError):
                reason = str(error)
            raise UsageError(
                code="nothing_to_release",
                subject=f"study {uid}",
                reason=reason,
                cure="medk2n studies show tells what helps",
            ) from error
        number = revision.number
    if as_json:
        print_json({"study_uid": uid, "revision": number, "state": state.value})
    else:
        people().print(f"Revision {number} is released; a running worker takes it up.")


def _unknown(uid: str) -> InputError:
    return InputError(
        code="unknown_study",
        subject=f"study {uid}",
        reason="there is no revision of it",
        cure="medk2n studies list shows what was received",
    )


_KINDS = {
    "series": "synthetic series",
    "enhanced": "synthetic series (Enhanced MR)",
    "uncertainty": "uncertainty map",
    "overlay": "overlay",
    "summary": "summary sheet",
    "report": "report",
    "rejection": "note of rejection",
}


def register(app: typer.Typer) -> None:
    """Add `studies` to the command line."""
    app.add_typer(studies, name="studies")


def _study_lines(document: dict[str, Any]) -> list[str]:
    received = document["received"]
    lines = [
        f"Study {document['study_uid']}",
        f"  {document['state']} (revision {document['revision']}): {document['words'] or ''}".rstrip(" :"),
    ]
    if document["stage"]:
        lines.append(f"  now: {document['stage']}, attempt {document['attempt']}")
    if document["release"]:
        lines.append(f"  what helps: {document['release']}")
    lines.append(f"  received: {received['instances']} objects in {len(received['series'])} series")
    lines += _evidence_lines(document["evidence"])
    lines += _plan_lines(document["plan"])
    lines += _report_lines(document["report"])
    for one in document["results"]:
        about = f" of {one['contrast']}" if one["contrast"] else ""
        number = f"{one['instances']} {'object' if one['instances'] == 1 else 'objects'}"
        lines.append(f"  result: {_KINDS[one['kind']]}{about}, {number}, series {one['series_uid']}")
    for one in document["superseded"]:
        measured = one["words"]
        if one["psnr_db"] is not None:
            measured = (
                f"PSNR {one['psnr_db']:.2f} dB, mean absolute error {one['error']:.4f} "
                "of the 99.5th percentile inside the brain"
            )
        lines.append(f"  against the real {one['contrast']} that came later: {measured}")
    lines += [_delivery_line(one) for one in document["deliveries"]]
    lines += _set_aside_lines(document["quarantine"])
    lines += [f"  conflict: {one['sop_uid']}: {one['words']}" for one in document["conflicts"]]
    lines.append("  history:")
    for one in document["history"]:
        reason = f": {one['reason']}" if one["reason"] else ""
        lines.append(
            f"    {_time(one['at'])}  r{one['revision']} {one['from'] or '-'} -> {one['to']}{reason}"
        )
    return lines


def _evidence_lines(evidence: dict[str, Any]) -> list[str]:
    lines = [
        f"  settled because: {sentence}" for sentence in evidence.get("completion", {}).get("sentences", [])
    ]
    lines += [
        f"  returned: {number} objects: {words}" for words, number in evidence.get("returned", {}).items()
    ]
    return lines


def _plan_lines(plan: dict[str, Any] | None) -> list[str]:
    if plan is None:
        return []
    lines = ["  plan:"]
    for one in plan["targets"]:
        sources = f" from {', '.join(one['sources'])} (key {one['key']})" if one["decision"] == "make" else ""
        lines.append(f"    {one['contrast']}: {one['decision']}{sources}")
        lines += [f"      {reason}" for reason in one["reasons"]]
    for one in plan.get("series", []):
        lines.append(
            f"    series {one['series_uid']}: {one['role']}{' ' + one['contrast'] if one['contrast'] else ''}"
        )
        lines += [f"      {reason}" for reason in one["reasons"]]
    return lines


def _report_lines(report: dict[str, Any] | None) -> list[str]:
    if report is None:
        return []
    lines = [f"  last error: {report['last_error']}"] if "last_error" in report else []
    lines += [f"  note: {note}" for note in report.get("notes", [])]
    for contrast, one in report.get("targets", {}).items():
        lines += [f"  {contrast}: {reason}" for reason in one["reasons"]]
    lines += [f"  {contrast}: {one['sentence']}" for contrast, one in report.get("registrations", {}).items()]
    if report.get("seconds"):
        spent = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in report["seconds"].items())
        lines.append(f"  time: {spent}")
    return lines


def _delivery_line(one: dict[str, Any]) -> str:
    line = f"  to {one['destination']}: {one['done']} of {one['objects']} accepted"
    if one["open"]:
        line += f", {one['open']} waiting until {_time(one['next_at'])} after {one['attempts']} attempts"
    if one["dead"]:
        line += f", {one['dead']} given up after {one['attempts']} attempts"
    if one["last_error"]:
        status = f"{one['last_status']} " if one["last_status"] else ""
        line += f"; last answer: {status}{one['last_error']}"
    return line


def _set_aside_lines(rows: list[dict[str, Any]]) -> list[str]:
    return [
        f"  set aside {_time(row['received_at'])} from {row['calling_ae']}: {row['words']}" for row in rows
    ]


def _time(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")

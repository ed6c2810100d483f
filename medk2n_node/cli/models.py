"""`medk2n models list | show | verify | use | rollback | export | drift`: which weights make the images, and why."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medk2n_node.cli.context import JsonFlag, configuration, people, print_json, remarks
from medk2n_node.cli.who import user

if TYPE_CHECKING:
    from medk2n_node.config import Config
    from medk2n_node.models import Change

models = typer.Typer(help="Which model is in service, and the models that are kept.", no_args_is_help=True)

BAD = 3
OneModel = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME|PATH]", help="Name, name@version, digest or folder; without it the one in force."
    ),
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept in the history.")]
By = Annotated[
    str, typer.Option("--by", metavar="NAME", help="Who decided; without it the user of this command.")
]


@models.command("list")
def list_models(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Every model of this node: the packaged one and those that were in service; the one in force is marked."""
    from medk2n_node.models import all_models, choose, find, shelf_of

    config = configuration(context)
    choice, shelf = choose(config), shelf_of(config)
    force, service = find(config, None), shelf.record().in_service
    kept = {one.digest: one.kept_at for one in shelf.versions()}
    rows: list[dict[str, Any]] = [
        {
            "digest": one.digest,
            "name": one.name,
            "version": one.version,
            "folder": one.folder,
            "packaged": one.packaged,
            "kept_since": None if one.packaged else kept.get(one.digest),
            "in_service": one.digest == service and not one.packaged,
            "in_force": one.folder == choice.folder,
        }
        for one in all_models(config)
    ]
    if as_json:
        in_force = {"digest": force.digest, "folder": choice.folder, "because": choice.because}
        print_json({"in_force": in_force, "models": rows})
        return
    console = people()
    for row in rows:
        mark = "*" if row["in_force"] else " "
        named = f"{row['name'] or 'unreadable'} {row['version']}".ljust(28)
        origin = "came with the package" if row["packaged"] else f"kept since {_time(row['kept_since'])}"
        console.print(f"{mark} {str(row['digest'])[:12]}  {named} {origin}", markup=False, soft_wrap=True)
    console.print(f"In force: {force.folder}: {choice.words}.", markup=False, soft_wrap=True)


@models.command("show")
def show_model(context: typer.Context, model: OneModel = None, as_json: JsonFlag = False) -> None:
    """What a model is: network, contrasts, sites, key scores, training, figures, calibration, card, and its history."""
    from medk2n_node.models import choose, find, shelf_of
    from model.bundle import verify_bundle

    config = configuration(context)
    choice, record = choose(config), shelf_of(config).record()
    found = find(config, model)
    facts = verify_bundle(found.folder)
    manifest = facts.manifest
    force = find(config, None).digest == facts.digest
    calibration = manifest.get("calibration")
    entries = calibration["entries"] if calibration else []
    sure = [one for one in entries if one["factor"] is not None]
    document: dict[str, Any] = {
        "digest": facts.digest,
        "name": facts.name,
        "version": facts.version,
        "folder": found.folder,
        "bytes": facts.bytes_,
        "in_force": force,
        "because": choice.words if force else f"another model is in force ({choice.folder}): {choice.words}",
        "in_service": facts.digest == record.in_service,
        **{key: value for key, value in manifest.items() if key not in ("name", "version", "schema")},
        "calibrated": bool(sure) or (not entries and manifest["interval_factor"] is not None),
        "changes": [one.to_json() for one in record.changes],
        "card": facts.card,
    }
    if as_json:
        print_json(document)
        return
    console = people()
    for line in _lines(document):
        console.print(line, markup=False, soft_wrap=True)


@models.command("verify")
def verify_models(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME|PATH]...", help="Which; without any, all models of this node."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Compare every byte with its seal, open the network and let it compute; exit code 3 when a model fails."""
    from medk2n_node.models import all_models, choose, find
    from model import BundleError
    from model.bundle import open_and_try

    config = configuration(context)
    if names:
        found = [find(config, name) for name in names]
    else:
        found = all_models(config)
        if choose(config).folder not in [one.folder for one in found]:
            found.insert(0, find(config, None))
    rows: list[dict[str, Any]] = []
    for one in found:
        row: dict[str, Any] = {
            "digest": one.digest, "name": one.name, "version": one.version, "folder": one.folder,
        }  # fmt: skip
        try:
            open_and_try(one.folder)
            rows.append({**row, "ok": True, "error": None})
        except BundleError as error:
            words = {"code": error.code, "subject": error.subject, "reason": error.reason, "cure": error.cure}
            rows.append({**row, "ok": False, "error": words})
    if as_json:
        print_json({"ok": all(row["ok"] for row in rows), "models": rows})
    else:
        console = people()
        for row in rows:
            verdict = "whole, and it computes" if row["ok"] else _error_words(row["error"])
            console.print(f"{row['folder']}: {verdict}", markup=False, soft_wrap=True)
    if not all(row["ok"] for row in rows):
        raise typer.Exit(BAD)


@models.command("use")
def use_model(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="PATH|NAME", help="A bundle's folder, or a kept model.")],
    reason: Reason = "",
    by: By = "",
    as_json: JsonFlag = False,
) -> None:
    """Put a model into service; a running node takes it with the next study. Refused (3) when it is not whole."""
    from medk2n_node.models import find, shelf_of

    config = configuration(context)
    shelf = shelf_of(config)
    change = shelf.use(
        find(config, model).folder, who=by or user(), reason=reason.strip(), now=datetime.now(UTC)
    )
    _tell(config, change, as_json)


@models.command("rollback")
def rollback_model(
    context: typer.Context, reason: Reason = "", by: By = "", as_json: JsonFlag = False
) -> None:
    """Return to the model that was in service before; exit code 2 when there was none."""
    from medk2n_node.models import shelf_of

    config = configuration(context)
    change = shelf_of(config).rollback(who=by or user(), reason=reason.strip(), now=datetime.now(UTC))
    _tell(config, change, as_json)


@models.command("export")
def export_model(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new or empty folder.")],
    model: OneModel = None,
    onnx: Annotated[
        list[str] | None,
        typer.Option(
            "--onnx",
            metavar="SOURCES:TARGETS",
            help="Also as ONNX for this pattern, such as T1,T2:FLAIR; may be given several times.",
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write a model as a MONAI bundle, with ONNX for the patterns that are named; each is compared with PyTorch."""
    from medk2n_node.models import find
    from model.bundle import export_bundle, read_pattern

    config = configuration(context)
    patterns = [read_pattern(text) for text in onnx or []]
    remarks().print("writing; each ONNX graph takes a minute or two", style="dim")
    document = export_bundle(find(config, model).folder, out, patterns)
    if as_json:
        print_json(document)
        return
    console = people()
    console.print(f"{document['name']} {document['version']} is in {out}", markup=False, soft_wrap=True)
    for one in document["onnx"]:
        console.print(f"  {one['pattern']}: {one['words']}", markup=False, soft_wrap=True)


@models.command("drift")
def drift(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Whether what the model makes has changed, per scanner and protocol, from the studies seen in shadow mode."""
    from medk2n_node.shadow import drift_of, ledger_of

    config = configuration(context)
    ledger = ledger_of(config)
    rows = ledger.rows()
    lines = drift_of(rows)
    if as_json:
        document = {"every": config.shadow.every, "rows": len(rows), "file": ledger.file}
        print_json({**document, "drift": [one.to_json() for one in lines]})
        return
    console = people()
    if not rows:
        asked = f"one study in {config.shadow.every}" if config.shadow.every else "off: [shadow] every = 0"
        console.print(f"No study was looked at in shadow mode yet ({asked}).", markup=False)
        return
    from rich.table import Table

    table = Table(
        "scanner", "tesla", "protocol", "target", "model", "rows", "usual", "now", "limit", "verdict"
    )
    for one in lines:
        figures = ("-" if v is None else f"{v:.2f} dB" for v in (one.usual, one.now, one.limit))
        field = "-" if one.field_t is None else f"{one.field_t:g}"
        table.add_row(
            one.scanner, field, one.protocol, one.target, one.model[:12], str(one.rows), *figures, one.verdict
        )
    console.print(table)


def register(app: typer.Typer) -> None:
    """Add `models` to the command line."""
    app.add_typer(models, name="models")


def _tell(config: Config, change: Change | None, as_json: bool) -> None:
    """What a change did, or that it changed nothing; and when a configured file outranks it."""
    from medk2n_node.models import choose, shelf_of

    record, choice = shelf_of(config).record(), choose(config)
    outranked = choice.because == "configured"
    if as_json:
        document = {
            "changed": change is not None,
            "change": None if change is None else change.to_json(),
            "in_service": record.in_service,
            "in_force": not outranked,
            "because": choice.words,
        }
        print_json(document)
        return
    console = people()
    if change is None:
        console.print("It is in service already; nothing was changed.")
    else:
        named = f"{change.name} {change.version} ({change.digest[:12]})"
        console.print(
            f"{named} is in service; before: {change.before[:12]}. A running node takes it with the next study.",
            markup=False,
            soft_wrap=True,
        )
    if outranked:
        console.print(f"But it is not in force: {choice.words}.", markup=False, soft_wrap=True)


def _intervals(document: dict[str, Any]) -> str:
    """How far the intervals can be trusted, in words."""
    entries = (document.get("calibration") or {}).get("entries", [])
    if not entries:
        factor = document["interval_factor"]
        return "uncalibrated" if factor is None else f"calibrated, factor {factor}"
    sure = [one for one in entries if one["factor"] is not None]
    most = max(one["patients"] for one in entries)
    if not sure:
        return f"uncalibrated: scaled by what at most {most} patients showed, too few for a guarantee"
    return f"calibrated for {len(sure)} of {len(entries)} combinations of target, sources and site"


def _lines(document: dict[str, Any]) -> list[str]:
    network, training = document["network"], document["training"]
    lines = [
        f"{document['name']} {document['version']}  {document['digest']}",
        f"  folder: {document['folder']} ({document['bytes'] / 1e6:.1f} MB, every byte as it was sealed)",
        f"  {'in force' if document['in_force'] else 'not in force'}: {document['because']}",
        f"  intended use: {document['intended_use']}",
        f"  network: encoder {network['encoder']}; contrasts {', '.join(network['contrasts'])}",
        f"  sites: {', '.join(f'{name} = {number}' for name, number in document['sites'].items())}",
        f"  training data: {len(training.get('cases', []))} cases, fingerprint {training['fingerprint'][:12]}",
        f"  intervals: {_intervals(document)}",
        "  score of each source alone, dB (P[i,j]; 0 = never measured):",
    ]
    names = list(document["key_score"])
    lines.append("    from \\ to " + "".join(f"{name:>8}" for name in names))
    for source in names:
        row = document["key_score"][source]
        lines.append(
            f"    {source:<10}" + "".join(f"{row[t]:8.2f}" if t in row else f"{'-':>8}" for t in names)
        )
    lines += [
        f"  {name}: {value:.2f}" if isinstance(value, float) else f"  {name}: {value}"
        for name, value in document["metrics"].items()
    ]
    for one in document["changes"]:
        why = one["reason"] or "no reason was given"
        moment = _time(datetime.fromisoformat(one["at"]))
        lines.append(
            f"  {moment} {one['who']}: {one['action']} {one['name']} {one['version']} "
            f"({one['digest'][:12]}, before {one['before'][:12]}): {why}"
        )
    return [*lines, "", *document["card"].splitlines()]


def _error_words(error: dict[str, str]) -> str:
    return f"{error['subject']}: {error['reason'].rstrip('.')}. {error['cure']}"


def _time(moment: datetime | None) -> str:
    return "-" if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")

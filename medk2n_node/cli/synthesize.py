"""`medk2n synthesize NAME=FILE... --targets ... --out DIR`: the network on files, without a node."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medk2n_node.cli.context import JsonFlag, configuration, people, print_json, remarks
from medk2n_node.errors import InputError

if TYPE_CHECKING:
    from model import Outputs

SAFETY = 4


def register(app: typer.Typer) -> None:
    """Add `synthesize` to the command line."""
    app.command()(synthesize)


def synthesize(
    context: typer.Context,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME=PATH...", help="Sources: T1=a.nii.gz, or T1=FOLDER of one DICOM series."
        ),
    ],
    targets: Annotated[
        str, typer.Option("--targets", metavar="NAMES", help="Contrasts to make, comma-separated.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the results.")],
    reference: Annotated[
        str | None, typer.Option("--reference", metavar="NAME", help="Source on whose grid the results lie.")
    ] = None,
    site: Annotated[
        str | None,
        typer.Option("--site", metavar="NAME", help="Whose images these are, one of the model's sites."),
    ] = None,
    leave_one_out: Annotated[
        bool,
        typer.Option("--leave-one-out", help="Also write what each source changes in each result."),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Make missing contrasts from image files; results are research only. Exit code 4 when all targets were refused."""
    config = configuration(context)
    wanted = [name.strip() for name in targets.split(",") if name.strip()]
    paths = _named(sources)
    console = remarks()
    console.print("loading the model", style="dim")
    from medk2n_node.models import load_in_force
    from medk2n_node.synthesis.ladder import climb_down, ways_down
    from medk2n_node.synthesis.volumes import read_image
    from model import synthesize as run

    bundle = load_in_force(config)
    start = time.perf_counter()
    read = {name: read_image(path, name) for name, path in paths.items()}
    seconds = {"read": round(time.perf_counter() - start, 3)}
    settings = config.synthesis
    outputs = climb_down(
        lambda rung: run(
            {name: image for name, (image, _) in read.items()},
            wanted,
            bundle,
            reference=reference,
            device=rung.device,
            batch_slices=rung.batch_slices,
            precision=rung.precision,
            deterministic={"on": True, "off": False}.get(settings.deterministic),
            site=site or settings.site or None,
            leave_one_out=leave_one_out,
            progress=lambda stage, fraction: console.print(stage, style="dim") if fraction == 0 else None,
        ),
        ways_down(settings.device, settings.precision, settings.batch_slices),
    )
    document = _write(outputs, read, out, seconds)
    if as_json:
        print_json(document)
    else:
        _show(document)
    if all(target["abstained"] for target in document["targets"].values()):
        raise typer.Exit(SAFETY)


def _named(sources: list[str]) -> dict[str, Path]:
    """`NAME=PATH` arguments by contrast."""
    out: dict[str, Path] = {}
    for text in sources:
        name, sign, path = text.partition("=")
        if not sign or not path or name in out:
            reason = "it was named twice" if name in out and sign else "it is not of the form NAME=PATH"
            raise InputError(
                code="source", subject=text, reason=reason, cure="Give each source once, as T1=a.nii.gz."
            )
        out[name] = Path(path)
    return out


def _write(outputs: Outputs, read: dict[str, Any], out: Path, seconds: dict[str, float]) -> dict[str, Any]:
    """Files, and the document of the contract."""
    from medk2n_node.synthesis.volumes import write_image

    start = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    template = read[outputs.reference][1]
    targets: dict[str, Any] = {}
    for name, result in outputs.targets.items():
        path, interval = out / f"{name}.nii.gz", out / f"{name}_uncertainty.nii.gz"
        note = f"SYNTHETIC {name}, research only, model {outputs.model[:12]}"
        if not result.abstained:
            write_image(result.array, template, path, note)
            write_image(result.uncertainty, template, interval, f"{note}, 90 % half-width")
        told = () if result.abstained else tuple(result.change)
        changes = {source: out / f"{name}_change_{source}.nii.gz" for source in told}
        for source, path_of_change in changes.items():
            words = f"{note}: all sources minus all but {source}"
            write_image(result.change[source], template, path_of_change, words)
        targets[name] = {
            "path": None if result.abstained else str(path),
            "scale": result.scale,
            "uncertainty": None if result.abstained else str(interval),
            "quality": result.quality,
            "contributions": result.contributions,
            "accepted": result.accepted,
            "key": outputs.keys[name],
            "abstained": result.abstained,
            "reasons": list(result.reasons),
            "change": {source: str(one) for source, one in changes.items()},
        }
    return {
        "model": outputs.model,
        "reference": outputs.reference,
        "targets": targets,
        "registrations": {name: one.sentence for name, one in outputs.registrations.items()},
        "seconds": {**seconds, **outputs.seconds, "write": round(time.perf_counter() - start, 3)},
    }


def _show(document: dict[str, Any]) -> None:
    from rich.table import Table

    console = people()
    table = Table(
        "target", "file", "key", "contributions", "expected error", title="SYNTHETIC images, research only"
    )
    for name, target in document["targets"].items():
        shares = ", ".join(f"{s} {w:.2f}" for s, w in target["contributions"].items())
        table.add_row(
            name,
            target["path"] or "abstained",
            target["key"],
            shares,
            f"{target['quality']['expected_mae']:.3f}",
        )
    console.print(table)
    for target in document["targets"].values():
        for reason in target["reasons"]:
            console.print(f"- {reason}")
    for name, sentence in document["registrations"].items():
        console.print(f"- {name}: {sentence}")

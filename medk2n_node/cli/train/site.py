"""`medk2n train site ARCHIVE_DIR`: from a folder of images to a model that may be put into service, in one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medk2n_node.cli.context import JsonFlag, configuration, people, print_json, remarks
from medk2n_node.cli.train.bar import bar

if TYPE_CHECKING:
    from training.site import Offer


def register(app: typer.Typer) -> None:
    """Add `site` to `medk2n train`."""
    app.command()(site)


def site(
    context: typer.Context,
    source: Annotated[
        Path, typer.Argument(metavar="ARCHIVE_DIR", help="A folder of DICOM studies or of NIfTI cases.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where it works. [STORAGE/training/NAME]")
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="A few minutes: to see that everything works, not to get better.")
    ] = False,
    name: Annotated[str, typer.Option("--name", help="Of the model.")] = "site",
    as_json: JsonFlag = False,
) -> None:
    """Scan, prepare, train from the model in force, calibrate, compare, offer the result; may be stopped and resumed.

    It changes nothing in service: `medk2n train promote` does that. Called again when the archive has grown it trains
    anew and keeps what it made before; a smoke run works in a folder of its own.
    """
    config = configuration(context)
    folder = out or config.storage_path / "training" / (source.resolve().name or "archive")
    console = remarks()
    console.print(f"working in {folder}", style="dim", markup=False, soft_wrap=True)
    from medk2n_node.models import choose
    from medk2n_node.rules import classify_rules
    from training.site import FULL, SMOKE, train_site

    with bar("site", console) as step:
        offer = train_site(
            source,
            folder,
            champion=choose(config).folder,
            rules=classify_rules(config),
            schedule=SMOKE if smoke else FULL,
            served_as=config.synthesis.site,
            name=name,
            report=lambda line: console.print(line, style="dim", markup=False, soft_wrap=True),
            progress=step,
        )
    if as_json:
        print_json(offer.to_json())
        return
    for line in _lines(offer):
        people().print(line, markup=False, soft_wrap=True)


def _lines(offer: Offer) -> list[str]:
    from medk2n_node.cli.train.promote import show

    if offer.match is not None:
        show(offer.match)
    facts = offer.to_json()
    patients = ", ".join(f"{count} {side}" for side, count in facts["patients"].items())
    minutes = sum(offer.seconds.values()) / 60
    lines = [
        f"Patients: {patients}; {facts['excluded']} series excluded (pictures in {offer.archive.folder / 'excluded'}).",
        *offer.calibrated.words,
        f"{minutes:.1f} minutes. Where everything lies:",
        *(f"  {what}: {place}" for what, place in facts["places"].items()),
    ]
    if offer.refused is None:
        lines.append(f"To put it into service: medk2n train promote {offer.out}")
    else:
        lines.append(f"It is not offered: {offer.refused}")
    return lines

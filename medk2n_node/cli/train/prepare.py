"""`medk2n train prepare INVENTORY|DIR OUT`: studies to cases that training reads, patients to their sides."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medk2n_node.cli.context import JsonFlag, configuration, people, print_json, remarks
from medk2n_node.cli.train.bar import bar
from medk2n_node.errors import InputError, UsageError

if TYPE_CHECKING:
    from training.archive import Archive, Inventory, Shares


def register(train: typer.Typer) -> None:
    """Add `prepare` to `medk2n train`."""
    train.command("prepare")(prepare)


def prepare(
    context: typer.Context,
    source: Annotated[
        Path,
        typer.Argument(metavar="INVENTORY|DIR", help="What `train scan --out` wrote, or a folder of images."),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The archive: a new folder, or one to add to.")],
    site: Annotated[
        str, typer.Option("--site", metavar="NAME", help="Name of the site; with DIR only.")
    ] = "unknown",
    shares: Annotated[
        str | None,
        typer.Option(
            "--shares",
            metavar="T,V,C",
            help="Shares of the patients: training, validation, calibration. [default: 0.7,0.15,0.15]",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", help="Of the order in which patients get their sides.")
    ] = 20260214,
    as_json: JsonFlag = False,
) -> None:
    """Register, mask and normalise every study as the node does; may be stopped at any time and run again."""
    from training.archive import prepare_archive
    from training.errors import TrainingError

    inventory = _inventory(context, source, out, site)
    with bar("preparing studies", remarks()) as progress:
        archive = prepare_archive(inventory, out, shares=_shares(shares), seed=seed, progress=progress)
    lacking: str | None = None
    try:
        archive.refuse_if_too_small()
    except TrainingError as error:
        lacking = f"{error.reason}. {error.cure}."
    document = _document(archive, lacking)
    if as_json:
        print_json(document)
        return
    console = people()
    for line in _lines(archive, document):
        console.print(line, markup=False, soft_wrap=True)


def _inventory(context: typer.Context, source: Path, out: Path, site: str) -> Inventory:
    from medk2n_node.rules import classify_rules
    from training.archive import Place, read_inventory, salt_of, scan

    if source.is_file() and source.suffix == ".json":
        if site != "unknown":
            raise UsageError(
                code="site",
                subject="--site",
                reason="an inventory names the sites of its series already",
                cure="Give the site to `medk2n train scan`",
            )
        return read_inventory(source)
    if not source.exists():
        raise InputError(
            code="no_such_folder",
            subject=str(source),
            reason="it does not exist",
            cure="Name a folder of DICOM or NIfTI files, or an inventory (.json)",
        )
    with bar("reading headers", remarks()) as progress:
        return scan(
            [Place(folder=source, site=site)],
            salt=salt_of(out / "salt"),
            rules=classify_rules(configuration(context)),
            progress=progress,
        )


def _shares(text: str | None) -> Shares | None:
    from training.archive import Shares

    if text is None:
        return None
    try:
        training, validation, calibration = (float(one) for one in text.split(","))
    except ValueError as error:
        raise UsageError(
            code="shares",
            subject="--shares",
            reason=f'"{text}" is not three numbers',
            cure="Give three numbers that add to 1, such as 0.7,0.15,0.15",
        ) from error
    return Shares(training=training, validation=validation, calibration=calibration)


def _document(archive: Archive, lacking: str | None) -> dict[str, Any]:
    from training.archive import SPLITS

    return {
        "archive": archive.folder,
        "fingerprint": archive.fingerprint,
        "sites": list(archive.sites),
        "contrasts": list(archive.contrasts),
        "patients": {side: len(archive.patients(side)) for side in SPLITS},
        "cases": {side: list(archive.names(side)) for side in SPLITS},
        "pairs": {f"{one}>{other}": number for (one, other), number in archive.pairs("training").items()},
        "excluded": archive.manifest["excluded"],
        "enough": lacking is None,
        "lacking": lacking,
    }


def _lines(archive: Archive, document: dict[str, Any]) -> list[str]:
    cases = archive.manifest["cases"]
    lines = []
    for side, names in document["cases"].items():
        for name in names:
            one = cases[name]
            lesion = " +lesion" if one["lesion"] else ""
            lines.append(f"{side:12} {name}  {one['site']:12} {' '.join(one['contrasts'])}{lesion}")
    for one in document["excluded"]:
        shown = f" (picture: {archive.folder / 'excluded' / one['picture']})" if one["picture"] else ""
        lines.append(f"{'excluded':12} {one['case']}  {one['contrast'] or '-':12} {one['reason']}{shown}")
    counts = ", ".join(f"{number} {side}" for side, number in document["patients"].items())
    lines.append(f"{archive.folder}: patients {counts}; fingerprint {archive.fingerprint[:12]}.")
    lines.append(
        f"Not enough to train on: {document['lacking']}"
        if document["lacking"]
        else f"Go on with: medk2n train fit {archive.folder} --out RUN"
    )
    return lines

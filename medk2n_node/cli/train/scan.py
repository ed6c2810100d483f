"""`medk2n train scan DIR... | --received | --pull PEER`: what an archive holds, and what of it can teach."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medk2n_node.cli.context import JsonFlag, configuration, people, print_json, remarks
from medk2n_node.cli.train.bar import bar
from medk2n_node.errors import InputError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from training.archive import Inventory, Place

Sites = Annotated[
    list[str] | None,
    typer.Option(
        "--site", metavar="NAME", help="Name of the site; one for all, or one for each DIR in order."
    ),
]


def register(train: typer.Typer) -> None:
    """Add `scan` to `medk2n train`."""
    train.command("scan")(scan)


def scan(
    context: typer.Context,
    directories: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[DIR]...", help="Folders of DICOM or NIfTI files, searched to the bottom."),
    ] = None,
    received: Annotated[
        bool, typer.Option("--received", help="Also the studies that this node has received; only reads.")
    ] = False,
    site: Sites = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Write the inventory, and FILE.private.json with salt and paths beside.",
        ),
    ] = None,
    salt: Annotated[
        Path | None,
        typer.Option(
            "--salt", metavar="FILE", help="Take this salt (of an archive that exists: its file `salt`)."
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--series", help="A line for each series, with its reasons.")
    ] = False,
    pull: Annotated[
        str | None,
        typer.Option(
            "--pull",
            metavar="PEER",
            help="First fetch the MR series of this PACS (C-FIND, C-GET): a destination's name, or AE@HOST:PORT.",
        ),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(
            "--into",
            metavar="DIR",
            help="Where --pull keeps them; what lies there whole is not asked for again.",
        ),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option("--since", formats=["%Y-%m-%d"], help="--pull: studies of this day and later."),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option("--until", formats=["%Y-%m-%d"], help="--pull: studies of this day and before."),
    ] = None,
    most: Annotated[
        int | None, typer.Option("--most", min=1, help="--pull: at most so many studies, the newest first.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """List what an archive holds for training: contrast of every series, why, and whether it is used."""
    from medk2n_node.rules import classify_rules
    from training.archive import scan as read_archive
    from training.archive import write_inventory

    if (pull is None) != (into is None) or (pull is None and (since or until or most)):
        raise UsageError(
            code="pull", subject="--pull", reason="the PACS and the folder for what it sends belong together",
            cure="Give both: --pull PEER --into DIR",
        )  # fmt: skip
    if pull is not None and into is not None:
        _pull(context, pull, into, since, until, most)
    places = _places(context, directories or [], into, received, site or [])
    with bar("reading headers", remarks()) as progress:
        inventory = read_archive(
            places,
            salt=_salt(out, salt),
            rules=classify_rules(configuration(context)),
            progress=progress,
        )
    if out is not None:
        write_inventory(inventory, out)
    if as_json:
        print_json(inventory.to_json())
        return
    console = people()
    show_inventory(console, inventory, every=every)
    if out is not None:
        console.print(
            f"The inventory is in {out}; go on with: medk2n train prepare {out} ARCHIVE", soft_wrap=True
        )


def _pull(
    context: typer.Context,
    name: str,
    into: Path,
    since: datetime | None,
    until: datetime | None,
    most: int | None,
) -> None:
    """Fetch; tells on the way what came and what did not, and goes on with what is there."""
    from medk2n_node.cli.calling import find_peer
    from medk2n_node.cli.train.pull import pull

    config, console = configuration(context), remarks()
    with bar("fetching studies", console) as progress:
        pulled = pull(
            config,
            find_peer(config, name),
            into,
            since=since and since.date(),
            until=until and until.date(),
            most=most,
            progress=progress,
        )
    console.print(
        f"{pulled.studies} studies fetched with {pulled.images} images; {pulled.there} were there already.",
        soft_wrap=True,
    )
    for words in pulled.trouble:
        console.print(words, markup=False, soft_wrap=True)


def _places(
    context: typer.Context,
    directories: Sequence[Path],
    pulled: Path | None,
    received: bool,
    sites: Sequence[str],
) -> list[Place]:
    from training.archive import Place

    count = len(directories) + (pulled is not None) + received
    if not count:
        raise UsageError(
            code="no_place",
            subject="train scan",
            reason="no folder was named",
            cure="Name one or more folders, or give --received or --pull",
        )
    if len(sites) not in (0, 1, count):
        raise UsageError(
            code="sites",
            subject="--site",
            reason=f"{len(sites)} names for {count} places",
            cure="Give one name for all, or one for each in order: folders, --pull, --received",
        )
    names = list(sites) * count if len(sites) == 1 else list(sites) or ["unknown"] * count
    places = [
        Place(folder=folder, site=name)
        for folder, name in zip(directories, names[: len(directories)], strict=True)
    ]
    if pulled is not None:
        from medk2n_node.cli.train.pull import whole_files

        places.append(Place(files=whole_files(pulled), site=names[len(directories)]))
    if received:
        from medk2n_node.store import open_store
        from medk2n_node.study import received_files

        store = open_store(configuration(context))
        try:
            with store.reading() as session:
                files = [store.path(one) for one in received_files(session)]
        finally:
            store.close()
        places.append(Place(files=files, site=names[-1]))
    return places


def _salt(out: Path | None, file: Path | None) -> bytes:
    """The named one, else that of the inventory which is made anew, else a new one."""
    from training.archive import new_salt, read_inventory, salt_of

    if file is not None:
        if not file.is_file():
            raise InputError(
                code="no_salt",
                subject=str(file),
                reason="there is no such file",
                cure="Name the file `salt` of an archive; a new salt would call every patient by a new name",
            )
        return salt_of(file)
    return read_inventory(out).salt if out is not None and out.exists() else new_salt()


def show_inventory(console: Console, inventory: Inventory, *, every: bool) -> None:
    """The inventory for a person: studies, then what is not used, then the sum."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("patient", "study", "site", "contrasts", "not used"):
        table.add_column(heading)
    for (patient, study), rows in inventory.studies().items():
        contrasts = " ".join(str(row.contrast) for row in rows if row.chosen) or "-"
        lesion = " +lesion" if any(row.part == "lesion" and row.usable for row in rows) else ""
        idle = sum(row.part == "image" and not row.chosen for row in rows)
        table.add_row(patient[:8], study[:8], rows[0].site, contrasts + lesion, str(idle) if idle else "")
    console.print(table)
    if every:
        for row in inventory.rows:
            use = "used" if row.chosen else "candidate" if row.usable else f"not used: {row.because}"
            named = f"{row.study[:8]}  {row.contrast or row.part:6} {row.confidence:.2f}  {row.instances:4d}"
            console.print(f"{named}  {row.description} ({use})", markup=False, soft_wrap=True)
            for reason in row.reasons:
                console.print(f"          {reason}", markup=False, soft_wrap=True)
    for line in _sum_lines(inventory.summary(), dict(inventory.left_out)):
        console.print(line, markup=False, soft_wrap=True)


def _sum_lines(told: dict[str, Any], left_out: dict[str, int]) -> list[str]:
    def counted(numbers: dict[str, int]) -> str:
        return ", ".join(f"{name} {number}" for name, number in numbers.items()) or "none"

    lines = [
        f"{told['patients']} patients, {told['studies']} studies, {told['series']} series. "
        f"Two contrasts or more: {told['patients_for_translation']} patients, {told['studies_for_translation']} "
        f"studies; {told['studies_of_one_contrast']} studies show one alone and cannot teach a translation.",
        f"Contrasts: {counted(told['contrasts'])}.",
        f"Patients with both: {counted(told['pairs'])}.",
    ]
    if len(told["sites"]) > 1:
        lines.append(f"Patients by site: {counted(told['sites'])}.")
    if told["not_used"]:
        lines.append(f"Series not used, by reason: {counted(told['not_used'])} (--series tells of each).")
    if left_out:
        lines.append(f"Files that are no image: {counted(left_out)}.")
    return lines

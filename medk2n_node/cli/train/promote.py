"""`medk2n train promote RUN|BUNDLE --archive ARCHIVE`: into service, when it is not worse than what is there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medk2n_node.cli.context import JsonFlag, configuration, people, print_json, remarks
from medk2n_node.cli.train.bar import bar
from medk2n_node.cli.who import user
from medk2n_node.errors import InputError, UsageError

if TYPE_CHECKING:
    from training.promote import Match


def register(app: typer.Typer) -> None:
    """Add `promote` to `medk2n train`."""
    app.command()(promote)


def promote(
    context: typer.Context,
    challenger: Annotated[
        Path, typer.Argument(metavar="RUN|BUNDLE", help="A training's folder, or a bundle's.")
    ],
    archive: Annotated[
        Path | None,
        typer.Option(
            "--archive", metavar="ARCHIVE", help="Whose validation patients judge. [RUN/../archive]"
        ),
    ] = None,
    every: Annotated[int, typer.Option("--every", min=1, help="Take every n-th slice.")] = 1,
    margin: Annotated[
        float, typer.Option("--margin", min=0, help="Loss in dB per target that is no reason to refuse.")
    ] = 0.3,
    worst_margin: Annotated[
        float, typer.Option("--worst-margin", min=0, help="The same for the worst case of a target.")
    ] = 1.0,
    override: Annotated[
        bool, typer.Option("--override", help="Put it into service although it is worse; needs --reason.")
    ] = False,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept in the history of the models.")
    ] = "",
    by: Annotated[
        str, typer.Option("--by", metavar="NAME", help="Who decided; without it the user of this command.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compare and say, change nothing.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Compare a model with the one in force on the same validation patients, and put it into service if not worse.

    Refused (4) when it is worse beyond a margin. `medk2n models rollback` undoes it.
    """
    if override and not reason.strip():
        raise UsageError(
            code="reason",
            subject="--override",
            reason="a model that is worse is put into service only for a stated reason",
            cure="Add --reason TEXT",
        )
    config = configuration(context)
    bundle = bundle_of(challenger)
    folder = archive_of(challenger, archive)
    remarks().print("loading both models", style="dim")
    from medk2n_node.models import choose, load_in_force, shelf_of
    from model import load_bundle
    from training.archive import open_archive
    from training.promote import compare

    shelf, decided_by = shelf_of(config), by or user()
    since = shelf.record()
    with bar("comparing", remarks()) as step:
        match = compare(
            load_in_force(config),
            load_bundle(bundle),
            open_archive(folder).cases("validation"),
            every=every,
            margin_db=margin,
            worst_margin_db=worst_margin,
            site=config.synthesis.site,
            progress=lambda done, of: step("comparing", done, of),
        )
    if not as_json:
        show(match)
    if not override:
        match.refuse_if_worse()
    change = None
    if not dry_run:
        words = reason.strip()
        if not match.promotable:
            words = f"promoted although worse ({'; '.join(match.against)}): {words}"
        elif not words:
            words = "not worse than the model in force on the same validation patients"
        change = shelf.use(
            bundle, who=decided_by, reason=words, now=datetime.now(UTC), judged=match.challenger, since=since
        )
    choice = choose(config)
    outranked = choice.because == "configured"
    if as_json:
        document = {
            **match.to_json(),
            "changed": change is not None,
            "change": None if change is None else change.to_json(),
            "in_force": change is not None and not outranked,
            "because": choice.words,
        }
        print_json(document)
        return
    console = people()
    if change is not None:
        console.print(
            f"{change.name} {change.version} ({change.digest[:12]}) is in service; before: {change.before[:12]}. A"
            " running node takes it with the next study; `medk2n models rollback` returns to the one before.",
            markup=False,
            soft_wrap=True,
        )
    if outranked and not dry_run:
        console.print(f"But it is not in force: {choice.words}.", markup=False, soft_wrap=True)


def bundle_of(folder: Path) -> Path:
    """The bundle that a training's folder holds, or the folder itself where it is one."""
    for one in (folder / "bundle", folder):
        if (one / "bundle.json").is_file():
            return one
    raise InputError(
        code="no_bundle",
        subject=str(folder),
        reason="neither it nor its folder `bundle` is a bundle",
        cure="Name the folder of a finished training, or of a bundle",
    )


def archive_of(folder: Path, named: Path | None) -> Path:
    """The archive that was named, or the one beside the training."""
    if named is not None:
        return named
    for one in (folder / "archive", folder.parent / "archive", folder.parent.parent / "archive"):
        if (one / "manifest.json").is_file():
            return one
    raise UsageError(
        code="archive",
        subject="--archive",
        reason=f"there is no prepared archive beside {folder}",
        cure="Name the folder that `medk2n train prepare` made: its validation patients judge",
    )


def show(match: Match) -> None:
    """The table of both models, and what speaks against the new one."""
    from rich.table import Table

    table = Table("target", "in force", "challenger", "worst: in force", "worst: challenger", "patients")
    for one in match.standings:
        numbers = (one.champion, one.challenger, one.champion_worst, one.challenger_worst)
        table.add_row(one.target, *("-" if v is None else f"{v:.2f} dB" for v in numbers), str(one.patients))
    people().print(table)
    for words in match.against:
        people().print(f"- worse: {words}", markup=False, soft_wrap=True)
    for words in match.notes:
        people().print(f"- to know: {words}", markup=False, soft_wrap=True)

"""`medk2n train falsify BUNDLE ARCHIVE`: does anything notice when a study is wrong?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medk2n_node.cli.context import JsonFlag, people, print_json, remarks
from medk2n_node.cli.train.bar import bar


def register(app: typer.Typer) -> None:
    """Add `falsify` to `medk2n train`."""
    app.command()(falsify)


def falsify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of a sealed bundle.")],
    archive: Annotated[
        Path,
        typer.Argument(
            metavar="ARCHIVE", help="Folder made by `train prepare`, or a folder of prepared .npz cases."
        ),
    ],
    slices: Annotated[
        int, typer.Option("--slices", min=1, help="Slices of each case that are looked at.")
    ] = 6,
    repeat: Annotated[
        int, typer.Option("--repeat", min=1, help="Spoilt versions of each case and kind.")
    ] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Spoil validation cases on purpose (labels, place, motion, lesions) and say how well the node's figures tell."""
    remarks().print("loading", style="dim")
    from model import load_bundle
    from training.evaluate import judged_cases
    from training.falsify import falsify as run

    cases = judged_cases(archive).cases
    with bar("spoiling cases", remarks()) as step:
        found = run(
            load_bundle(bundle), cases, slices=slices, repeat=repeat, seed=seed,
            progress=lambda stage, share: step(stage, round(share * len(cases)), len(cases)),
        )  # fmt: skip
    document = found.to_json()
    if as_json:
        print_json(document)
        return
    from rich.table import Table

    table = Table("what was done", "trials", "told by", "AUROC", "has to reach")
    for one in document["kinds"]:
        reached = "none was made" if one["auroc"] is None else f"{one['auroc']:.2f}"
        goal = "-" if one["goal"] is None else f"{one['goal']:.1f}"
        table.add_row(one["kind"], str(one["trials"]), one["score"], reached, goal)
    people().print(table)
    people().print(f"{document['sound']} sound cases. 0.5 = the score says nothing, 1 = it always tells.")

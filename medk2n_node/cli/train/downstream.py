"""`medk2n train downstream BUNDLE|RUN ARCHIVE --missing T2`: lesions with, without and by a synthetic one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from medk2n_node.cli.context import JsonFlag, people, print_json, remarks
from medk2n_node.cli.train.bar import bar


def register(train: typer.Typer) -> None:
    """Add `downstream` to `medk2n train`."""
    train.command("downstream")(downstream)


def downstream(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="BUNDLE|RUN", help="Folder of a bundle, or of a training (`train fit --out`)."
        ),
    ],
    archive: Annotated[
        Path,
        typer.Argument(
            metavar="ARCHIVE", help="Folder made by `train prepare`, of BraTS or ISLES for instance."
        ),
    ],
    missing: Annotated[str, typer.Option("--missing", metavar="CONTRAST", help="The contrast that is made.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="For downstream.json.")],
    contrasts: Annotated[
        str,
        typer.Option(
            "--contrasts", metavar="A,B,...", help="Channels of the segmenter. [all of the archive]"
        ),
    ] = "",
    steps: Annotated[int, typer.Option("--steps", min=1, help="Of each segmenter.")] = 400,
    seeds: Annotated[str, typer.Option("--seeds", metavar="N,N,...")] = "1",
    every: Annotated[
        int, typer.Option("--every", min=1, metavar="N", help="Every N-th slice of a case.")
    ] = 1,
    as_json: JsonFlag = False,
) -> None:
    """Dice of a small segmenter on real images, without one contrast, and with the synthetic one in its place."""
    from medk2n_node.cli.train.seeds import read_seeds

    numbers = read_seeds(seeds)
    remarks().print("loading", style="dim")
    from training.archive import open_archive
    from training.downstream import downstream as run
    from training.evaluate import open_model

    method, facts = open_model(model)
    opened = open_archive(archive)
    names = tuple(one.strip() for one in contrasts.split(",") if one.strip()) or opened.contrasts
    with bar("downstream", remarks()) as progress:
        found = run(
            method, opened.cases("training"), opened.cases("validation"), names, missing, steps=steps, seeds=numbers,
            every=every, report=lambda line: remarks().print(line, style="dim", markup=False), progress=progress,
            facts={"model": facts, "archive": opened.fingerprint},
        )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    file = out / "downstream.json"
    file.write_text(json.dumps(found.to_json(), indent=1), encoding="utf-8")
    if as_json:
        print_json({**found.to_json(), "file": file})
        return
    for line in [*found.words(), *(f"Not checked: {one}" for one in found.not_checked())]:
        people().print(line, markup=False, soft_wrap=True)

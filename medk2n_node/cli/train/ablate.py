"""`medk2n train ablate BUNDLE|RUN ARCHIVE --out DIR`: what each module is worth, switched off or never trained."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from medk2n_node.cli.context import JsonFlag, people, print_json, remarks
from medk2n_node.cli.train.bar import bar


class Fault(StrEnum):
    """The kinds of `training.falsify.CORRUPTIONS` that all cases can be given."""

    ROTATION = "rotation"
    SHIFT = "shift"
    LABEL_SWAP = "label swap"
    MOTION = "motion"
    PLANTED = "lesion planted"


def register(train: typer.Typer) -> None:
    """Add `ablate` to `medk2n train`."""
    train.command("ablate")(ablate)


def ablate(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="BUNDLE|RUN", help="Folder of a bundle, or of a training (`train fit --out`)."
        ),
    ],
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="Folder made by `train prepare`.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="For ablation.json, ablation.md and the report.")
    ],
    every: Annotated[int, typer.Option("--every", min=1, metavar="N", help="Every N-th slice alone.")] = 12,
    spoilt: Annotated[
        Fault | None,
        typer.Option(
            "--spoilt",
            help="What befalls an auxiliary source of every row: only then have the weight networks something to do.",
        ),
    ] = None,
    rows: Annotated[
        bool,
        typer.Option(
            "--train/--no-train", help="Also train the rows B0..B5 of the paper's table 3 and compare them."
        ),
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", min=0.1, help="With --train: for the first row; the rest take its steps."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="With --train: steps of each row. [2000]")
    ] = None,
    seeds: Annotated[str, typer.Option("--seeds", metavar="N,N,...", help="With --train.")] = "1",
    as_json: JsonFlag = False,
) -> None:
    """The validation rows with one module switched off at a time; with --train also the paper's table 3, trained."""
    from medk2n_node.cli.train.seeds import read_seeds

    numbers = read_seeds(seeds)
    remarks().print("loading", style="dim")
    from training.evaluate import ablate_folders, ablate_trained, ablation_table, verdict, write_report

    def say(line: str) -> None:
        remarks().print(line, style="dim", markup=False)

    figures = ablate_folders(model, archive, every=every, spoilt=spoilt and spoilt.value, report=say)
    out.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = {
        "spoilt": spoilt and spoilt.value, "switched_off": figures, "trained": None
    }  # fmt: skip
    text = ablation_table(figures)
    (out / "ablation.md").write_text(text + "\n", encoding="utf-8")
    said: list[str] = []
    if rows:
        with bar("training B0 to B5", remarks()) as progress:
            found = ablate_trained(
                archive, out / "rows", seeds=numbers, steps=steps, minutes=minutes, every=every, report=say,
                progress=progress,
            )  # fmt: skip
        files = write_report(found, out)
        document["trained"] = {**found.to_json(), "report": files}
        verdicts = [verdict(one) for one in found.comparisons() if one.scope == "all"]
        said = [f"{one['word']} {one['text']}" for one in verdicts]
        said += [f"Not checked: {line}" for line in found.not_checked] + [f"The report is {files['html']}"]
    (out / "ablation.json").write_text(json.dumps(document, indent=1, default=str), encoding="utf-8")
    if as_json:
        print_json(document)
        return
    for line in (*text.splitlines(), *said):
        people().print(line, markup=False, soft_wrap=True)

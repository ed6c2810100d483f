"""`medk2n train evaluate BUNDLE|RUN ARCHIVE --out DIR`: figures that can be believed, as JSON and as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medk2n_node.cli.context import JsonFlag, people, print_json, remarks
from medk2n_node.cli.train.bar import bar


def register(train: typer.Typer) -> None:
    """Add `evaluate` to `medk2n train`."""
    train.command("evaluate")(evaluate)


def evaluate(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="BUNDLE|RUN", help="Folder of a bundle, or of a training (`train fit --out`)."
        ),
    ],
    archive: Annotated[
        Path,
        typer.Argument(
            metavar="ARCHIVE", help="Folder made by `train prepare`, or a folder of prepared .npz cases."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="For report.json and report.html.")],
    peers: Annotated[
        Path | None, typer.Option("--peers", metavar="DIR", help="What `train peers --out` was given.")
    ] = None,
    every: Annotated[
        int,
        typer.Option(
            "--every", min=1, metavar="N", help="Every N-th slice alone: faster, and said in the report."
        ),
    ] = 1,
    split: Annotated[
        str, typer.Option("--split", metavar="NAME", help="validation, calibration or training.")
    ] = "validation",
    pattern: Annotated[
        list[str] | None,
        typer.Option(
            "--pattern",
            metavar="SOURCES:TARGETS",
            help="Only this, such as T1,T2:FLAIR; may be given several times. [all source sets]",
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Every set of sources to every target on patients kept apart, beside peers; worst cases pictured first."""
    remarks().print("loading", style="dim")
    from model.bundle import read_pattern
    from training.evaluate import evaluate_folders, verdict, write_report

    asked = [(one.sources, one.targets) for one in map(read_pattern, pattern or [])]
    with bar("evaluating", remarks()) as progress:
        found = evaluate_folders(
            model, archive, peers=peers, every=every, split=split, sources=asked,
            report=lambda line: remarks().print(line, style="dim", markup=False),
            progress=lambda done, of: progress("evaluating", done, of),
        )  # fmt: skip
    files = write_report(found, out)
    if as_json:
        print_json({**found.to_json(), "report": files})
        return
    console = people()
    for method in found.methods:
        rows = found.of(method)
        raw, fit = (found.estimate(rows, reading) for reading in ("raw", "fit"))
        if raw is not None and fit is not None:
            line = f"{method:26} {raw.mean:6.2f} dB  after a linear fit {fit.mean:6.2f} dB  {len(rows)} rows"
            console.print(line, markup=False, soft_wrap=True)
    for one in found.comparisons():
        if one.scope == "all":
            said = verdict(one)
            console.print(f"{said['word']} {said['text']}", markup=False, soft_wrap=True)
    for line in found.not_checked:
        console.print(f"Not checked: {line}", markup=False, soft_wrap=True)
    console.print(f"The report is {files['html']}", markup=False, soft_wrap=True)

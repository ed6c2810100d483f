"""`medk2n train fit ARCHIVE... --out RUN`: teach the network the images of one's own archive; ends with a bundle."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medk2n_node.cli.context import JsonFlag, configuration, people, print_json, remarks

if TYPE_CHECKING:
    from training.fitting import Fitted, Request


def register(app: typer.Typer) -> None:
    """Add `fit` to `medk2n train`."""
    app.command()(fit)


def fit(
    context: typer.Context,
    archives: Annotated[
        list[Path],
        typer.Argument(
            metavar="ARCHIVE...", help="Folders made by `medk2n train prepare`; several: trained together."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="RUN", help="Folder of the training; RUN/bundle is the result.")
    ],
    start: Annotated[
        str,
        typer.Option(
            "--start", metavar="BUNDLE", help="Folder or name to begin with, or scratch. [the one in force]"
        ),
    ] = "",
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Steps of the training. [2000]")] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes", min=0.1, help="As many steps as fit, measured on this machine; at most --steps."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 20260214,
    adapt: Annotated[
        str, typer.Option("--adapt", help="full: every weight; lora: LoRA+ in the encoder.")
    ] = "full",
    site: Annotated[
        list[str] | None,
        typer.Option(
            "--site",
            metavar="NAME",
            help="Site of cases whose archive names none; one for each ARCHIVE, or one.",
        ),
    ] = None,
    new_site: Annotated[
        str,
        typer.Option(
            "--new-site", metavar="NAME", help="Teach this site alone; what others get stays bit-equal."
        ),
    ] = "",
    new_contrast: Annotated[
        str,
        typer.Option(
            "--new-contrast", metavar="NAME", help="Teach this contrast alone; the others stay bit-equal."
        ),
    ] = "",
    batch: Annotated[int, typer.Option("--batch", min=1, help="Slices in a step, of each process.")] = 6,
    accumulate: Annotated[
        int,
        typer.Option("--accumulate", min=1, help="Parts that a batch is sent through in; the same gradient."),
    ] = 1,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="Highest rate. [by what is taught]")
    ] = None,
    modules: Annotated[
        str, typer.Option("--modules", metavar="B0..B5", help="Row of the paper's table 3.")
    ] = "B5",
    pfm: Annotated[
        bool, typer.Option("--pfm/--no-pfm", help="Tell the network whose images it sees.")
    ] = True,
    mcbs: Annotated[
        bool, typer.Option("--mcbs/--no-mcbs", help="Batches of one site and one set of contrasts.")
    ] = True,
    curriculum: Annotated[
        bool,
        typer.Option(
            "--curriculum", help="Begin with one source and one target, as an untrained network does."
        ),
    ] = False,
    adversarial: Annotated[
        float, typer.Option("--adversarial", min=0, help="Weight of the LSGAN loss.")
    ] = 0.0,
    save_every: Annotated[
        int, typer.Option("--save-every", min=1, help="Steps between two saved states.")
    ] = 50,
    name: Annotated[str, typer.Option("--name", help="Of the bundle.")] = "site",
    version: Annotated[str, typer.Option("--version", help="Of the bundle.")] = "1",
    terms: Annotated[
        str, typer.Option("--terms", metavar="TEXT", help="Terms of use of the data, for the card.")
    ] = "",
    device: Annotated[str, typer.Option("--device", help="auto, cpu or gpu.")] = "auto",
    precision: Annotated[
        str, typer.Option("--precision", help="auto, fp32, or bf16 (GPU or CPU that computes in it).")
    ] = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the training in RUN, bit for bit on a CPU.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Train on prepared archives, watched and resumable; seals RUN/bundle, uncalibrated.

    Several GPUs or machines: torchrun ... -m medk2n_node train fit ... . Refused (3) where the data do not suffice.
    """
    remarks().print("loading", style="dim")
    from dataclasses import replace

    from training.errors import TrainingError

    try:
        from training.fitting import SCRATCH, Request
    except ModuleNotFoundError as error:
        raise TrainingError(
            code="extra", subject=str(error.name), reason="it is not installed: training needs more than the node does",
            cure="Run `make train`, or install medk2n[train]",
        ) from error  # fmt: skip

    if start != SCRATCH and not resume:
        from medk2n_node.models import find

        start = str(find(configuration(context), start or None).folder)
    request = Request(
        archives=tuple(archives), out=out, start=start, steps=steps, minutes=minutes, seed=seed, adapt=adapt,
        sites=tuple(site or ()), new_site=new_site, new_contrast=new_contrast, batch=batch, accumulate=accumulate,
        learning_rate=learning_rate, modules=modules, pfm=pfm, mcbs=mcbs, curriculum=curriculum,
        adversarial=adversarial, save_every=save_every, name=name, version=version, accelerator=device,
        precision=precision, resume=resume,
    )  # fmt: skip
    fitted = _watched(replace(request, terms=terms) if terms else request)
    if os.environ.get("RANK", "0") != "0":  # of the processes that torchrun has started, one answers
        return
    if as_json:
        print_json(fitted.to_json())
        return
    console = people()
    for line in _lines(fitted):
        console.print(line, markup=False, soft_wrap=True)


def _watched(request: Request) -> Fitted:
    """The training, with a bar on standard error."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from training.fitting import fit as run

    console = remarks()
    columns = (
        TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task("training", total=None, loss=float("nan"))

        def progress(step: int, steps: int, loss: float) -> None:
            bars.update(task, completed=step, total=steps, loss=loss)

        def report(line: str) -> None:
            console.print(line, markup=False, soft_wrap=True, style="dim")

        return run(request, report=report, progress=progress)


def _lines(fitted: Fitted) -> list[str]:
    short = "" if fitted.steps == fitted.planned else f" of {fitted.planned} planned: the time was over"
    return [
        f"{fitted.steps} steps{short} on {fitted.cases['training']} cases in {fitted.seconds:.0f} s",
        *(f"  {row}: {value:.2f} dB" for row, value in fitted.figures.items()),
        f"{fitted.bundle}: {fitted.digest}",
        f"Curves: tensorboard --logdir {fitted.run / 'tensorboard'}; pictures: {fitted.run / 'pictures'}.",
        "It is uncalibrated and has not been compared with the model in service.",
    ]

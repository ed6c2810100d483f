"""`medk2n train peers ARCHIVE --out DIR`: the competitors, on the same cases with the same budget."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from medk2n_node.cli.context import JsonFlag, people, print_json, remarks
from medk2n_node.cli.train.bar import bar


def register(train: typer.Typer) -> None:
    """Add `peers` to `medk2n train`."""
    train.command("peers")(peers)


def peers(
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="Folder made by `train prepare`.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="A folder per peer and seed; may be gone on with.")
    ],
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes", min=0.01, help="For each peer and seed; as many steps as fit, measured once."
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Steps of each. [2000]")] = None,
    seeds: Annotated[str, typer.Option("--seeds", metavar="N,N,...", help="Seeds; three for claims.")] = "1",
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="NAME", help="This peer alone; may be given several times."),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(
            "--like", metavar="BUNDLE|RUN", help="Whose cost the peers get. [the network of `train fit`]"
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Fit copy and ridge, train U-Net, DynUNet, MM-GAN and MM-Synth at the cost of Med-K2N, all on the same slices."""
    from medk2n_node.cli.train.seeds import read_seeds

    numbers = read_seeds(seeds)
    remarks().print("loading", style="dim")
    from training.peers import train_all

    with bar("training peers", remarks()) as progress:
        found: list[dict[str, Any]] = train_all(
            archive, out, seeds=numbers, minutes=minutes, steps=steps, only=tuple(only or ()), like=like,
            report=lambda line: remarks().print(line, style="dim", markup=False), progress=progress,
        )  # fmt: skip
    if as_json:
        print_json({"peers": found, "folder": out})
        return
    console = people()
    for one in found:
        console.print(
            f"{one['name']:12} seed {one['seed']}: {one['steps']} steps in {one['seconds']:.0f} s, "
            f"{one['gflop_per_slice']:.2f} GFLOP a slice, {one['parameters'] / 1e6:.2f} M parameters",
            markup=False,
            soft_wrap=True,
        )
    words = f"Evaluate with `medk2n train evaluate BUNDLE {archive} --peers {out} --out DIR`."
    console.print(words, markup=False, soft_wrap=True)

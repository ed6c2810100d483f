"""`medk2n train ...`: adapt the network to a site's own archive; one module per command, each with `register`."""

from __future__ import annotations

import typer

from medk2n_node.cli.train import (
    ablate,
    calibrate,
    downstream,
    evaluate,
    falsify,
    fit,
    peers,
    prepare,
    promote,
    scan,
    site,
)

COMMANDS: tuple[object, ...] = (
    scan, prepare, fit, evaluate, peers, ablate, downstream, calibrate, falsify, promote, site,
)  # fmt: skip

train = typer.Typer(
    help="Adapt the network to one's own archive: scan, prepare, fit, evaluate, calibrate, promote.",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add `train` with its commands."""
    for command in COMMANDS:
        command.register(train)  # type: ignore[attr-defined]
    app.add_typer(train, name="train")

"""What every command shares: the configuration that is in force, and the two ways to answer.

A person reads `people()` (rich, on standard output); a script asks for `--json` and reads exactly one
JSON document on standard output, printed by `print_json`. Progress and remarks go to `remarks()`, which
writes to standard error and so never disturbs a script.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from medk2n_node.config import Config

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """The global options of this call; the configuration is read when a command first asks for it."""

    config_file: Path | None

    @cached_property
    def config(self) -> Config:
        from medk2n_node.config import load_config

        return load_config(self.config_file, os.environ)


def configuration(context: typer.Context) -> Config:
    """The configuration in force for this command; raises ConfigError."""
    invocation = context.find_object(Invocation)
    if invocation is None:
        raise RuntimeError("configuration() needs the context of a command of `medk2n`")
    return invocation.config


def people() -> Console:
    """The console for answers to a person (standard output)."""
    from rich.console import Console

    return Console(highlight=False)


def remarks() -> Console:
    """The console for progress and remarks (standard error)."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def print_json(document: Any) -> None:
    """Print `document` as the one JSON document of this call. Times become ISO 8601, paths strings."""
    sys.stdout.write(json.dumps(document, indent=2, default=_as_text, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _as_text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")

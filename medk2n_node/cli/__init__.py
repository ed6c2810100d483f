"""The command line. `main` is the entry point `medk2n`; it returns the exit code."""

from __future__ import annotations

from medk2n_node.cli.app import main

__all__ = ["main"]

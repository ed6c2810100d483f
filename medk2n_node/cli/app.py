"""The command `medk2n`: one module per sub-command, errors turned into one line and an exit code.

Exit codes: 0 done; 2 wrong usage; 3 bad input; 4 refused for safety; 5 a peer could not be reached;
1 everything else. Importing this module costs no torch: commands import what is heavy when they run.
"""

from __future__ import annotations

import errno
import io
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from medk2n_node.cli import (
    classify,
    config,
    conformance,
    demo,
    doctor,
    echo,
    models,
    plan,
    send,
    serve,
    studies,
    synthesize,
    train,
)
from medk2n_node.cli.context import Invocation, print_json

#: What a disk refuses, and what helps; anything else from the system is a defect of ours.
OF_THE_DISK = {
    errno.ENOSPC: "Make room and run the command again",
    errno.EDQUOT: "Make room and run the command again",
    errno.EACCES: "Name a place that this user may read and write",
    errno.EPERM: "Name a place that this user may read and write",
    errno.EROFS: "Name a place that can be written to",
    errno.ENOTDIR: "Name a folder; a part of this path is a file",
    errno.EEXIST: "Name a folder; a part of this path is a file",
}

COMMANDS = (
    serve,
    demo,
    send,
    classify,
    plan,
    synthesize,
    studies,
    models,
    train,
    echo,
    doctor,
    conformance,
    config,
)

app = typer.Typer(
    name="medk2n",
    help="A PACS node that synthesises the MR contrasts a study lacks. For research use only.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def options(
    context: typer.Context,
    config_file: Annotated[
        Path | None,
        typer.Option(
            "--config",
            envvar="MEDK2N_CONFIG",
            metavar="FILE",
            help="Configuration file; without it ./node.toml where there is one, else the defaults.",
        ),
    ] = None,
) -> None:
    """A PACS node that synthesises the MR contrasts a study lacks. For research use only."""
    local = Path("node.toml")
    context.obj = Invocation(config_file=config_file if config_file else local if local.is_file() else None)


for command in COMMANDS:
    command.register(app)


def main(arguments: list[str] | None = None) -> int:
    """Run `medk2n` with `arguments` (default: the process's own) and give its exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    as_json = "--json" in given
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file's name need not be UTF-8; escaped so it is shown, and is valid JSON.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        outcome = app(args=given or ["--help"], prog_name="medk2n", standalone_mode=False)
    except TyperException as error:
        return _report(
            as_json, "usage", "medk2n", error.format_message().rstrip("."), "See --help", error.exit_code
        )
    except typer.Abort:
        return _report(as_json, "aborted", "medk2n", "stopped before it was done", "", 1)
    except KeyboardInterrupt:
        return _report(as_json, "interrupted", "medk2n", "interrupted", "", 1)
    except Exception as error:
        # The rooms below have error trees of their own, all with these four fields; they are matched by
        # form so that no command pays for importing a room it does not use. Anything else is a defect.
        fields = [getattr(error, name, None) for name in ("code", "subject", "reason", "cure")]
        exit_code = 1 if isinstance(error, OSError) else 3
        if isinstance(error, OSError) and error.errno in OF_THE_DISK:
            fields = [
                "disk",
                str(error.filename or "the disk"),
                str(error.strerror),
                OF_THE_DISK[error.errno],
            ]
        if not all(isinstance(field, str) for field in fields):
            if as_json:
                words = {"code": "defect", "subject": "medk2n", "reason": repr(error), "cure": "Report it"}
                print_json({"error": words})
            raise
        code, subject, reason, cure = (str(field) for field in fields)
        return _report(as_json, code, subject, reason, cure, int(getattr(error, "exit_code", exit_code)))
    return outcome if isinstance(outcome, int) else 0


def _report(as_json: bool, code: str, subject: str, reason: str, cure: str, exit_code: int) -> int:
    print(
        f"error: {subject}: {reason.rstrip('.')}." + (f" {cure.rstrip('.')}." if cure else ""),
        file=sys.stderr,
    )
    if as_json:
        print_json({"error": {"code": code, "subject": subject, "reason": reason, "cure": cure}})
    return exit_code

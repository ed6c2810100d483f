"""`medk2n doctor`: can this machine carry the node? One row per check, with a cure where it is not well."""

from __future__ import annotations

from typing import Annotated

import typer

from medk2n_node.cli.context import JsonFlag, configuration, people, print_json, remarks
from medk2n_node.config import Config
from medk2n_node.errors import PeerError
from medk2n_node.installation import Check, Echo, Echoed, State, examine

MARKS = {State.OK: "[green]ok[/]", State.WARNING: "[yellow]warning[/]", State.ERROR: "[red]error[/]"}
MARKS[State.UNREACHABLE] = "[red]no answer[/]"


def register(app: typer.Typer) -> None:
    """Add `doctor` to the command line."""
    app.command()(doctor)


def doctor(
    context: typer.Context,
    as_json: JsonFlag = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="First remove the package 'training' that sam2 leaves behind.")
    ] = False,
) -> None:
    """Look whether this machine can carry the node: packages, weights, storage, ports, device, destinations.

    Exit code 0: all well (warnings included); 5: only a destination does not answer; 1: something else is wrong.
    """
    from rich.markup import escape
    from rich.table import Table

    from medk2n_node.installation import environment, stray

    config = configuration(context)
    if repair:
        removed = stray.remove(environment.site_packages())
        remarks().print(
            f"removed {len(removed)} files of sam2's stray package" if removed else "nothing to repair"
        )
    checks: list[Check] = []
    with remarks().status("looking") as status:
        for check in examine(config, _echo(config)):
            checks.append(check)
            status.update(f"{check.name}: {check.state}")
    if as_json:
        print_json({"ok": exit_code(checks) == 0, "checks": [check.to_json() for check in checks]})
        raise typer.Exit(exit_code(checks))
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        table.add_row(MARKS[check.state], check.name, escape(check.found))
        if check.cure:
            table.add_row("", "", f"[dim]{escape(check.cure)}[/]")
    people().print(table)
    people().print(summary(checks))
    raise typer.Exit(exit_code(checks))


def exit_code(checks: list[Check]) -> int:
    """0 all well, 5 only destinations are silent, 1 otherwise."""
    states = {check.state for check in checks}
    if State.ERROR in states:
        return 1
    return 5 if State.UNREACHABLE in states else 0


def summary(checks: list[Check]) -> str:
    """The last line for a person."""
    bad = [check for check in checks if check.state in (State.ERROR, State.UNREACHABLE)]
    warnings = sum(check.state is State.WARNING for check in checks)
    aside = f", {warnings} {'warning' if warnings == 1 else 'warnings'}" if warnings else ""
    if bad:
        return f"{len(bad)} of {len(checks)} checks failed{aside}: {', '.join(check.name for check in bad)}"
    return f"all {len(checks)} checks passed{aside}"


def _echo(config: Config) -> Echo:
    """C-ECHO as `medk2n echo` does it."""
    from pynetdicom.presentation import build_context

    from medk2n_node.cli.calling import Peer, association
    from medk2n_node.cli.echo import VERIFICATION

    def echo(ae_title: str, host: str, port: int, tls: bool) -> Echoed:
        peer = Peer(name=ae_title, ae_title=ae_title, host=host, port=port, tls=tls)
        try:
            with association(config, peer, [build_context(VERIFICATION)]) as link:
                status = link.send_c_echo().get("Status")
        except PeerError as error:
            refused = error.code in ("peer_rejected", "peer_takes_nothing")
            return Echoed(outcome="refused" if refused else "silent", words=error.reason)
        if status is None:
            return Echoed(outcome="silent", words="it accepted the association and did not answer C-ECHO")
        if int(status) != 0:
            return Echoed(outcome="refused", words=f"it answered C-ECHO with status {int(status):04X}")
        return Echoed(outcome="success")

    return echo

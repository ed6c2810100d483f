"""`medk2n echo PEER`: does a peer answer a C-ECHO?"""

from __future__ import annotations

import time
from typing import Annotated

import typer

from medk2n_node.cli.context import JsonFlag, configuration, people, print_json
from medk2n_node.errors import PeerError

VERIFICATION = "1.2.840.10008.1.1"


def register(app: typer.Typer) -> None:
    """Add `echo` to the command line."""
    app.command()(echo)


def echo(
    context: typer.Context,
    peer: Annotated[str, typer.Argument(metavar="PEER", help="A destination's name, or AE@HOST:PORT.")],
    as_json: JsonFlag = False,
) -> None:
    """Ask a peer whether it is there (C-ECHO); exit code 5 when it is not."""
    from pynetdicom.presentation import build_context

    from medk2n_node.cli.calling import association, find_peer

    config = configuration(context)
    called = find_peer(config, peer)
    started = time.perf_counter()
    with association(config, called, [build_context(VERIFICATION)]) as link:
        answer = link.send_c_echo()
        seconds = time.perf_counter() - started
    status = answer.get("Status")
    if status is None or int(status) != 0:
        said = "no answer came" if status is None else f"it answered with status {int(status):04X}"
        raise PeerError(code="echo_failed", subject=str(called), reason=said, cure="Look into the peer's log")
    if as_json:
        print_json(
            {
                "peer": called.name,
                "ae_title": called.ae_title,
                "host": called.host,
                "port": called.port,
                "status": "0000",
                "seconds": round(seconds, 4),
            }
        )
    else:
        people().print(f"{called} answered in {seconds * 1000:.0f} ms", soft_wrap=True)

"""`medk2n serve [listener|worker]`: run the node, or one of its processes alone."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from enum import Enum
from typing import Annotated

import typer

from medk2n_node.cli.context import Invocation, JsonFlag, configuration, print_json
from medk2n_node.config import Config


class Process(Enum):
    """What can be run alone."""

    ALL = "all"
    LISTENER = "listener"
    WORKER = "worker"


def serve(
    context: typer.Context,
    process: Annotated[
        Process, typer.Argument(help="all: listener and worker, watched and restarted.")
    ] = Process.ALL,
    as_json: JsonFlag = False,
    supervised: Annotated[bool, typer.Option("--supervised", hidden=True)] = False,
) -> None:
    """Run the node until it is told to stop (Ctrl-C or SIGTERM)."""
    from medk2n_node.rules import check_rules

    config = configuration(context)
    if process is not Process.LISTENER:
        # What the worker would stumble over with the first study stops the start.
        check_rules(config)
    if process is Process.LISTENER:
        _run_listener(config, supervised)
    elif process is Process.WORKER:
        _run_worker(config, supervised)
    else:
        _run_all(context, config, as_json)


def register(app: typer.Typer) -> None:
    """Add `serve` to the command line."""
    app.command()(serve)


def _run_all(context: typer.Context, config: Config, as_json: bool) -> None:
    from medk2n_node.observe import configure_logging
    from medk2n_node.serve import Supervisor, command_of, on_signals

    configure_logging(config.observe, process="supervisor")
    invocation = context.find_object(Invocation)
    config_file = None if invocation is None else invocation.config_file

    def announce(words: Mapping[str, str]) -> None:
        goes_to = ", ".join(
            f"{one.name} ({one.ae_title} {one.host}:{one.port})" for one in config.destinations
        )
        if as_json:
            print_json({"ready": True, "pid": os.getpid(), "processes": supervisor.pids(), **words})
            return
        print(
            f"medk2n ready: {words['listener']}; {words['worker']}; results go to {goes_to or 'no destination'}; "
            "stop with Ctrl-C",
            flush=True,
        )

    names = (Process.LISTENER.value, Process.WORKER.value)
    supervisor = Supervisor({name: command_of(name, config_file) for name in names}, announce)
    on_signals(supervisor.stop)
    code = supervisor.run()
    if code:
        raise typer.Exit(code)


def _run_listener(config: Config, supervised: bool) -> None:
    from medk2n_node.listener import run
    from medk2n_node.serve import announce_ready, end_with_supervisor

    if supervised:
        end_with_supervisor()

    def ready(port: int) -> None:
        announce_ready(f"{config.node.ae_title} listens on {config.node.host}:{port}", supervised=supervised)

    run(config, ready=ready)


def _run_worker(config: Config, supervised: bool) -> None:
    from medk2n_node.observe import configure_logging
    from medk2n_node.serve import announce_ready, end_with_supervisor, on_signals
    from medk2n_node.study.worker import run_worker

    configure_logging(config.observe, process="worker")
    stop = threading.Event()
    on_signals(stop.set)
    if supervised:
        end_with_supervisor()
    run_worker(config, stop=stop, ready=lambda name: announce_ready(f"{name} works", supervised=supervised))
    # A synthesis that still runs sits in a thread that an ordinary exit would wait for; it is durable and will be
    # taken up again, so the process ends here.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)

"""`medk2n demo`: the whole way of a study on this machine, with a picture at the end."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from medk2n_node.cli.context import JsonFlag, people, print_json, remarks

if TYPE_CHECKING:
    from rich.console import Console


class _Teller:
    """Lines with the time since the start; on a terminal a turning mark shows what is under way.

    A signal that came meanwhile is raised again here: Python drops a KeyboardInterrupt that falls into a destructor
    or into a callback of C code.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = time.monotonic()
        self._last = ""
        self._status = console.status("", spinner="line")

    def __enter__(self) -> Self:
        self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.stop()

    def stage(self, words: str) -> None:
        """Show what is under way; where there is no terminal, as a line when it changes."""
        _go_on()
        self._status.update(f"{words} ...")
        if not self._console.is_terminal and words != self._last:
            self._line(f"{words} ...")
        self._last = words

    def done(self, words: str) -> None:
        """One line that stays."""
        _go_on()
        self._line(words)

    def progress(self, words: str, done: int, total: int) -> None:
        """Show how many of how many."""
        _go_on()
        self._status.update(f"{words} {done}/{total}")

    def _line(self, words: str) -> None:
        self._console.print(f"{time.monotonic() - self._start:6.1f} s  {words}", markup=False, soft_wrap=True)


def demo(
    study: Annotated[
        Path | None,
        typer.Option("--study", metavar="DIR", help="DICOM files of one study; without it a phantom head."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where everything is written; default demo-output/<time>."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Send a study through a node and back to a small PACS, both on this machine, and show what came back."""
    console = remarks() if as_json else people()
    console.print(
        "medk2n demo: a study goes in over DICOM, a synthetic series comes back. Not for clinical use.",
        soft_wrap=True,
    )
    _interrupted.clear()
    signal.signal(signal.SIGTERM, _interrupt)
    # Explicitly: a process that a script started in the background is born with SIGINT ignored.
    signal.signal(signal.SIGINT, _interrupt)
    folder = (out or Path("demo-output") / time.strftime("%Y%m%d-%H%M%S")).resolve()
    with _Teller(console) as teller:
        teller.stage("loading")
        from medk2n_node.demo.run import run

        summary = run(folder, study.resolve() if study is not None else None, teller)
    if as_json:
        print_json(summary)
    else:
        _show(console, summary)
    if not summary["good"]:
        raise typer.Exit(1)
    if summary["state"] in ("HELD", "REFUSED"):
        raise typer.Exit(4)


def register(app: typer.Typer) -> None:
    """Add `demo` to the command line."""
    app.command()(demo)


_interrupted = threading.Event()


def _interrupt(number: int, frame: FrameType | None) -> None:
    _interrupted.set()
    # As Ctrl-C does, so that every process is ended on the way out.
    raise KeyboardInterrupt


def _go_on() -> None:
    if _interrupted.is_set():
        raise KeyboardInterrupt


def _show(console: Console, summary: dict[str, Any]) -> None:
    """The summary for a person."""

    def line(words: str = "", style: str | None = None) -> None:
        console.print(words, markup=False, soft_wrap=True, style=style)

    line()
    line("The plan", "bold")
    for sentence in summary["plan"]:
        line(f"  {sentence}")
    if summary["state"] != "DELIVERED":
        line()
        line(f"The study ended as {summary['state']}: {summary['words'] or 'no reason given'}", "bold")
        if summary["release"]:
            line(f"  what helps: {summary['release']}")
    for one in summary["series"]:
        line()
        line(f"Came back: {one['contrast']}, {one['instances']} objects", "bold")
        for name, value in one["tags"].items():
            line(f"  {name}: {value}")
        for check in one["checks"]:
            mark = {True: "yes", False: "NO ", None: " - "}[check["kept"]]
            line(f"  {mark}  {check['promise']}: {check['words']}", "red" if check["kept"] is False else None)
        for reason in one["reasons"]:
            line(f"  {reason}")
        score = one["score"]
        if score is not None:
            line(
                f"  against the truth, inside the brain: PSNR {score['psnr_db']:.2f} dB, SSIM {score['ssim']:.3f} "
                f"(after a linear fit {score['fitted_psnr_db']:.2f} dB; a constant image {score['constant_db']:.2f} dB)"
            )
    for one in summary["beside"]:
        line()
        about = f" of {one['contrast']}" if one["contrast"] else ""
        number = f"{one['instances']} {'object' if one['instances'] == 1 else 'objects'}"
        line(f"Came back: {one['kind']}{about}, {number}", "bold")
        line(f"  SeriesDescription: {one['description']}")
        for check in one["checks"]:
            mark = {True: "yes", False: "NO ", None: " - "}[check["kept"]]
            line(f"  {mark}  {check['promise']}: {check['words']}", "red" if check["kept"] is False else None)
    line()
    line("Where things lie", "bold")
    for one in summary["series"]:
        line(f"  picture ({one['contrast']}): {one['picture']}")
    for name, place in summary["files"].items():
        line(f"  {name}: {place}")
    spent = ", ".join(f"{name} {value:.1f} s" for name, value in summary["seconds"].items())
    line(f"  time: {spent}")

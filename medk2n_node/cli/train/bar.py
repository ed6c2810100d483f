"""A progress bar for work that tells its stage, how much is done and how much there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def bar(title: str, console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Gives the function to call; the bar is drawn where the console is a terminal, and removed at the end."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=None)

        def step(stage: str, done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield step

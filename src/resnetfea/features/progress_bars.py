"""The bars that a person sees: share done, speed, time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text


@contextmanager
def image_bar() -> Iterator[Callable[[int, int], None]]:
    """A function to be told how many images are done, of how many."""
    columns = (BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("extract", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def byte_bar() -> Iterator[Callable[[int, int], None]]:
    """A function to be told how many bytes are here, of how many (0: unknown). Shows nothing before the first."""
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    tasks: list[TaskID] = []

    def show(done: int, total: int) -> None:
        if not tasks:
            tasks.append(progress.add_task("download", total=total or None, completed=done))
            progress.start()
        progress.update(tasks[0], completed=done, total=total or None)
        if done == total:
            progress.stop()  # what is said from here on needs the line

    try:
        yield show
    finally:
        if tasks:
            progress.stop()


class _Rate(ProgressColumn):
    """Images a second, over the last few."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} images/s" if speed else "starting")

"""Progress on stderr. Silent where stderr is not a terminal, and then without rich, which takes time to import."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Told = Callable[[int, int], None]  # what is done, of how much


@contextmanager
def bar() -> Iterator[Told]:
    """A function to be told how many images are done, of how many."""
    if not _seen():
        yield _unsaid
        return
    from resnetfea.features.progress_bars import image_bar

    with image_bar() as told:
        yield told


@contextmanager
def download_bar() -> Iterator[Told]:
    """A function to be told how many bytes are here, of how many (0: unknown). Shows nothing before the first."""
    if not _seen():
        yield _unsaid
        return
    from resnetfea.features.progress_bars import byte_bar

    with byte_bar() as told:
        yield told


def _seen() -> bool:
    return sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()  # None: the process has none


def _unsaid(done: int, total: int) -> None:
    """Nobody looks."""

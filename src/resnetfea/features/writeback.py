"""A large file's way to the disk begins while it is written, so that the fsync at its end has little left to do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import BinaryIO

STEP = 32 << 20  # bytes between two of them
_sync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)  # macOS and Windows have no fdatasync


@contextmanager
def writeback(file: BinaryIO) -> Iterator[Callable[[], None]]:
    """Gives what is to be called now and then between writes. Without it the kernel starts after 30 s.

    Raises:
        OSError: what was written earlier did not reach the disk; from the next call, or from the end of the block.
    """
    running: Future[None] | None = None
    begun = 0

    def go_on() -> None:
        nonlocal running, begun
        if (running is None or running.done()) and file.tell() - begun >= STEP:
            if running is not None:
                running.result()
            begun = file.tell()
            running = threads.submit(_sync, file.fileno())

    with ThreadPoolExecutor(1, "writeback") as threads:  # its end waits, so that the file is still open
        yield go_on
        if running is not None:
            running.result()

"""Python's collector of garbage, kept from looking for some where there is none: it took a tenth of a short run."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


def stop_at_the_end() -> None:
    """When the process ends Python would go through all objects three times, 0.1 s; the system frees them anyway."""
    atexit.register(gc.freeze)


@contextmanager
def resting() -> Iterator[None]:
    """For imports, which make ten thousands of objects that all stay."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()

"""Imports made by a thread while the command reads its weights: reading and hashing leave Python to others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from threading import Thread


@contextmanager
def imported(*modules: str) -> Iterator[None]:
    """Imports these, one by one, meanwhile, and has done so at the block's end."""
    thread = Thread(target=_import, args=modules)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _import(*modules: str) -> None:
    with suppress(Exception):  # whoever needs it imports it again, and says why it can't be
        for module in modules:
            import_module(module)

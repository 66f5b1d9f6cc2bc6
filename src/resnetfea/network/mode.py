"""MindSpore's two modes, each for a while: the caller's comes back behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import mindspore as ms


@contextmanager
def eager() -> Iterator[None]:
    """For what runs once, or layer by layer: a graph for each of 70 layers takes a minute to compile."""
    with _mode(ms.PYNATIVE_MODE):
        yield


@contextmanager
def graph() -> Iterator[None]:
    """For what runs often.

    Eager mode takes 2.5 times as long on a CPU; ms.jit on the cell takes 5 times (2.10.0: it copies the weights in).
    """
    with _mode(ms.GRAPH_MODE):
        yield


@contextmanager
def _mode(mode: int) -> Iterator[None]:
    before = ms.get_context("mode")
    ms.set_context(mode=mode)
    try:
        yield
    finally:
        ms.set_context(mode=before)

"""What a run must know of where images come from: their names in a fixed order, and where each one's bytes are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol


class Place(NamedTuple):
    """Bytes on this machine: a file, or a span of one."""

    path: bytes
    offset: int = 0
    size: int | None = None  # None: all from the offset on


Content = Place | Callable[[], bytes]  # what must be fetched raises BadImage where it can't be had


class Named(NamedTuple):
    """An image: its path as the tables have it, and where its bytes are."""

    path: str
    content: Content


def file(path: str | bytes | Path) -> Place:
    """All of a file."""
    return Place(os.fsencode(path))


class Source(Protocol):
    """Images of a folder, a list, an archive, ..."""

    @property
    def where(self) -> str:
        """What the user gave, absolute: for people and the manifest."""

    @property
    def fixed(self) -> bool:
        """Whether it lists what somebody wrote down, an archive or a list, and not what happens to lie in a folder."""

    def check(self) -> None:
        """Asked when images are missing: is the source itself still there?

        Raises:
            ResnetFeaError: it is not.
        """

    def names(self) -> Iterator[bytes]:
        """All of them, always in the same order, in memory that does not grow with them. None holds a zero byte.

        Raises:
            ResnetFeaError: they can't be listed.
        """

    def shown(self, name: bytes) -> str:
        """A name as the tables have it: the `path` column."""

    def content(self, name: bytes) -> Content:
        """Where its bytes are."""

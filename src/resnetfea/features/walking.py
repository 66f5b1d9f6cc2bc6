"""Through the folders below a base, in the order of whole paths, in memory that does not grow with what they hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, Protocol

from resnetfea.features.globs import Pattern, States
from resnetfea.features.sorting import in_order
from resnetfea.features.source import Content


class Unlistable(Exception):
    """A folder that can't be listed; the reason."""


class Tree(Protocol):
    """Files below a base: on this machine, or behind a URL. All names are relative to the base, or absolute."""

    def kind(self, name: bytes) -> Literal["folder", "file", "other"] | None:
        """What is there; None where nothing is. Links are followed.

        Raises:
            ResnetFeaError: it can't be told.
        """

    def is_there(self) -> bool:
        """Asked when files are missing: is the base itself still there?

        Raises:
            ResnetFeaError: it can't be told.
        """

    def below(self, folder: bytes) -> Tree:
        """With another base."""

    def entries(self, folder: bytes) -> Iterator[bytes]:
        """Names in a folder, in any order. Those of folders end in a slash, those of links to folders do not.

        Raises:
            Unlistable: no rights, or gone meanwhile, ...
        """

    def content(self, name: bytes, offset: int = 0, size: int | None = None) -> Content:
        """Where a file's bytes are, or some of them."""

    def opened(self, name: bytes) -> BinaryIO:
        """A file, to be read from its start; it closes itself in a `with`.

        Raises:
            OSError: it can't be opened, or (when it is read) read.
        """


class _Level(NamedTuple):
    """A folder on the way down, and what of it is still to come."""

    folder: bytes
    states: States
    names: Iterator[bytes]


def walk(tree: Tree, pattern: Pattern, suffixes: tuple[bytes, ...], scratch: str | Path | None) -> Iterator[bytes]:
    """The files that the pattern and a suffix (in any case) fit, sorted by their bytes.

    Only folders are entered in which something may fit. One that can't be listed comes as its name with a slash.

    Args:
        scratch: folder for temporary files, of folders too large for the memory.

    Raises:
        Unlistable: of the base itself.
    """

    def level(folder: bytes, states: States) -> _Level:
        names = _fitting(tree.entries(folder), pattern, states, suffixes)
        return _Level(folder, states, in_order(names, folder=scratch))

    waiting = [level(b"", pattern.start)]
    while waiting:
        folder, states, names = waiting[-1]
        try:
            name = next(names, None)
        except Unlistable:
            waiting.pop()
            if not waiting:
                raise
            yield folder
            continue
        if name is None:
            waiting.pop()
        elif name.endswith(b"/"):  # a folder sorts as its name with a slash, so that whole paths come sorted
            waiting.append(level(folder + name, pattern.into(states, name[:-1])))
        else:
            yield folder + name


def _fitting(
    entries: Iterator[bytes], pattern: Pattern, states: States, suffixes: tuple[bytes, ...]
) -> Iterator[bytes]:
    for name in entries:
        if name.endswith(b"/"):
            if pattern.into(states, name[:-1]):
                yield name
        elif name.lower().endswith(suffixes) and pattern.takes(states, name):
            yield name

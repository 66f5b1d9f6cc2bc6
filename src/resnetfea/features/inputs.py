"""The list of images that a run, or an update of it, goes through: fixed on disk when it begins, until it ends.

So a kill, a photo that vanishes and one that comes in meanwhile change nothing, and memory holds a piece of it at most.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

END = b"\0"  # behind each name: the one byte that no path holds
BLOCK = 1 << 20


@dataclass(frozen=True)
class Inputs:
    """A list on disk: its file, length, and digest."""

    path: Path
    count: int
    sha256: str

    def names(self) -> Iterator[bytes]:
        """All of them, in order."""
        return chain.from_iterable(self.parts(1024))

    def parts(self, size: int) -> Iterator[list[bytes]]:
        """The names, `size` at a time; the last part may be shorter."""
        part: list[bytes] = []
        with self.path.open("rb") as file:
            rest = b""
            while block := file.read(BLOCK):
                *names, rest = (rest + block).split(END)
                for name in names:
                    part.append(name)
                    if len(part) == size:
                        yield part
                        part = []
        if part:
            yield part


def written(names: Iterable[bytes], path: Path) -> Inputs:
    """Names to a new file."""
    with path.open("wb") as file:
        return _told(path, names, file.write)


def found(path: Path) -> Inputs | None:
    """The list of an earlier process; None where it left none."""
    if not path.is_file():
        return None
    return _told(path, Inputs(path, 0, "").names(), len)


def _told(path: Path, names: Iterable[bytes], each: Callable[[bytes], object]) -> Inputs:
    """A list with its length and digest. each: what else is done with every name and its end."""
    count, digest = 0, hashlib.sha256()
    for name in names:
        count += 1
        digest.update(name + END)
        each(name + END)
    return Inputs(path, count, digest.hexdigest())

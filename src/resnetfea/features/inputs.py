"""The run's list of images, fixed on disk when the run begins: constant memory, and the same list until its end."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

END = b"\0"  # behind each name: the one byte that no path holds
BLOCK = 1 << 20


@dataclass(frozen=True)
class Inputs:
    """A spooled list: its file, length, and digest."""

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


@contextmanager
def spooled(names: Iterator[bytes], path: Path) -> Iterator[Inputs]:
    """Write the names to a file, and say how many they are and which. The file is gone behind the block."""
    try:
        count, digest = 0, hashlib.sha256()
        with path.open("wb") as file:
            for name in names:
                count += 1
                digest.update(name + END)
                file.write(name + END)
        yield Inputs(path, count, digest.hexdigest())
    finally:
        path.unlink(missing_ok=True)

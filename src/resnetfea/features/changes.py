"""What has come into a list and what has vanished from it. In memory that does not grow with either."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from resnetfea.features.sorting import in_order

SHOWN = 3  # of the vanished, in a message
PLACE = 12  # hexadecimal digits of a position in a list
END = b"\1\1"  # behind a key: it sorts before all that a longer key goes on with, and no escaped key holds it


@dataclass
class Changes:
    """Iterate over it to its end to get the names that are new, as listed; then it knows what has vanished.

    known: keys of what was there, in any order.
    listed: key and name of each that is there now.
    folder: where they are sorted if they are too many for the memory; None for the system's temporary folder.
    """

    known: Iterable[bytes]
    listed: Iterable[tuple[bytes, bytes]]
    folder: Path | None = None
    vanished: int = 0
    some: list[bytes] = field(default_factory=list)  # of the vanished keys

    def __iter__(self) -> Iterator[bytes]:
        for record in in_order(self._new(), folder=self.folder):
            yield record[PLACE:]

    def _new(self) -> Iterator[bytes]:
        """Position and name of each that is listed and not known: both sorted by key, side by side."""
        known = (key for key, _ in groupby(in_order(map(_escaped, self.known), folder=self.folder)))
        before, seen = next(known, None), False  # seen: it is listed, too
        for record in in_order(self._placed(), folder=self.folder):
            key, _, rest = record.partition(END)
            while before is not None and before < key:
                self._passed(before, seen)
                before, seen = next(known, None), False
            if before == key:
                seen = True
            else:
                yield rest
        while before is not None:
            self._passed(before, seen)
            before, seen = next(known, None), False

    def _placed(self) -> Iterator[bytes]:
        for place, (key, name) in enumerate(self.listed):
            yield b"%b%b%0*x%b" % (_escaped(key), END, PLACE, place, name)

    def _passed(self, key: bytes, seen: bool) -> None:
        if not seen:
            self.vanished += 1
            if len(self.some) < SHOWN:
                self.some.append(key.replace(b"\1\2", b"\1"))


def _escaped(key: bytes) -> bytes:
    return key.replace(b"\1", b"\1\2") if b"\1" in key else key

"""The boxes of an ISO base media file (ISO/IEC 14496-12, 4.2), as AVIF, HEIF and JPEG XL have them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple


class Box(NamedTuple):
    """One at the top of a file: its kind, and where its content begins and ends. The file may end before."""

    kind: bytes
    begins: int
    ends: int


def boxes(data: bytes) -> Iterator[Box]:
    """In their order, up to what is none: bytes behind the last box do no harm."""
    at = 0
    while len(data) >= at + 8:
        size, kind = struct.unpack_from(">I4s", data, at)
        begins = at + 8
        if not kind.isalnum() and not kind.strip().isalnum():  # "JXL "
            return
        if size == 1:
            size, begins = struct.unpack_from(">Q", data, begins)[0], begins + 8
        ends = len(data) if size == 0 else at + size  # 0: to the end, wherever that is
        if ends < begins:
            return
        yield Box(kind, begins, ends)
        at = ends

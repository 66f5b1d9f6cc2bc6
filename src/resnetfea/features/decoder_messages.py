"""What a decoder's process is asked and what it answers: a header, then so many bytes."""

from __future__ import annotations

import struct
from typing import BinaryIO

QUESTION = struct.Struct("<cQ")  # tag, length of what follows
TOLD = b"T"  # JSON: recipe, mode, limits
PLACE = b"P"  # a SPAN, then the path
DATA = b"D"  # the file itself
GO_ON = b"G"  # to LARGE: it is its turn
SPAN = struct.Struct("<Qq")  # offset, size; -1 for all from there on

ANSWER = struct.Struct("<c4IQ")  # tag, four numbers, length of what follows
READY = b"R"
LARGE = b"L"  # a large picture comes, which waits for its turn
PICTURE = b"I"  # width and height of the original, of the pixels; RGB
BAD = b"B"  # JSON: kind and reason


def question(stream: BinaryIO) -> tuple[bytes, bytes] | None:
    """The next one; None where nobody asks any more."""
    header = stream.read(QUESTION.size)
    if len(header) < QUESTION.size:
        return None
    tag, length = QUESTION.unpack(header)
    body = stream.read(length)
    return (tag, body) if len(body) == length else None

"""What the messages of HDF5's object headers say: links, shapes, types, attributes. By section of its specification."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from resnetfea.errors import ResnetFeaError
from resnetfea.weights.arrays import BFLOAT16, MAX_RANK
from resnetfea.weights.hdf5_parts import text, unpack

HARD, SOFT, OUTSIDE = 0, 1, 64  # links
FIXED_TEXT, OPAQUE, VARIABLE = 3, 5, 9  # classes of types
OTHER_CLASSES = {
    2: "times", 3: "texts", 4: "bit fields", 5: "opaque bytes", 6: "compounds", 7: "references", 8: "enumerations",
    9: "lists of any length", 10: "arrays",
}  # fmt: skip
OPAQUE_BFLOAT16 = 2  # bytes; Keras 3 stores bfloat16 as these, with the attribute dtype beside
REFERENCE = struct.Struct("<IQI")  # to a text in a global heap: length, address of the collection, number


def link(body: memoryview) -> tuple[str, int]:
    """IV.A.2.g: name and address."""
    version, flags = unpack("<BB", body)
    at = 2
    kind = HARD
    if flags & 8:
        (kind,) = unpack("<B", body[at:])
        at += 1
    at += (8 if flags & 4 else 0) + (1 if flags & 16 else 0)  # creation order, character set
    width = 1 << (flags & 3)
    length = int.from_bytes(body[at : at + width], "little")
    rest = body[at + width :]
    if version != 1 or length > len(rest):
        raise ResnetFeaError("a link in its HDF5 is broken: cut short?")
    name = text(bytes(rest[:length]))
    if kind != HARD:
        kinds = {SOFT: "a soft link", OUTSIDE: "a link to another file"}
        raise ResnetFeaError(f"{name} is {kinds.get(kind, 'a strange link')}, which no weights need")
    return name, *unpack("<Q", rest[length:])  # type: ignore[return-value]


def shape(body: memoryview) -> tuple[int, ...]:
    """IV.A.2.b; () is one number. The largest shape it may grow to says nothing about the bytes."""
    version, rank, flags, kind = unpack("<BBBB", body)
    if version not in (1, 2) or (version == 2 and kind != (1 if rank else 0)) or flags > 1:
        raise ResnetFeaError("has no shape that weights have")
    if rank > MAX_RANK:
        raise ResnetFeaError(f"has {rank} dimensions")
    return unpack(f"<{rank}Q", body[8 if version == 1 else 4 :])


def dtype(body: memoryview, texts: dict[str, str]) -> str:
    """IV.A.2.d: a numpy type, by comparing every property that the type has."""
    head, size = unpack("<B3xI", body)
    if head & 15 == OPAQUE and size == OPAQUE_BFLOAT16 and texts.get("dtype") == BFLOAT16:
        return BFLOAT16
    known = TYPES.get(bytes([head & 15]) + bytes(body[1:20])) or TYPES.get(bytes([head & 15]) + bytes(body[1:12]))
    if known is None or head >> 4 not in (1, 3):
        what = OTHER_CLASSES.get(head & 15, f"{size}-byte numbers, big-endian or of a strange build")
        raise ResnetFeaError(f"holds {what}, which no ResNet's weights are")
    return known


def _float(size: int, sign: int, exponent_at: int, exponent: int, mantissa: int, bias: int) -> bytes:
    """IEEE, little-endian (0x20: the mantissa's first bit is implied)."""
    return struct.pack("<BBBBIHHBBBBI", 1, 0x20, sign, 0, size, 0, 8 * size, exponent_at, exponent, 0, mantissa, bias)


def _integer(size: int, signed: bool) -> bytes:
    return struct.pack("<BBBBIHH", 0, 8 if signed else 0, 0, 0, size, 0, 8 * size)


TYPES = {
    _float(2, 15, 10, 5, 10, 15): "f2",
    _float(4, 31, 23, 8, 23, 127): "f4",
    _float(8, 63, 52, 11, 52, 1023): "f8",
    _float(2, 15, 7, 8, 7, 127): BFLOAT16,
    **{_integer(size, True): f"i{size}" for size in (1, 2, 4, 8)},
    **{_integer(size, False): f"u{size}" for size in (1, 2, 4, 8)},
}


@dataclass(frozen=True)
class Attribute:
    """A name, and its texts: as they are, or where in a global heap each is: (length, address, number)."""

    name: str
    text: bytes | None = None
    elsewhere: tuple[tuple[int, int, int], ...] = ()


def attribute(body: memoryview) -> Attribute:
    """IV.A.2.m. What is no text has a name only."""
    version, flags, name, kind, space = unpack("<BBHHH", body)
    if version not in (1, 2, 3) or (version > 1 and flags & 3):
        raise ResnetFeaError("has an attribute of an unknown version or a shared type")
    step = 8 if version == 1 else 1  # version 1 pads each part to eight bytes
    at = 9 if version == 3 else 8  # version 3 has a character set more
    ends = [at]
    for size in (name, kind, space):
        ends.append(ends[-1] + (size + step - 1) // step * step)
    if ends[-1] > len(body):
        raise ResnetFeaError("has an attribute that is cut short")
    title = decoded(bytes(body[at : at + name]).rstrip(b"\0"))
    head, width = unpack("<B3xI", body[ends[1] : ends[2]])
    data = body[ends[3] :]
    if head & 15 == FIXED_TEXT:
        return Attribute(title, bytes(data[:width]).rstrip(b"\0"))
    if head & 15 != VARIABLE or width != REFERENCE.size:
        return Attribute(title)
    whole = len(data) // width * width
    return Attribute(title, elsewhere=tuple(REFERENCE.iter_unpack(data[:whole])))


def decoded(data: bytes) -> str:
    """An attribute's name or text."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ResnetFeaError("has an attribute that is not UTF-8") from error

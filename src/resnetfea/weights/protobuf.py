"""protobuf's wire format, read field by field: no size in a file is believed before it is compared."""

from __future__ import annotations

from collections.abc import Iterator

from resnetfea.errors import ResnetFeaError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types
LONGEST_TEXT = 65536  # bytes; as text they may become four times as many
Field = int | memoryview | bytes  # a varint; strings, messages and packed numbers; a fixed-width number


def fields(data: memoryview) -> Iterator[tuple[int, Field]]:
    """Number and value of each field of one message."""
    while data:
        key, data = varint(data)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, data = varint(data)
            yield number, value
            continue
        length = {FIXED64: 8, FIXED32: 4}.get(wire)
        if wire == BYTES:
            length, data = varint(data)
        if length is None or number == 0:
            raise ResnetFeaError("it is not a protobuf message")
        if length > len(data):
            raise ResnetFeaError("it ends in the middle of a field: cut short?")
        yield number, data[:length] if wire == BYTES else bytes(data[:length])
        data = data[length:]


def varint(data: memoryview) -> tuple[int, memoryview]:
    """A number of at most 64 bits in groups of seven, and what follows it."""
    value = 0
    for index, byte in enumerate(data[:10]):
        value |= (byte & 127) << (7 * index)
        if byte < 128:
            return value, data[index + 1 :]
    raise ResnetFeaError("it ends in the middle of a number: cut short?")


def text(data: memoryview) -> str:
    """A string field."""
    if len(data) > LONGEST_TEXT:
        raise ResnetFeaError(f"a name in it has more than {LONGEST_TEXT:,} bytes")
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise ResnetFeaError("a name in it is not UTF-8") from error


def encoded(number: int, value: bytes | int) -> bytes:
    """One field: a number, or bytes with their length."""
    if isinstance(value, int):
        return _varint(number << 3 | VARINT) + _varint(value)
    return opening(number, len(value)) + value


def opening(number: int, length: int) -> bytes:
    """What stands in front of a field of so many bytes."""
    return _varint(number << 3 | BYTES) + _varint(length)


def _varint(value: int) -> bytes:
    groups = bytearray()
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes((*groups, value))

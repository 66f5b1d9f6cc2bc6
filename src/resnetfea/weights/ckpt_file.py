"""MindSpore's .ckpt: protobuf, read here field by field, so that no size in it is believed before it is compared.

Checkpoint { repeated Value value = 1 }, Value { string tag = 1; TensorProto tensor = 2; MapTensor maptensor = 3 },
TensorProto { repeated int64 dims = 1; string tensor_type = 2; bytes tensor_content = 3 }
(MindSpore 2.10, mindspore/ccsrc/utils/checkpoint.proto). Its own loader takes a 44-byte file for 37 GB (users.md 2a).
"""

from __future__ import annotations

from collections.abc import Iterator

from resnetfea.errors import ResnetFeaError
from resnetfea.weights.arrays import BFLOAT16, from_bytes
from resnetfea.weights.raw import RawFile

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # protobuf's wire types
DTYPES = {
    "Float32": "f4", "Float16": "f2", "BFloat16": BFLOAT16, "Float64": "f8", "Int64": "i8", "Int32": "i4",
    "Int16": "i2", "Int8": "i1", "UInt8": "u1", "UInt16": "u2", "UInt32": "u4", "UInt64": "u8", "Bool": "?",
}  # fmt: skip


def looks_like(data: bytes) -> bool:
    """A first Value whose first field is a tag."""
    try:
        number, value = next(_fields(memoryview(data)))
        return number == 1 and isinstance(value, memoryview) and next(_fields(value))[0] in (1, 2)
    except (StopIteration, ResnetFeaError):
        return False


def read(data: bytes) -> RawFile:
    """All parameters of the checkpoint."""
    tensors = {}
    for number, value in _fields(memoryview(data)):
        if number != 1 or not isinstance(value, memoryview):
            raise ResnetFeaError(f"field {number} is not one of a MindSpore checkpoint")
        parts = dict(_fields(value))
        tag, tensor = parts.get(1), parts.get(2)
        if not isinstance(tag, memoryview) or not isinstance(tensor, memoryview):
            raise ResnetFeaError("one of its parameters has no name or no tensor")
        name = _text(tag)
        if name in tensors:
            raise ResnetFeaError(f"parameter {name} is there twice")
        dims, dtype, content = _tensor(tensor)
        if dtype not in DTYPES:
            raise ResnetFeaError(f"parameter {name} has the type {dtype!r}, which no ResNet's weights have")
        if dims == (0,) and content:
            dims = ()  # how old MindSpore versions wrote a scalar
        try:
            tensors[name] = from_bytes(DTYPES[dtype], dims, content)
        except ResnetFeaError as error:
            raise ResnetFeaError(f"parameter {name}: {error}") from error
    if not tensors:
        raise ResnetFeaError("holds no parameters")
    return RawFile("ckpt", tensors)


def _tensor(data: memoryview) -> tuple[tuple[int, ...], str, memoryview]:
    dims: list[int] = []
    dtype, content = "", memoryview(b"")
    for number, value in _fields(data):
        if number == 1 and isinstance(value, int):
            dims.append(value)
        elif number == 1 and isinstance(value, memoryview):  # packed: as proto3 writers put repeated numbers
            while value:
                size, value = _varint(value)
                dims.append(size)
        elif number == 2 and isinstance(value, memoryview):
            dtype = _text(value)
        elif number == 3 and isinstance(value, memoryview):
            content = value
    return tuple(dims), dtype, content


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field of one message."""
    while data:
        key, data = _varint(data)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, data = _varint(data)
            yield number, value
            continue
        length = {FIXED64: 8, FIXED32: 4}.get(wire)
        if wire == BYTES:
            length, data = _varint(data)
        if length is None or number == 0:
            raise ResnetFeaError("it is not a protobuf message")
        if length > len(data):
            raise ResnetFeaError("it ends in the middle of a field: cut short?")
        yield number, data[:length]
        data = data[length:]


def _varint(data: memoryview) -> tuple[int, memoryview]:
    """A number of at most 64 bits in groups of seven, and what follows it."""
    value = 0
    for index, byte in enumerate(data[:10]):
        value |= (byte & 127) << (7 * index)
        if byte < 128:
            return value, data[index + 1 :]
    raise ResnetFeaError("it ends in the middle of a number: cut short?")


def _text(data: memoryview) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise ResnetFeaError("a name in it is not UTF-8") from error

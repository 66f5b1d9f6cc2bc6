"""MindSpore's .ckpt: protobuf, read here field by field, so that no size in it is believed before it is compared.

Checkpoint { repeated Value value = 1 }, Value { string tag = 1; TensorProto tensor = 2; MapTensor maptensor = 3 },
TensorProto { repeated int64 dims = 1; string tensor_type = 2; bytes tensor_content = 3 }
(MindSpore 2.10, mindspore/ccsrc/utils/checkpoint.proto). Its own loader takes a 44-byte file for 37 GB (users.md 2a).
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from resnetfea.errors import ResnetFeaError
from resnetfea.weights.arrays import BFLOAT16, MAX_RANK, MAX_TENSORS, from_bytes
from resnetfea.weights.protobuf import Field, encoded, fields, opening, text, varint
from resnetfea.weights.raw import RawFile

DTYPES = {
    "Float32": "f4", "Float16": "f2", "BFloat16": BFLOAT16, "Float64": "f8", "Int64": "i8", "Int32": "i4",
    "Int16": "i2", "Int8": "i1", "UInt8": "u1", "UInt16": "u2", "UInt32": "u4", "UInt64": "u8", "Bool": "?",
}  # fmt: skip
CARD = 1000  # field of our own, behind the parameters; protobuf skips what it does not know (load_checkpoint 2.8, 2.10)
CRC, CRC_BYTES = b"crc_num", 10  # behind the message where it was saved with crc_check=True


def looks_like(data: bytes) -> bool:
    """A first Value whose first field is a tag."""
    try:
        number, value = next(fields(memoryview(data)))
        return number == 1 and isinstance(value, memoryview) and next(fields(value))[0] in (1, 2)
    except (StopIteration, ResnetFeaError):
        return False


def read(data: bytes) -> RawFile:
    """All parameters of the checkpoint."""
    tensors: dict[str, NDArray[Any]] = {}
    card: bytes | None = None
    for number, value in fields(_without_crc(data)):
        if number == CARD and isinstance(value, memoryview) and card is None:
            card = bytes(value)
            continue
        if number != 1 or not isinstance(value, memoryview):
            raise ResnetFeaError(f"field {number} is not one of a MindSpore checkpoint")
        if len(tensors) == MAX_TENSORS:
            raise ResnetFeaError(f"it has more than {MAX_TENSORS:,} parameters")
        tag, tensor = _value(value)
        name = text(tag)
        if name in tensors:
            raise ResnetFeaError(f"parameter {name} is there twice")
        try:
            dims, dtype, content = _tensor(tensor)
            if dims == (0,) and content:
                dims = ()  # how old MindSpore versions wrote a scalar
            tensors[name] = from_bytes(dtype, dims, content)
        except ResnetFeaError as error:
            raise ResnetFeaError(f"parameter {name}: {error}") from error
    if not tensors:
        raise ResnetFeaError("holds no parameters")
    return RawFile("ckpt", tensors, card=card)


def write(stream: BinaryIO, tensors: Mapping[str, NDArray[np.float32]], card: bytes) -> None:
    """As mindspore.save_checkpoint does, with the card behind the parameters."""
    for name, array in tensors.items():
        dims = b"".join(encoded(1, size) for size in array.shape)
        head = dims + encoded(2, b"Float32") + opening(3, array.nbytes)
        tag = encoded(1, name.encode())
        tensor = opening(2, len(head) + array.nbytes)
        stream.write(opening(1, len(tag) + len(tensor) + len(head) + array.nbytes) + tag + tensor + head)
        stream.write(array.astype("<f4", copy=False).data)
    stream.write(encoded(CARD, card))


def _without_crc(data: bytes) -> memoryview:
    body, tail = memoryview(data)[: -len(CRC) - CRC_BYTES], data[-len(CRC) - CRC_BYTES :]
    if not tail.startswith(CRC):
        return memoryview(data)
    if binascii.crc32(body) != int.from_bytes(tail[len(CRC) :], "big"):
        raise ResnetFeaError("its checksum is another: the file is damaged")
    return body


def _value(data: memoryview) -> tuple[memoryview, memoryview]:
    """Tag and tensor of one parameter."""
    parts: dict[int, Field] = {}
    for number, part in fields(data):
        if number in parts or number not in (1, 2):
            raise ResnetFeaError(f"field {number} of a parameter is there twice or is not that of a tensor")
        parts[number] = part
    tag, tensor = parts.get(1), parts.get(2)
    if not isinstance(tag, memoryview) or not isinstance(tensor, memoryview):
        raise ResnetFeaError("one of its parameters has no name or no tensor")
    return tag, tensor


def _tensor(data: memoryview) -> tuple[tuple[int, ...], str, memoryview]:
    """Dimensions, numpy type and content of one tensor."""
    dims: list[int] = []
    parts: dict[int, memoryview] = {}
    for number, value in fields(data):
        if number == 1 and isinstance(value, int):
            dims.append(value)
        elif number == 1 and isinstance(value, memoryview):  # packed: as proto3 writers put repeated numbers
            while value and len(dims) <= MAX_RANK:
                size, value = varint(value)
                dims.append(size)
        elif number in (2, 3) and isinstance(value, memoryview) and number not in parts:
            parts[number] = value
        else:
            raise ResnetFeaError(f"field {number} of its tensor is there twice or is none of MindSpore's")
        if len(dims) > MAX_RANK:
            raise ResnetFeaError(f"has more than {MAX_RANK} dimensions")
    dtype = text(parts.get(2, memoryview(b"")))
    if dtype not in DTYPES:
        raise ResnetFeaError(f"has the type {dtype!r}, which no ResNet's weights have")
    return tuple(dims), DTYPES[dtype], parts.get(3, memoryview(b""))

"""safetensors. The format's own library validates the header: no overlaps, holes or overflow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
import safetensors
from numpy.typing import NDArray

from resnetfea.errors import ResnetFeaError
from resnetfea.weights import card as cards
from resnetfea.weights.arrays import BFLOAT16, from_bytes
from resnetfea.weights.raw import RawFile

DTYPES = {
    "F32": "f4", "F16": "f2", "BF16": BFLOAT16, "F64": "f8", "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1",
    "U8": "u1", "BOOL": "?",
}  # fmt: skip
METADATA = "__metadata__"
ALIGNMENT = 8  # bytes that the numbers begin at a multiple of
# a detector with 1,000 tensors has 0.1 MB; the library allows 100 MB, which become 2 GB of objects
MAX_HEADER = 10 << 20


def looks_like(data: bytes) -> bool:
    """Eight bytes of header length, then JSON."""
    return data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= len(data) - 8


def read(data: bytes) -> RawFile:
    """All tensors of the file."""
    length = int.from_bytes(data[:8], "little")
    if length > MAX_HEADER:
        raise ResnetFeaError("its safetensors header is longer than any ResNet's")
    try:
        safetensors.deserialize(data)  # type: ignore[no-untyped-call] # for what it refuses; its copies go at once
    except safetensors.SafetensorError as error:
        raise ResnetFeaError(f"its safetensors header is broken: {error}") from error
    header = json.loads(data[8 : 8 + length], object_pairs_hook=_unique)
    card = (header.pop(METADATA, None) or {}).get(cards.KEY)
    numbers = memoryview(data)[8 + length :]
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] not in DTYPES:
            raise ResnetFeaError(f"tensor {name} has the type {entry['dtype']}, which no ResNet's weights have")
        try:
            place = slice(*entry["data_offsets"])
            tensors[name] = from_bytes(DTYPES[entry["dtype"]], tuple(entry["shape"]), numbers[place])
        except ResnetFeaError as error:
            raise ResnetFeaError(f"tensor {name}: {error}") from error
    return RawFile("safetensors", tensors, card=None if card is None else card.encode("utf-8", "surrogatepass"))


def write(stream: BinaryIO, tensors: Mapping[str, NDArray[np.float32]], card: bytes) -> None:
    """Straight into the stream: the library would hold the numbers twice more."""
    header: dict[str, Any] = {METADATA: {"format": "pt", cards.KEY: card.decode()}}  # "pt": transformers asks for it
    end = 0
    for name, array in tensors.items():
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % ALIGNMENT)
    stream.write(len(head).to_bytes(8, "little") + head)
    for array in tensors.values():
        stream.write(array.astype("<f4", copy=False).data)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """One JSON object. Of two equal names the library (0.8.0) takes the last and says nothing."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ResnetFeaError("its safetensors header has one name twice")
    return found

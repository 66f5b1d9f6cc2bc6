"""safetensors: a JSON header, then numbers without a hole. Read here, and not by the format's own library.

That one copies all numbers to say whether the header is sound: 0.06 s and 100 MB. A test holds both to one verdict.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
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
    header = _header(data[8 : 8 + length])
    metadata = header.pop(METADATA, None)
    if metadata is None:
        metadata = {}
    elif not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ResnetFeaError("its safetensors header is broken: its metadata is no text")
    card = metadata.get(cards.KEY)
    numbers = memoryview(data)[8 + length :]
    _check_places(header, len(numbers))
    tensors = {}
    for name, entry in header.items():
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


def _header(text: bytes) -> dict[str, Any]:
    """An object of JSON."""
    try:
        header: dict[str, Any] = json.loads(text.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ResnetFeaError(f"its safetensors header is broken: {error}") from error
    return header


def _check_places(header: Mapping[str, Any], numbers: int) -> None:
    """Whether its entries are tensors, and lie behind each other from the first byte of the numbers to the last."""
    places = []
    for name, entry in header.items():
        match entry:
            case {"dtype": str(dtype), "shape": [*sizes], "data_offsets": [first, end]} if all(
                type(one) is int and one >= 0 for one in (*sizes, first, end)
            ):
                places.append((first, end))
            case _:
                raise ResnetFeaError(f"its safetensors header is broken: {name} is no tensor")
        if dtype not in DTYPES:
            raise ResnetFeaError(f"tensor {name} has the type {dtype}, which no ResNet's weights have")
    at = 0
    for first, end in sorted(places):
        if first != at or end < first:
            raise ResnetFeaError("its safetensors header is broken: tensors overlap, or there is a hole between them")
        at = end
    if at != numbers:
        raise ResnetFeaError(f"its safetensors header is broken: its tensors have {at} bytes, {numbers} are there")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """One JSON object. Of two equal names the library (0.8.0) takes the last and says nothing."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ResnetFeaError("its safetensors header has one name twice")
    return found

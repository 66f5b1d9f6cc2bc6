"""safetensors. The format's own library validates the header: no duplicate names, overlaps, holes or overflow."""

from __future__ import annotations

import safetensors

from resnetfea.errors import ResnetFeaError
from resnetfea.weights.arrays import BFLOAT16, from_bytes
from resnetfea.weights.raw import RawFile

DTYPES = {
    "F32": "f4", "F16": "f2", "BF16": BFLOAT16, "F64": "f8", "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1",
    "U8": "u1", "BOOL": "?",
}  # fmt: skip


def looks_like(data: bytes) -> bool:
    """Eight bytes of header length, then JSON."""
    return data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= len(data) - 8


def read(data: bytes) -> RawFile:
    """All tensors of the file."""
    try:
        found = safetensors.deserialize(data)  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError as error:
        raise ResnetFeaError(f"its safetensors header is broken: {error}") from error
    tensors = {}
    for name, entry in found:
        if entry["dtype"] not in DTYPES:
            raise ResnetFeaError(f"tensor {name} has the type {entry['dtype']}, which no ResNet's weights have")
        tensors[name] = from_bytes(DTYPES[entry["dtype"]], tuple(entry["shape"]), entry["data"])
    return RawFile("safetensors", tensors)

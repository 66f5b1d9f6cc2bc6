"""Weights files made by hand, byte by byte, so that tests can get every part of them wrong. No torch, no MindSpore.

HDF5 alone is written by its library: nobody makes its trees by hand.
"""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from resnetfea.weights.torch_file import LEGACY_START

CANARY = "canary"  # a file that appears where a hostile file could run something
FOUR = np.arange(4, dtype="<f4").tobytes()
Refuse = Callable[[bytes], None]
Fill = Callable[[Any], Any]  # puts something into an open h5py.File
DATA = Path(__file__).resolve().parents[1] / "data"
Arrays = Mapping[str, NDArray[Any]]

# ---- pickle, by opcode -----------------------------------------------------------------------------------------------

STORAGE_OF = {"f4": "Float", "f2": "Half", "f8": "Double", "i8": "Long", "i4": "Int", "u1": "Byte"}
EMPTY_TUPLE, FALSE, REDUCE = b")", b"\x89", b"R"


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    size = value.bit_length() // 8 + 1
    return b"\x8b" + struct.pack("<i", size) + value.to_bytes(size, "little", signed=True)


def mention(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def group(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def numbers(values: Iterable[int]) -> bytes:
    return group(*map(number, values))


def storage(kind: str, key: str, count: int, *view: bytes) -> bytes:
    """A reference to a run of numbers; a legacy stream's has one part more, a view or None."""
    named = text("storage"), mention("torch", f"{kind}Storage"), text(key), text("cpu"), number(count)
    return group(*named, *view) + b"Q"


def tensor(stored: bytes, size: Iterable[int], stride: Iterable[int], offset: int = 0) -> bytes:
    hooks = mention("collections", "OrderedDict") + EMPTY_TUPLE + REDUCE
    arguments = group(stored, number(offset), numbers(size), numbers(stride), FALSE, hooks)
    return mention("torch._utils", "_rebuild_tensor_v2") + arguments + REDUCE


def pickled(*parts: bytes) -> bytes:
    return b"\x80\x02" + b"".join(parts) + b"."


def pickled_dict(items: Iterable[tuple[bytes, bytes]]) -> bytes:
    return pickled(b"}(", *(key + value for key, value in items), b"u")


def pickled_tensors(arrays: Arrays, legacy: bool = False) -> bytes:
    items = []
    for key, (name, array) in enumerate(arrays.items()):
        kind = STORAGE_OF[array.dtype.str[1:]]
        stride = [step // array.itemsize for step in array.strides]
        stored = storage(kind, str(key), array.size, *[b"N"] * legacy)
        items.append((text(name), tensor(stored, array.shape, stride)))
    return pickled_dict(items)


def one(value: bytes) -> bytes:
    """A state dict of one tensor."""
    return pickled_dict([(text("conv1.weight"), value)])


def nested_twice(opcode: bytes, times: int = 60) -> bytes:
    """Billion laughs: a value that holds the one before twice, and so on; 2^60 leaves in a few bytes."""
    return text("ha") + b"".join(b"q\x01h\x01" + opcode for _ in range(times))


# ---- containers ------------------------------------------------------------------------------------------------------


def zipped(entries: Iterable[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in entries:
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return stream.getvalue()


def torch_zip(pickle: bytes, storages: Mapping[str, bytes]) -> bytes:
    return zipped([("w/data.pkl", pickle), *((f"w/data/{key}", data) for key, data in storages.items())])


def torch_zip_of(arrays: Arrays) -> bytes:
    stored = {str(key): array.tobytes() for key, array in enumerate(arrays.values())}
    return torch_zip(pickled_tensors(arrays), stored)


def torch_legacy(pickle: bytes, keys: bytes, stored: Iterable[tuple[int, bytes]], endian: bytes = b"\x88") -> bytes:
    head = LEGACY_START + pickled(number(1001)) + pickled_dict([(text("little_endian"), endian)])
    return head + pickle + keys + b"".join(struct.pack("<Q", count) + data for count, data in stored)


def torch_legacy_of(arrays: Arrays) -> bytes:
    keys = pickled(b"](", *(text(str(key)) for key in range(len(arrays))), b"e")
    stored = [(array.size, array.tobytes()) for array in arrays.values()]
    return torch_legacy(pickled_tensors(arrays, legacy=True), keys, stored)


def safetensors(header: str | bytes, body: bytes = b"") -> bytes:
    head = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(head)) + head + body


def safetensors_of(arrays: Arrays) -> bytes:
    names = {"f4": "F32", "f2": "F16", "f8": "F64", "i8": "I64", "i4": "I32", "u1": "U8"}
    header: dict[str, Any] = {}
    body = b""
    for name, array in arrays.items():
        span = [len(body), len(body) + array.nbytes]
        header[name] = {"dtype": names[array.dtype.str[1:]], "shape": array.shape, "data_offsets": span}
        body += array.tobytes()
    return safetensors(json.dumps(header), body)


def varint(value: int) -> bytes:
    groups = bytearray()
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes(groups) + bytes([value])


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def ckpt_tensor(dims: Iterable[int], dtype: str, content: bytes) -> bytes:
    return b"".join(field(1, size) for size in dims) + field(2, dtype.encode()) + field(3, content)


def ckpt_value(tag: str, dims: Iterable[int], dtype: str, content: bytes) -> bytes:
    return field(1, field(1, tag.encode()) + field(2, ckpt_tensor(dims, dtype, content)))


def ckpt_of(arrays: Arrays) -> bytes:
    names = {"f4": "Float32", "f2": "Float16", "f8": "Float64", "i8": "Int64", "i4": "Int32", "u1": "UInt8"}
    return b"".join(
        ckpt_value(name, array.shape, names[array.dtype.str[1:]], array.tobytes()) for name, array in arrays.items()
    )


def h5(fill: Fill, **how: Any) -> bytes:
    """What h5py writes while `fill` has its file."""
    stream = BytesIO()
    with h5py.File(stream, "w", **how) as file:
        fill(file)
    return stream.getvalue()


def h5_dataset(data: Any, name: str = "a", **how: Any) -> Fill:
    """Who fills a file with one dataset."""
    return lambda file: file.create_dataset(name, data=data, **how)


def h5_of(arrays: Arrays) -> bytes:
    def fill(file: Any) -> None:
        for name, array in arrays.items():
            file[name] = array

    return h5(fill)


def npy(descr: str, shape: str, data: bytes, fortran: str = "False") -> bytes:
    """One array; the header's values as they stand there."""
    header = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode()
    return npy_of_header(header) + data


def npy_of_header(header: bytes, version: bytes = b"\1\0") -> bytes:
    return b"\x93NUMPY" + version + struct.pack("<H" if version[0] == 1 else "<I", len(header)) + header


def npz_of(arrays: Arrays) -> bytes:
    return zipped(
        (f"{name}.npy", npy(repr(array.dtype.str), str(array.shape), array.tobytes())) for name, array in arrays.items()
    )


WRITERS: dict[str, Callable[[Arrays], bytes]] = {
    "torch-zip": torch_zip_of,
    "torch-legacy": torch_legacy_of,
    "safetensors": safetensors_of,
    "ckpt": ckpt_of,
    "h5": h5_of,
    "npz": npz_of,
}

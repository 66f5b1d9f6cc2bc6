"""Pickles of arrays as Python 2, Python 3 and both NumPys write them, byte by byte; and torch's before version 0.4."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weights.making import REDUCE, Arrays, group, mention, number, pickled, storage, tensor, text, torch_zip

BUILD = b"b"
Nested = dict[str, Any]


def short_text(value: bytes) -> bytes:
    """Python 2's str, up to 255 bytes."""
    return b"U" + bytes([len(value)]) + value


def python2_string(value: bytes) -> bytes:
    """Python 2's str of any length."""
    return b"T" + struct.pack("<i", len(value)) + value


def python2_dtype(array: NDArray[Any], order: bytes = b"<") -> bytes:
    """dtype('f4'), then its state (3, '<', None, None, None, -1, -1, 0)."""
    code = f"{array.dtype.kind}{array.dtype.itemsize}".encode()
    made = mention("numpy", "dtype") + group(short_text(code), number(0), number(1)) + REDUCE
    return made + group(number(3), short_text(order), b"NNN", number(-1), number(-1), number(0)) + BUILD


def python2_array(array: NDArray[Any], dtype: bytes | None = None, shape: Iterable[int] | None = None) -> bytes:
    """What ndarray.__reduce__ gives under Python 2 and NumPy 1: the bytes are a str."""
    arguments = group(mention("numpy", "ndarray"), group(number(0)), short_text(b"b"))
    made = mention("numpy.core.multiarray", "_reconstruct") + arguments + REDUCE
    sizes = group(*map(number, array.shape if shape is None else shape))
    state = group(number(1), sizes, dtype or python2_dtype(array), b"\x89", python2_string(array.tobytes()))
    return made + state + BUILD


def python2_pickle(arrays: Mapping[str, NDArray[Any]], key: bytes = b"blobs") -> bytes:
    """Detectron's own: cPickle, protocol 2."""
    items = b"".join(short_text(name.encode()) + python2_array(array) for name, array in arrays.items())
    return pickled(b"}", short_text(key), b"}(" + items + b"u", b"s")


def flat(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Python 3, protocol 2: bytes go through _codecs.encode."""
    return pickle.dumps(dict(arrays), protocol=2)


def of_other_numpy(data: bytes) -> bytes:
    """The same pickle as the other NumPy, 1 or 2, writes it."""
    mine, other = (b"numpy._core", b"numpy.core") if np.__version__ >= "2" else (b"numpy.core", b"numpy._core")
    assert mine in data
    return data.replace(mine, other)


WRITERS: dict[str, Callable[[Arrays], bytes]] = {
    "python 2, blobs": python2_pickle,
    "protocol 2": flat,
    "protocol 2, the other NumPy": lambda arrays: of_other_numpy(flat(arrays)),
    "protocol 3": lambda arrays: pickle.dumps({"model": dict(arrays), "__author__": "third_party"}, protocol=3),
    "protocol 4, blobs": lambda arrays: pickle.dumps({"blobs": dict(arrays), "cfg": "MODEL:"}, protocol=4),
    "protocol 5": lambda arrays: pickle.dumps(dict(arrays), protocol=5),
}


def checkpoint(tree: Nested) -> bytes:
    """A torch zip of dictionaries, arrays, numbers, texts and ready opcodes."""
    stored: dict[str, bytes] = {}

    def opcodes(value: Any) -> bytes:
        if isinstance(value, dict):
            return b"}(" + b"".join(text(key) + opcodes(part) for key, part in value.items()) + b"u"
        if isinstance(value, bytes):
            return value
        if isinstance(value, int):
            return number(value)
        if isinstance(value, str):
            return text(value)
        key = str(len(stored))
        stored[key] = value.tobytes()
        stride = [step // value.itemsize for step in value.strides]
        return tensor(storage("Float", key, value.size), value.shape, stride)

    return torch_zip(pickled(opcodes(tree)), stored)

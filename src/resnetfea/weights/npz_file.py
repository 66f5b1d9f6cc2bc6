"""NumPy's .npz, written by np.savez or np.savez_compressed: a zip of arrays, each behind a small header of text.

The header is a Python literal (numpy 2.4, lib/_format_impl.py). It is matched here piece by piece and never evaluated:
NumPy's own reader takes a descr of objects, records or any nesting that fits into its text.
"""

from __future__ import annotations

import re
import struct
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from resnetfea.errors import ResnetFeaError
from resnetfea.weights import zip_file
from resnetfea.weights.arrays import from_bytes
from resnetfea.weights.raw import RawFile

SUFFIX = ".npy"
MAGIC = b"\x93NUMPY"
LENGTH_BYTES = {1: 2, 2: 4, 3: 4}  # of the header's length, by the format's version
MAX_HEADER = 10_000  # as numpy.lib.format; an array of 8 dimensions has some 200
ITEM = rb"'(\w+)': *('[^']*'|True|False|\([\dL, ]*\))"
HEADER = re.compile(rb"\{%s(?:, *%s){2},? *\} *\n?" % (ITEM, ITEM))
PLAIN = re.compile(r"'([<>|]?)(f[248]|[iu][1248]|b1)'")
SIZE = r"(?:0|[1-9]\d{0,18})L?"  # the L is Python 2's
SHAPE = re.compile(rf"\((?:|{SIZE},|{SIZE}(?:, *{SIZE})+,?)\)")


def looks_like(data: bytes) -> bool:
    """A zip whose first entry is an array: torch's begins with its pickle."""
    length = int.from_bytes(data[26:28], "little")
    name = data[zip_file.LOCAL_HEADER : zip_file.LOCAL_HEADER + length]
    return data.startswith(zip_file.START) and name.endswith(SUFFIX.encode())


def read(data: bytes) -> RawFile:
    """All arrays of the file; those stored plain are views of it."""
    archive = zip_file.opened(data)
    tensors: dict[str, NDArray[Any]] = {}
    for entry in archive.entries:
        if not entry.endswith(SUFFIX):
            raise ResnetFeaError(f"it holds {entry}, which is not an array (.npy)")
        name = entry.removesuffix(SUFFIX)
        try:
            tensors[name] = _array(zip_file.unpacked(archive, entry))
        except ResnetFeaError as error:
            raise ResnetFeaError(f"array {name}: {error}") from error
    unpacked = sum(entry.size for entry in archive.entries.values())
    return RawFile("npz", tensors, card=archive.comment or None, unpacked=unpacked)


def write(stream: BinaryIO, tensors: Mapping[str, NDArray[np.float32]], card: bytes) -> None:
    """As np.savez, but the same bytes whatever the date; the card is the zip's comment, which np.load passes by."""
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = card
        for name, array in tensors.items():
            with archive.open(zipfile.ZipInfo(name + SUFFIX), "w") as entry:
                entry.write(_header(array.shape))
                entry.write(array.astype("<f4", copy=False).data)


def _header(shape: tuple[int, ...]) -> bytes:
    """Of version 1; it ends in a line break, and the numbers begin at a multiple of 64."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(len(MAGIC) + 4 + len(text) + 1) % 64) + "\n"
    return MAGIC + b"\1\0" + struct.pack("<H", len(text)) + text.encode()


def _array(data: memoryview) -> NDArray[Any]:
    """One .npy: magic, version, the header's length, the header, the numbers."""
    version = data[len(MAGIC) : len(MAGIC) + 2].tolist()
    if data[: len(MAGIC)] != MAGIC or len(version) != 2 or version[0] not in LENGTH_BYTES or version[1] != 0:
        raise ResnetFeaError("it does not begin as a .npy of version 1 to 3")
    start = len(MAGIC) + 2 + LENGTH_BYTES[version[0]]
    length = int.from_bytes(data[len(MAGIC) + 2 : start], "little")
    if length > min(MAX_HEADER, len(data) - start):
        raise ResnetFeaError(f"its header is cut short, or longer than {MAX_HEADER:,} bytes")
    order, kind, shape, fortran = _described(bytes(data[start : start + length]))
    found = from_bytes(kind, shape[::-1] if fortran else shape, data[start + length :])
    if order == ">":
        found = found.byteswap()
    return found.T if fortran else found


def _described(header: bytes) -> tuple[str, str, tuple[int, ...], bool]:
    """Byte order, element type, shape, and whether the first index runs fastest."""
    if not HEADER.fullmatch(header):
        raise ResnetFeaError("its header is not one of a plain array of numbers")
    found = dict(re.findall(ITEM, header))
    descr, fortran, shape = (found.get(key, b"").decode("latin-1") for key in (b"descr", b"fortran_order", b"shape"))
    plain = PLAIN.fullmatch(descr)
    if plain is None:
        raise ResnetFeaError(f"it holds {descr or 'nothing'}, not plain numbers")
    if not SHAPE.fullmatch(shape) or fortran not in ("True", "False"):
        raise ResnetFeaError("its header is not one of a plain array of numbers")
    return plain[1], plain[2], tuple(map(int, re.findall(r"\d+", shape))), fortran == "True"

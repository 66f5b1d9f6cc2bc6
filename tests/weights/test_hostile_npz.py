"""NumPy's .npz with headers, sizes and entries that lie."""

from __future__ import annotations

import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from resnetfea.errors import ResnetFeaError
from resnetfea.weights import look, npz_file
from weights.making import CANARY, FOUR, Refuse, npy, npy_of_header, zipped

GOOD = npy("'<f4'", "(4,)", FOUR)


class Touch:
    """An object whose unpickling would leave the canary."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (CANARY, "w")


def alone(data: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    return zipped([("bn1.weight.npy", data)], method)


def deflated(data: bytes) -> bytes:
    return alone(data, zipfile.ZIP_DEFLATED)


def of_header(text: str) -> bytes:
    return alone(npy_of_header(text.encode()) + FOUR)


PICKLED = pickle.dumps(np.array([Touch()], dtype=object), protocol=2)
ARRAYS = {
    "objects, which numpy would unpickle": alone(npy("'|O'", "(1,)", PICKLED)),
    "objects without a pickle": alone(npy("'|O'", "(2,)", FOUR)),
    "records": alone(npy("[('a', '<f4'), ('b', '<f4')]", "(2,)", FOUR)),
    "a record in a text": alone(npy("'<f4,<f4'", "(2,)", FOUR)),
    "text": alone(npy("'<U1'", "(4,)", FOUR)),
    "raw bytes": alone(npy("'|V4'", "(4,)", FOUR)),
    "dates": alone(npy("'<M8[s]'", "(2,)", FOUR)),
    "complex numbers": alone(npy("'<c8'", "(2,)", FOUR)),
    "longer than a double": alone(npy("'<f16'", "(1,)", FOUR)),
    "a quarter of a float": alone(npy("'|f1'", "(16,)", FOUR)),
    "37 GB in 16 bytes": alone(npy("'<f4'", "(100000, 100000)", FOUR)),
    "a product that wraps around": alone(npy("'<f4'", "(4294967296, 4294967296, 4)", FOUR)),
    "one more than is there": alone(npy("'<f4'", "(5,)", FOUR)),
    "one less than is there": alone(npy("'<f4'", "(3,)", FOUR)),
    "half an element more": alone(npy("'<f4'", "(4,)", FOUR + b"12")),
    "a negative size": alone(npy("'<f4'", "(-2, -2)", FOUR)),
    "a size that is no number": alone(npy("'<f4'", "(4.0,)", FOUR)),
    "a size of 5,000 digits": of_header("{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 5000 + ",)}"),
    "no tuple": alone(npy("'<f4'", "(4)", FOUR)),
    "a list": alone(npy("'<f4'", "[4]", FOUR)),
    "a thousand dimensions": alone(npy("'<f4'", str((1,) * 999 + (4,)), FOUR)),
    "code for a shape": alone(npy("'<f4'", f"(open('{CANARY}', 'w').write('x'),)", FOUR)),
    "code for an order": alone(npy("'<f4'", "(4,)", FOUR, "__import__('os')")),
    "an order that is a number": alone(npy("'<f4'", "(4,)", FOUR, "0")),
    "deep brackets": of_header("{'descr': '<f4', 'fortran_order': False, 'shape': " + "(" * 4000 + ")" * 4000 + "}"),
    "a field twice": of_header("{'descr': '<f4', 'descr': '<f4', 'shape': (4,)}"),
    "a field too many": of_header("{'descr': '<f4', 'fortran_order': False, 'shape': (4,), 'more': (4,)}"),
    "a field too few": of_header("{'descr': '<f4', 'fortran_order': False}"),
    "an unknown field": of_header("{'descr': '<f4', 'fortran_order': False, 'size': (4,)}"),
    "no dictionary": of_header("('<f4', False, (4,))"),
    "not ASCII": alone(npy_of_header("{'descr': '<f4', 'fortran_order': False, 'shape': (４,)}".encode()) + FOUR),
    "a type that is not ASCII": alone(
        npy_of_header(b"{'descr': '<f\x81', 'fortran_order': False, 'shape': (4,)}") + FOUR
    ),
    "a header longer than any": of_header("{'descr': '<f4', 'fortran_order': False, 'shape': (4,)}" + " " * 10_000),
    "a header longer than the file": alone(b"\x93NUMPY\2\0" + struct.pack("<I", 1 << 31) + b"{}"),
    "version 4": alone(npy_of_header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (4,)}", b"\4\0") + FOUR),
    "version 1.9": alone(b"\x93NUMPY\1\x09" + GOOD[8:]),
    "only the magic": alone(b"\x93NUMPY"),
    "empty": alone(b""),
    "not .npy inside": alone(FOUR),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_array(name: str, refuse: Refuse) -> None:
    refuse(ARRAYS[name])
    with pytest.raises(ResnetFeaError, match=r"^array bn1\.weight: "):
        npz_file.read(ARRAYS[name])


def patched(data: bytes, local: int, central: int, value: bytes) -> bytes:
    """The first entry's field changed in both of its headers."""
    changed = bytearray(data)
    directory = data.index(b"PK\1\2")
    changed[local : local + len(value)] = value
    changed[directory + central : directory + central + len(value)] = value
    return bytes(changed)


def number(value: int) -> bytes:
    return struct.pack("<I", value)


def duplicated() -> bytes:
    with pytest.warns(UserWarning, match="Duplicate"):
        return zipped([("bn1.weight.npy", GOOD), ("bn1.weight.npy", GOOD)])


def overlapping() -> bytes:
    data = bytearray(zipped([("a.npy", GOOD), ("b.npy", GOOD)]))
    first, second = (at for at in range(len(data)) if data[at : at + 4] == b"PK\1\2")
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    return bytes(data)


def hidden(size: int) -> bytes:
    """Bytes between the entry and the directory that nothing accounts for."""
    data = alone(GOOD)
    at = data.index(b"PK\1\2")
    start = struct.unpack("<I", data[-6:-2])[0]
    return data[:at] + bytes(size) + data[at:-6] + struct.pack("<I", start + size) + data[-2:]


def trailing_deflate() -> bytes:
    """Compressed bytes behind the end of the compressed stream, inside the entry."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(GOOD) + packer.flush() + b"more"
    plain = alone(packed)  # as a stored entry, then said to be deflated
    data = patched(plain, 8, 10, struct.pack("<H", zipfile.ZIP_DEFLATED))
    data = patched(data, 22, 24, number(len(GOOD)))
    return patched(data, 14, 16, number(zlib.crc32(GOOD)))


def with_comment(comment: bytes) -> bytes:
    return alone(GOOD)[:-2] + struct.pack("<H", len(comment)) + comment


def bomb() -> bytes:
    """100 MB of zeros in 0.1 MB."""
    return deflated(npy("'<f4'", "(262144, 100)", bytes(100 << 20)))


DEFLATED = deflated(GOOD * 10)
ZIPS: dict[str, tuple[str, Callable[[], bytes]]] = {  # what it is: (the reason given, the bytes)
    "a bomb": ("would unpack to", bomb),
    "a bomb of many": (
        "would unpack to",
        lambda: zipped(
            [(f"{i}.npy", npy("'<f4'", "(1048576,)", bytes(4 << 20))) for i in range(25)], zipfile.ZIP_DEFLATED
        ),
    ),
    "a bomb that says it is small": (
        "does not unpack",
        lambda: patched(bomb(), 22, 24, number(1000)),
    ),
    "deflated to less than it says": ("does not unpack", lambda: patched(DEFLATED, 22, 24, number(len(GOOD) * 10 + 1))),
    "deflated to more than it says": ("does not unpack", lambda: patched(DEFLATED, 22, 24, number(len(GOOD) * 10 - 1))),
    "deflated, another checksum": ("checksum", lambda: patched(DEFLATED, 14, 16, number(7))),
    "stored, another checksum": ("checksum", lambda: patched(alone(GOOD), 14, 16, number(7))),
    "stored with two sizes": ("two sizes", lambda: patched(alone(GOOD), 22, 24, number(len(GOOD) + 4))),
    "4 GB in the directory": ("would unpack to", lambda: patched(alone(GOOD), 22, 24, number(0xFFFFFFF0))),
    "bzip2": ("by method 12", lambda: alone(GOOD, zipfile.ZIP_BZIP2)),
    "lzma": ("by method 14", lambda: alone(GOOD, zipfile.ZIP_LZMA)),
    "stored in one header, deflated in the other": ("by method", lambda: alone(GOOD)[:8] + b"\x08" + alone(GOOD)[9:]),
    "encrypted": ("is encrypted", lambda: patched(alone(GOOD), 6, 8, b"\1")),
    "encrypted in one header": ("is encrypted", lambda: alone(GOOD)[:6] + b"\1" + alone(GOOD)[7:]),
    "another name in front": ("in two ways", lambda: alone(GOOD).replace(b"bn1.weight", b"bn1.Weight", 1)),
    "one name twice": ("have one name", duplicated),
    "a name that ends in NUL": ("in two ways", lambda: zipped([("a.npy", GOOD)]).replace(b"a.npy", b"a\0.py")),
    "overlapping": ("overlap", overlapping),
    "a hole": ("leave holes", lambda: hidden(100)),
    "something else beside": (
        "run.py, which is",
        lambda: zipped([("bn1.weight.npy", GOOD), ("run.py", b"")]),
    ),
    "a folder": ("a/, which is", lambda: zipped([("bn1.weight.npy", GOOD), ("a/", b"")])),
    "an empty zip behind": ("lies in front", lambda: alone(GOOD) + zipped([])),
    "more behind": ("more follows", lambda: alone(GOOD) + b"more"),
    "more behind what the comment's length says": ("more follows", lambda: with_comment(b"x") + b"more"),
    "a comment that is no card": ("card is not JSON", lambda: with_comment(b"made by hand")),
    "a comment that ends a zip": ("lies in front", lambda: with_comment(b"PK\5\6" + bytes(18))),
    "no entry": ("cut short or empty", lambda: zipped([])),
    "more behind the deflated end": ("does not unpack", trailing_deflate),
}


@pytest.mark.parametrize("name", ZIPS)
def test_zip(name: str, refuse: Refuse, tmp_path: Path) -> None:
    reason, make = ZIPS[name]
    refuse(make())
    with pytest.raises(ResnetFeaError, match=reason):
        look(tmp_path / "hostile.pth")


def test_what_these_are_made_from_is_read(tmp_path: Path) -> None:
    for data in (alone(GOOD), alone(GOOD, zipfile.ZIP_DEFLATED), hidden(0), hidden(16)):
        (tmp_path / "w.npz").write_bytes(data)
        assert look(tmp_path / "w.npz").missing[0] == "conv1.weight"
    assert not (tmp_path / CANARY).exists()

"""The numbers of an ONNX model's tensors: in the model's own bytes, or in data files beside it.

A data file is named by the model, so by a stranger. It is opened only where it lies in the model's own folder, as a
regular file under one name: no "..", no link out, no pipe. (CVE-2024-27318, CVE-2024-5187, CVE-2025-51480,
CVE-2026-27489 and CVE-2026-34445 are what other readers left open.) A HuggingFace cache, where model and data are
both links into one folder of blobs, is let in.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetfea.errors import ResnetFeaError, printable
from resnetfea.weights.arrays import BFLOAT16, MAX_RANK, from_bytes, item_bytes
from resnetfea.weights.onnx_model import Tensor, integers

DTYPES: dict[int, str] = {  # TensorProto.DataType
    1: "f4", 10: "f2", 16: BFLOAT16, 11: "f8", 7: "i8", 6: "i4", 5: "i2", 3: "i1", 13: "u8", 12: "u4", 4: "u2", 2: "u1",
    9: "?",
}  # fmt: skip
PACKED = {1: 4, 11: 10}  # type -> the field that holds its numbers packed, where there is no raw_data
VARINTS = {7: 7, 6: 5, 10: 5, 16: 5}  # type -> the field that holds them one by one; half floats as their bits
KEYS = {"location", "offset", "length"}
MAX_FILES = 1000  # onnx.save can write one file for each tensor
# Writers may begin a tensor at a multiple of this, and fill up with zeros: onnx 1.23's external_data_helper allows
# 64 KiB between two, onnx_ir 1.1's external_data tells that earlier versions always did so; torch 2.13 leaves none.
ALIGNMENT, MAX_GAP = 4096, 65536
LONE = 1  # hard links of a file that has one name


class DataFiles:
    """The data files of one model, each read once and whole: at most `most` bytes of them all."""

    def __init__(self, model: Path | None, most: int) -> None:
        self.sha256: dict[str, str] = {}  # by location
        self.size = 0
        self._model, self._most = model, most
        self._content: dict[str, memoryview] = {}
        self._opened: set[tuple[int, int]] = set()  # device and inode

    def check(self, tensors: Iterable[Tensor]) -> None:
        """Reads the files. Every tensor has its own span, and nothing but filling lies between the spans."""
        spans: dict[str, list[tuple[int, int, str]]] = {}
        for tensor in tensors:
            if tensor.external is not None:
                location, first, end = self._span(tensor)
                spans.setdefault(location, []).append((first, end, tensor.name))
        if len(spans) > MAX_FILES:
            raise ResnetFeaError(f"its tensors lie in {len(spans)} files; at most {MAX_FILES} are read")
        for location in spans:
            self._read(location)
        for location, found in spans.items():
            self._check_spans(location, sorted(found))

    def _check_spans(self, location: str, spans: list[tuple[int, int, str]]) -> None:
        content = self._content[location]
        for _, end, name in spans:
            if end > len(content):
                raise ResnetFeaError(f"{location!r} ends before the numbers of {name!r}: cut short?")
        for (_, end, _), (first, _, name) in pairwise(spans):
            if first < end:
                raise ResnetFeaError(f"{name!r} shares its numbers in {location!r} with another tensor")
        position = 0
        for first, end, name in spans:
            if first > position and (first % ALIGNMENT or not _is_filling(content[position:first])):
                raise ResnetFeaError(f"{location!r} has bytes before {name!r} that belong to no tensor")
            position = end
        if not _is_filling(content[position:]):
            raise ResnetFeaError(f"{location!r} has bytes at its end that belong to no tensor")

    def array(self, tensor: Tensor) -> NDArray[Any]:
        """The tensor's numbers; not a copy where it need not be.

        Raises:
            ResnetFeaError: they are not dtype x shape.
        """
        dtype, parts = _dtype(tensor), tensor.parts
        stored = sorted({4, 5, 7, 9, 10, 11} & parts.keys())
        if tensor.external is not None:
            if stored:
                raise ResnetFeaError("lies in another file and in this one")
            location, first, end = self._span(tensor)
            return from_bytes(dtype, tensor.shape, self._content[location][first:end])
        if stored == [VARINTS.get(tensor.dtype)]:
            numbers = np.array(integers(parts, stored[0]), np.int64)
            bits = {"f2": "<u2", BFLOAT16: "<u2", "i4": "<i4"}.get(dtype, "<i8")
            return from_bytes(dtype, tensor.shape, numbers.astype(bits).tobytes())
        if len(stored) > 1 or (stored and stored[0] not in (9, PACKED.get(tensor.dtype))):
            raise ResnetFeaError(f"its numbers lie in a field that type {tensor.dtype} does not use")
        chunks = parts[stored[0]] if stored else [b""]
        if any(isinstance(chunk, int) for chunk in chunks):
            raise ResnetFeaError("a number stands where bytes belong")
        raw = chunks[0] if len(chunks) == 1 else b"".join(chunks)  # type: ignore[arg-type]
        return from_bytes(dtype, tensor.shape, raw)  # type: ignore[arg-type]

    def _span(self, tensor: Tensor) -> tuple[str, int, int]:
        """(location, first byte, byte behind the last) as the model says, and as dtype x shape has it."""
        entries = tensor.external or {}
        if "location" not in entries or not entries.keys() <= KEYS:
            raise ResnetFeaError(f"{tensor.name!r} lies in another file, in a way that is not read: {dict(entries)}")
        if len(tensor.shape) > MAX_RANK or any(size < 0 for size in tensor.shape):
            raise ResnetFeaError(f"{tensor.name!r} has the shape {tensor.shape[:MAX_RANK]}")
        size = item_bytes(_dtype(tensor))
        for one in tensor.shape:
            size *= one
        first, length = _whole(tensor.name, entries.get("offset", "0")), entries.get("length")
        if length is not None and _whole(tensor.name, length) != size:
            raise ResnetFeaError(f"{tensor.name!r} has {length} bytes elsewhere; its type and shape need {size}")
        return entries["location"], first, first + size

    def _read(self, location: str) -> None:
        if self._model is None:
            raise ResnetFeaError(f"its numbers lie in another file, {location!r}")
        try:
            data = self._bytes_of(self._place(self._model, location))
        except (OSError, ValueError) as error:  # ValueError: a null byte
            reason = getattr(error, "strerror", None) or error
            raise ResnetFeaError(f"its numbers lie in {location!r}, which cannot be read: {reason}") from error
        except ResnetFeaError as error:
            raise ResnetFeaError(f"its numbers lie in {location!r}, {error}") from error
        self.size += len(data)
        self.sha256[location] = hashlib.sha256(data).hexdigest()
        self._content[location] = memoryview(data)

    def _place(self, model: Path, location: str) -> Path:
        """The file of this location, every folder on the way and the file itself looked at."""
        parts = location.split("/")
        if any(part in ("", ".", "..") or set(part) & set("\\:\0") for part in parts):
            raise ResnetFeaError("which is not a plain path in the model's folder")
        # a link to a model alone: its data lies where the model does
        place = model.parent if os.path.lexists(model.parent / parts[0]) else self._home
        for part in parts[:-1]:
            place /= part
            if not stat.S_ISDIR(os.lstat(place).st_mode):
                raise ResnetFeaError("which does not lie in the model's folder itself")
        place /= parts[-1]
        if place.is_symlink():
            target = Path(os.path.realpath(place))
            if not model.is_symlink() or target.parent != self._home:
                raise ResnetFeaError("which is a link; it is read only where the model is one too, to the same folder")
            place = target
        if os.path.samefile(place, model):
            raise ResnetFeaError("which is the model itself")
        return place

    def _bytes_of(self, place: Path) -> bytes:
        """The file's bytes. It is looked at before it is opened, as a pipe would wait, and again behind it."""
        before = os.lstat(place)
        if not stat.S_ISREG(before.st_mode):
            raise ResnetFeaError("which is not a regular file")
        if before.st_nlink != LONE or (before.st_dev, before.st_ino) in self._opened:
            raise ResnetFeaError("which has a second name (a link); copy it")
        if before.st_size > self._most - self.size:
            raise ResnetFeaError(f"which has {before.st_size:,} bytes; no ResNet's weights need that many")
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with open(os.open(place, flags), "rb") as file:
            after = os.fstat(file.fileno())
            if (after.st_dev, after.st_ino, after.st_size) != (before.st_dev, before.st_ino, before.st_size):
                raise ResnetFeaError("which changed while it was being opened")
            self._opened.add((after.st_dev, after.st_ino))
            return file.read(before.st_size)

    @cached_property
    def _home(self) -> Path:
        """Where the model's bytes really lie."""
        assert self._model is not None
        return Path(os.path.realpath(self._model)).parent


def _dtype(tensor: Tensor) -> str:
    if tensor.dtype not in DTYPES:
        raise ResnetFeaError(f"is stored as type {tensor.dtype}, which no ResNet's weights are")
    return DTYPES[tensor.dtype]


def _whole(name: str, text: str) -> int:
    """offset and length are text: decimal digits, not too many."""
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ResnetFeaError(f"{name!r} lies at {printable(text[:30])!r} in another file, which is no number")
    return int(text)


def _is_filling(between: memoryview) -> bool:
    return len(between) < MAX_GAP and not np.frombuffer(between, np.uint8).any()

"""PyTorch's .pth: the zip container of torch 1.6 and later, and the legacy stream before it. Without torch.

Layout from torch 2.13, torch/serialization.py: `_load` (zip) and `_legacy_load`.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from resnetfea.errors import ResnetFeaError
from resnetfea.weights.arrays import BFLOAT16, from_bytes, item_bytes
from resnetfea.weights.pickle_machine import Global, Machine, UnsafePickle
from resnetfea.weights.raw import RawFile

MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a legacy file
LEGACY_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # that number as torch writes it
LEGACY_PROTOCOL = 1001
MAX_PICKLE_BYTES = 64 << 20  # a checkpoint's pickle has some 100 KB; the numbers lie outside it
STORAGES = {
    Global("torch", f"{name}Storage"): dtype
    for name, dtype in {
        "Float": "f4", "Half": "f2", "BFloat16": BFLOAT16, "Double": "f8", "Long": "i8", "Int": "i4",
        "Short": "i2", "Char": "i1", "Byte": "u1", "Bool": "?",
    }.items()
}  # fmt: skip


class Storage(NamedTuple):
    """A run of numbers that tensors are cut from."""

    dtype: str
    key: str
    numbers: int


class Strided(NamedTuple):
    """A tensor as the pickle describes it; offset and strides in elements."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def read_zip(data: bytes) -> RawFile:
    """The state dict of a zip container."""
    try:
        archive = zipfile.ZipFile(BytesIO(data))
        entries = {entry.filename: entry for entry in archive.infolist()}
        if len(entries) != len(archive.infolist()):
            raise ResnetFeaError("two entries of its zip have one name")
        if sum(entry.file_size for entry in entries.values()) > len(data) or any(
            entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()
        ):
            raise ResnetFeaError("its zip is compressed or larger inside than outside; torch stores plain")
        roots = [name.removesuffix("data.pkl") for name in entries if name.endswith("/data.pkl")]
        root = roots[0] if len(roots) == 1 else ""
        if not root or f"{root}constants.pkl" in entries:
            raise ResnetFeaError("a zip without a torch state dict (TorchScript or another format)")
        if f"{root}byteorder" in entries and archive.read(f"{root}byteorder") != b"little":
            raise ResnetFeaError("written on a big-endian machine")
        value = _machine().run(_checked_pickle(archive.read(f"{root}data.pkl")))
        return _state_dict("torch-zip", value, lambda storage: archive.read(f"{root}data/{storage.key}"))
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise ResnetFeaError(f"its zip is broken: {error}") from error


def read_legacy(data: bytes) -> RawFile:
    """The state dict of a legacy stream: three small pickles, the dict, the storages' keys, then their numbers."""
    stream, machine = BytesIO(data), _machine()
    head = [machine.run(stream) for _ in range(3)]
    if head[:2] != [MAGIC, LEGACY_PROTOCOL] or not isinstance(head[2], dict) or not head[2].get("little_endian"):
        raise ResnetFeaError("its legacy head is not that of torch on a little-endian machine")
    seen: dict[str, Storage] = {}
    value = _machine(seen).run(stream)
    keys = machine.run(stream)
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(seen):
        raise ResnetFeaError("its storages are not those that its tensors use")
    parts: dict[str, bytes] = {}
    for key in keys:
        count = int.from_bytes(stream.read(8), "little")
        if count != seen[key].numbers:
            raise ResnetFeaError(f"storage {key} has {count} numbers, {seen[key].numbers} expected")
        parts[key] = stream.read(count * item_bytes(seen[key].dtype))
    if stream.read(1):
        raise ResnetFeaError("more follows behind its last storage")
    return _state_dict("torch-legacy", value, lambda storage: parts[storage.key])


def _checked_pickle(data: bytes) -> BytesIO:
    if len(data) > MAX_PICKLE_BYTES:
        raise ResnetFeaError(f"its pickle has {len(data):,} bytes; no state dict needs that")
    return BytesIO(data)


def _machine(seen: dict[str, Storage] | None = None) -> Machine:
    """A machine for torch's vocabulary; `seen` collects the storages by key."""

    def persistent(identity: Any) -> Storage:
        match identity:
            case ("storage", Global() as kind, str(key), str(), int(count), *view) if (
                kind in STORAGES and count >= 0 and view in ([], [None])
            ):
                storage = Storage(STORAGES[kind], key, count)
                if seen is not None and seen.setdefault(key, storage) != storage:
                    raise UnsafePickle(f"it describes storage {key} in two ways")
                return storage
        raise UnsafePickle("its pickle refers to something that is not a plain storage")

    return Machine(CALLS, frozenset(STORAGES), persistent)


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Strided:
    numbers = (offset, *size, *stride)
    if (
        not isinstance(storage, Storage)
        or not all(type(n) is int and n >= 0 for n in numbers)
        or len(size) != len(stride)
    ):
        raise UnsafePickle("its pickle builds a tensor from what is not a storage with sizes")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if math.prod(size) > storage.numbers or (math.prod(size) and last >= storage.numbers):
        raise UnsafePickle(f"a tensor of shape {tuple(size)} reaches beyond its storage of {storage.numbers} numbers")
    return Strided(storage, offset, tuple(size), tuple(stride))


def _rebuild_parameter(tensor: Any, *_: Any) -> Strided:
    if not isinstance(tensor, Strided):
        raise UnsafePickle("its pickle makes a parameter of what is not a tensor")
    return tensor


def _ordered_dict(*pairs: Any) -> dict[Any, Any]:
    if pairs and pairs != ([],):
        raise UnsafePickle("its pickle fills an OrderedDict in a way that torch does not")
    return {}


CALLS: dict[Global, Callable[..., Any]] = {
    Global("collections", "OrderedDict"): _ordered_dict,
    Global("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    Global("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}


def _state_dict(container: str, value: Any, read: Callable[[Storage], bytes]) -> RawFile:
    """The tensors of a bare state dict, or of one under `state_dict` or `model`."""
    if not isinstance(value, dict):
        raise ResnetFeaError("holds no state dict")
    inner = next((value[key] for key in ("state_dict", "model") if isinstance(value.get(key), dict)), value)
    beside = () if inner is value else tuple(str(key) for key in value if value[key] is not inner)
    cache: dict[str, bytes] = {}
    tensors: dict[str, NDArray[Any]] = {}
    for name, tensor in inner.items():
        if not isinstance(tensor, Strided):
            beside += (str(name),)
            continue
        key = tensor.storage.key
        if key not in cache:
            cache[key] = read(tensor.storage)
        tensors[str(name)] = _cut(tensor, cache[key])
    return RawFile(container, tensors, beside)


def _cut(tensor: Strided, data: bytes) -> NDArray[Any]:
    """The tensor's numbers out of its storage's bytes; _rebuild_tensor has seen to it that they are all inside."""
    flat = from_bytes(tensor.storage.dtype, (tensor.storage.numbers,), data)
    steps = tuple(step * flat.itemsize for step in tensor.stride)
    return np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.size, steps, writeable=False)

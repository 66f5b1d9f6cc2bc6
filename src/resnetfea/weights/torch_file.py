"""PyTorch's .pth: the zip container of torch 1.6 and later, and the legacy stream before it. Without torch.

Layout from torch 2.13, torch/serialization.py: `_load` (zip) and `_legacy_load`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from resnetfea.errors import ResnetFeaError
from resnetfea.weights import not_weights, numpy_pickle, zip_file
from resnetfea.weights.arrays import BFLOAT16, MAX_RANK, from_bytes, is_possible, item_bytes
from resnetfea.weights.pickle_machine import Global, Machine, Source, UnsafePickle
from resnetfea.weights.pickle_words import PLAIN_CALLS
from resnetfea.weights.raw import RawFile
from resnetfea.weights.wrappers import unwrap

MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a legacy file
LEGACY_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # that number as torch writes it
LEGACY_PROTOCOL = 1001
MAX_NUMBER = 1 << 48  # of an offset, size or stride; a view's steps in bytes must fit into 64 bits
MAX_PICKLE_BYTES = 64 << 20  # a checkpoint's pickle has some 100 KB; the numbers lie outside it
OF_TORCH = r"(data\.pkl|data/[^/]+|version|byteorder|\.\w+|\.data/\w+)"  # entries of a torch zip, below its folder
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
    seen: dict[str, Storage] = {}
    archive, root = _opened_zip(data)
    names = archive.entries.keys()
    if f"{root}byteorder" in names and bytes(zip_file.unpacked(archive, f"{root}byteorder")) != b"little":
        raise ResnetFeaError("written on a big-endian machine")
    pickle = Source(bytes(zip_file.unpacked(archive, f"{root}data.pkl")))
    value = _machine(seen).run(pickle)
    if pickle.left:
        raise ResnetFeaError("more follows behind the end of its pickle")
    if {f"{root}data/{key}" for key in seen} != {name for name in names if name.startswith(f"{root}data/")}:
        raise ResnetFeaError("its storages are not those that its tensors use")
    return _state_dict("torch-zip", value, lambda storage: zip_file.unpacked(archive, f"{root}data/{storage.key}"))


def _opened_zip(data: bytes) -> tuple[zip_file.Archive, str]:
    """The archive, all of it plain, and the folder that all of it lies in."""
    archive = zip_file.opened(data)
    what = not_weights.zip_known_as(archive.entries)
    if what:
        raise ResnetFeaError(what)
    if archive.comment or any(entry.deflated for entry in archive.entries.values()):
        raise ResnetFeaError("its zip is compressed or has a comment; torch stores plain")
    roots = [name.removesuffix("data.pkl") for name in archive.entries if name.endswith("/data.pkl")]
    if len(roots) != 1 or any(not re.fullmatch(re.escape(roots[0]) + OF_TORCH, name) for name in archive.entries):
        raise ResnetFeaError("a zip, but of no state dict alone")
    if archive.entries[f"{roots[0]}data.pkl"].size > MAX_PICKLE_BYTES:
        raise ResnetFeaError(f"its pickle has more than {MAX_PICKLE_BYTES:,} bytes; no state dict needs that")
    return archive, roots[0]


def read_legacy(data: bytes) -> RawFile:
    """The state dict of a legacy stream: three small pickles, the dict, the storages' keys, then their numbers."""
    source, machine = Source(data), _machine({})
    head = [machine.run(source) for _ in range(3)]
    if head[:2] != [MAGIC, LEGACY_PROTOCOL] or not isinstance(head[2], dict) or not head[2].get("little_endian"):
        raise ResnetFeaError("its legacy head is not that of torch on a little-endian machine")
    seen: dict[str, Storage] = {}
    value = _machine(seen).run(source)
    keys = machine.run(source)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(seen):
        raise ResnetFeaError("its storages are not those that its tensors use")
    parts: dict[str, memoryview] = {}
    for key in keys:
        count = int.from_bytes(source.read(8), "little")
        size = count * item_bytes(seen[key].dtype)
        if count != seen[key].numbers or size > source.left:
            raise ResnetFeaError(f"storage {key} has {count} numbers, {seen[key].numbers} expected, or is cut short")
        parts[key] = source.slice(size)
    if source.left:
        raise ResnetFeaError("more follows behind its last storage")
    return _state_dict("torch-legacy", value, lambda storage: parts[storage.key])


def _machine(seen: dict[str, Storage]) -> Machine:
    """A machine for torch's vocabulary; `seen` collects the storages by key."""

    def persistent(identity: Any) -> Storage:
        match identity:
            case ("storage", Global() as kind, str(key), str(), int(count), *view) if (
                kind in STORAGES and count >= 0 and view in ([], [None])
            ):
                storage = Storage(STORAGES[kind], key, count)
                if seen.setdefault(key, storage) != storage:
                    raise UnsafePickle(f"it describes storage {key} in two ways")
                return storage
        raise UnsafePickle("its pickle refers to something that is not a plain storage")

    return Machine(CALLS, frozenset({*STORAGES, numpy_pickle.NDARRAY}), persistent)


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Strided:
    if (
        not isinstance(storage, Storage)
        or not isinstance(size, tuple)
        or not isinstance(stride, tuple)
        or not len(size) == len(stride) <= MAX_RANK
        or not all(type(n) is int and 0 <= n < MAX_NUMBER for n in (offset, *size, *stride))
        or not is_possible(size)
    ):
        raise UnsafePickle("its pickle builds a tensor from what is not a storage with sizes")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if math.prod(size) > storage.numbers or (math.prod(size) and last >= storage.numbers):
        raise UnsafePickle(f"a tensor of shape {tuple(size)} reaches beyond its storage of {storage.numbers} numbers")
    return Strided(storage, offset, tuple(size), tuple(stride))


def _rebuild_tensor_v2(
    storage: Any, offset: Any, size: Any, stride: Any, gradient: Any, hooks: Any, metadata: Any = None
) -> Strided:
    """`metadata` is {"neg": True} where the numbers are stored with the other sign: a view that torch made lazily."""
    if metadata not in (None, {}):
        raise UnsafePickle("it has a tensor with metadata (negated or conjugated); save its clone")
    return _rebuild_tensor(storage, offset, size, stride)


def _rebuild_parameter(tensor: Any, *_: Any) -> Strided:
    if not isinstance(tensor, Strided):
        raise UnsafePickle("its pickle makes a parameter of what is not a tensor")
    return tensor


CALLS: dict[Global, Callable[..., Any]] = {
    **PLAIN_CALLS,
    **numpy_pickle.CALLS,  # a best accuracy that was not made a plain number
    Global("torch._utils", "_rebuild_tensor"): _rebuild_tensor,  # up to torch 0.3
    Global("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor_v2,
    Global("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}


def _state_dict(container: str, value: Any, read: Callable[[Storage], bytes | memoryview]) -> RawFile:
    """The tensors of a bare state dict, or of one inside a checkpoint."""
    inner, wrapper, beside = unwrap(value, lambda part: isinstance(part, Strided))
    flats: dict[str, NDArray[Any]] = {}  # each storage once: bfloat16 is a copy, and thousands may share one
    tensors: dict[str, NDArray[Any]] = {}
    for name, tensor in inner.items():
        if not isinstance(name, str) or not isinstance(tensor, Strided):
            beside.append(str(name))
            continue
        storage = tensor.storage
        if storage.key not in flats:
            try:
                flats[storage.key] = from_bytes(storage.dtype, (storage.numbers,), read(storage))
            except ResnetFeaError as error:
                raise ResnetFeaError(f"tensor {name}: {error}") from error
        tensors[name] = _cut(tensor, flats[storage.key])
    return RawFile(container, tensors, tuple(beside), wrapper, config=_config(value))


def _config(checkpoint: Any) -> str:
    """OpenMMLab's: `config` of mmdetection 2's tools/train.py, `cfg` of mmengine's Runner.save_checkpoint."""
    meta = checkpoint.get("meta") if isinstance(checkpoint, dict) else None
    texts = [meta.get(key) for key in ("config", "cfg")] if isinstance(meta, dict) else []
    return next((text for text in texts if isinstance(text, str)), "")


def _cut(tensor: Strided, flat: NDArray[Any]) -> NDArray[Any]:
    """The tensor's numbers out of its storage's; _rebuild_tensor has seen to it that they are all inside."""
    steps = tuple(step * flat.itemsize for step in tensor.stride)
    return np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.size, steps, writeable=False)

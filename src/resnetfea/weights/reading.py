"""Any weights file to canonical arrays and what they are. Exact, or one error that lists all that is wrong."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetfea.errors import ResnetFeaError, printable
from resnetfea.network.variant import Variant
from resnetfea.weights import canonical, ckpt_file, known, onnx_file, safetensors_file, torch_file
from resnetfea.weights.arrays import as_float32
from resnetfea.weights.ecosystems import ECOSYSTEMS, recognise
from resnetfea.weights.raw import RawFile
from resnetfea.weights.recipe import TORCHVISION, Recipe

MAX_BYTES = 720 << 20  # a ResNet-152 detector with its optimiser's state; a library may hold it a second time
MAX_BACKBONE = 600 << 20  # bytes of float32; Wide ResNet-101-2 has 485 MiB
MAX_MESSAGE = 20_000  # characters; the names of all 265 tensors are 7,000
ONNX_START = b"\x08"  # ModelProto's first field, ir_version
NOT_READ = {b"\x80": "a plain pickle and not torch's", b"\x89HDF": "HDF5 (Keras)", b"\x93NUMPY": "one NumPy array"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Weights:
    """A backbone's weights, complete, and all that must go with them.

    Attributes:
        path, sha256: the file.
        container: how the file is built, e.g. "torch-zip".
        ecosystem: whose names it uses, e.g. "modelzoo".
        variant: how this ResNet computes.
        recipe: what its pixels look like; recipe_of says whose recipe that is, or that it is assumed.
        tensors: float32 by canonical name, e.g. layer1.0.conv1.weight (64, 64, 1, 1).
        count: tensors in the file.
        missing: canonical names that the file lacks. unused: its own names that the backbone does not need.
        problems: sentences; empty where the backbone is complete and everything else known.
    """

    path: Path
    sha256: str
    container: str
    ecosystem: str
    variant: Variant
    recipe: Recipe
    recipe_of: str
    tensors: Mapping[str, NDArray[np.float32]]
    count: int
    missing: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def read(weights: str | Path) -> Weights:
    """The weights in a file, or under a known name.

    Raises:
        ResnetFeaError: not a file that can be read, or a tensor is missing, unknown, or of a wrong shape or type.
    """
    found = look(weights)
    if found.problems:
        raise _error(found.path, "not the weights of a plain ResNet", "; ".join(found.problems))
    return found


def look(weights: str | Path) -> Weights:
    """The same for a file that may be incomplete: what is wrong stands in `problems`.

    Raises:
        ResnetFeaError: not a file, or its container can't be read.
    """
    path = known.locate(weights)
    data = _bytes_of(path)
    try:
        return _understood(path, data, hashlib.sha256(data).hexdigest())
    except ResnetFeaError as error:
        raise _error(path, "cannot be read as weights", str(error)) from error


def _error(path: Path, what: str, why: str) -> ResnetFeaError:
    """One line. Names in `why` are the file's: no line breaks, no terminal codes, no megabytes."""
    return ResnetFeaError(f"{path}: {what}: {printable(why[:MAX_MESSAGE])}{'...' if len(why) > MAX_MESSAGE else ''}")


def _bytes_of(path: Path) -> bytes:
    """The file's content. Never opens a pipe, which would wait for ever, or a device."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise ResnetFeaError(f"{path}: not a regular file; give a weights file (.pth .safetensors .ckpt .onnx)")
        if status.st_size > MAX_BYTES:
            raise ResnetFeaError(f"{path}: {status.st_size:,} bytes; no ResNet's weights need more than {MAX_BYTES:,}")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ResnetFeaError(f"{path}: no such weights file; give a path, or the name {known.DEFAULT}") from error
    except (OSError, ValueError) as error:
        raise ResnetFeaError(f"{path}: cannot be opened: {getattr(error, 'strerror', None) or error}") from error


def _understood(path: Path, data: bytes, sha256: str) -> Weights:
    reader = _reader(data)
    whose, recipe = known.RECIPES.get(sha256, ("", None))
    if reader is None:
        onnx = onnx_file.read(data)
        variant = canonical.fit(_shapes(onnx.tensors), onnx.variant)
        return Weights(
            path=path,
            sha256=sha256,
            container="onnx",
            ecosystem="onnx",
            variant=variant,
            recipe=recipe or TORCHVISION,
            recipe_of=whose or "assumed: torchvision",
            count=onnx.count,
            unused=onnx.unused,
            **_checked(onnx.tensors, variant, {}, len(data)),
        )
    raw = reader(data)
    ecosystem, prefix = recognise(raw.tensors)
    widest = ecosystem.to_canonical(Variant(depth=152), prefix)
    tensors = {widest[name]: array for name, array in raw.tensors.items() if name in widest}
    left = [name for name in raw.tensors if name not in widest]
    unknown = [name for name in left if not re.fullmatch(ecosystem.beside, name)]
    if not tensors:
        known_here, first = ", ".join(ecosystem.name for ecosystem in ECOSYSTEMS), ", ".join(left[:4])
        raise ResnetFeaError(f"holds no ResNet under the names of {known_here}; its names begin with {first}")
    variant = canonical.fit(_shapes(tensors), ecosystem.variant)
    theirs = {canonical_name: name for name, canonical_name in widest.items()}
    checked = _checked(tensors, variant, theirs, len(data))
    if unknown:
        checked["problems"] += (f"unknown ({len(unknown)}): {', '.join(unknown)}",)
    return Weights(
        path=path,
        sha256=sha256,
        container=raw.container,
        ecosystem=ecosystem.name,
        variant=variant,
        recipe=recipe or ecosystem.recipe,
        recipe_of=whose or ecosystem.name,
        count=len(raw.tensors),
        unused=(*left, *raw.beside),
        **checked,
    )


def _reader(data: bytes) -> Callable[[bytes], RawFile] | None:
    """Who reads this container, by its content; None for ONNX, whose structure is read instead of names."""
    if data.startswith(b"PK\x03\x04"):
        return torch_file.read_zip
    if data.startswith(torch_file.LEGACY_START):
        return torch_file.read_legacy
    if safetensors_file.looks_like(data):
        return safetensors_file.read
    if ckpt_file.looks_like(data):
        return ckpt_file.read
    if data.startswith(ONNX_START):
        return None
    for start, name in NOT_READ.items():
        if data.startswith(start):
            raise ResnetFeaError(f"it is {name}; .pth, .safetensors, .ckpt and .onnx are read")
    raise ResnetFeaError("neither .pth nor .safetensors, .ckpt or .onnx by its content; is it cut short or empty?")


def _check_size(tensors: Mapping[str, NDArray[Any]], in_file: int) -> None:
    """Tensors that are views of the same numbers would need more memory, once copied, than the file has bytes."""
    # twice as much where bfloat16 or float16 widens; a little more for what stands for norms that are folded away
    size = 4 * sum(array.size for array in tensors.values() if array.dtype.kind == "f")
    if size > MAX_BACKBONE:
        raise ResnetFeaError(f"its backbone would need {size:,} bytes; no ResNet's needs more than {MAX_BACKBONE:,}")
    if size > 2 * in_file + (1 << 20):
        raise ResnetFeaError("its tensors share their numbers, so that they would be larger than the file")


def _shapes(tensors: Mapping[str, NDArray[Any]]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in tensors.items()}


def _checked(
    tensors: Mapping[str, NDArray[Any]], variant: Variant, theirs: Mapping[str, str], in_file: int
) -> dict[str, Any]:
    """Weights' tensors, missing and problems: what this ResNet needs beside what is there."""
    wanted = canonical.shapes(variant)
    _check_size(tensors, in_file)
    missing = tuple(name for name in wanted if name not in tensors)
    extra = [theirs.get(name, name) for name in tensors if name not in wanted]
    problems = [f"missing ({len(missing)}): {', '.join(missing)}"] if missing else []
    if extra:
        problems.append(f"more blocks than a ResNet-{variant.depth} ({len(extra)}): {', '.join(extra)}")
    exact, misshapen = {}, []
    for name in [name for name in wanted if name in tensors]:  # in the network's order, whatever the file's is
        if tensors[name].shape != wanted[name]:
            misshapen.append(f"{theirs.get(name, name)} is {tensors[name].shape} where {wanted[name]} belongs")
            continue
        try:
            exact[name] = as_float32(tensors[name])
        except ResnetFeaError as error:
            problems.append(f"{theirs.get(name, name)} {error}")
            continue
        if not np.isfinite(exact[name]).all():
            problems.append(f"{theirs.get(name, name)} holds numbers that are not finite")
        elif name.endswith("running_var") and (exact[name] < 0).any():
            problems.append(f"{theirs.get(name, name)} holds negative variances")
    if misshapen:
        problems.append(f"wrong shape ({len(misshapen)}): {', '.join(sorted(misshapen))}")
    return {"tensors": exact, "missing": missing, "problems": tuple(problems)}

"""A trace: what another program's network made of one input, layer by layer, as an .npz. docs/trace.md is its format.

Names are torchvision's. A trace comes from anyone: it is read as weights are, executes nothing, and is checked before
a network runs on it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetfea.errors import ResnetFeaError, printable
from resnetfea.weights import Weights, npz_file
from resnetfea.weights.reading import MAX_BYTES

INPUT, IMAGE = "input", "image"
GRADIENT, LOSS = "grad.", "loss."
MAPS = ("c2", "c3", "c4", "c5")
LAYER = re.compile(r"conv1|bn1|maxpool|layer[1-4]\.\d+(\.(conv|bn)[1-3]|\.downsample\.[01])?|c[2-5]|p[2-7]")
MAX_PIXELS = 1 << 22  # of the input; at 4 million the stem's output alone takes 256 MB
SHOWN = 4  # names in a message
Array = NDArray[Any]
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """A reference: an input and what belongs to it.

    Attributes:
        source: where it is from, for messages.
        input: what the network got, float32 (1, 3, H, W).
        image: uint8 (H, W, 3) RGB, from which that was made, where that is known.
        layers: (1, C, h, w) by torchvision's module name, and c2 to c5, p2 to p7.
        loss: by c2 to c5: what each is multiplied with in the loss, the sum of all these products.
        gradients: the loss's, by parameter, e.g. layer2.0.conv1.weight.
        passed_by: names that are none of these.
        notes: what a person must know of how this was read, as sentences.
        made_here: the input was made here, by the recipe of the weights that are compared.
        theirs: the reference's weights, where it is a weights file.
    """

    source: str
    input: Floats
    layers: Mapping[str, Array]
    image: NDArray[np.uint8] | None = None
    loss: Mapping[str, Array] = field(default_factory=dict)
    gradients: Mapping[str, Array] = field(default_factory=dict)
    passed_by: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    made_here: bool = False
    theirs: Weights | None = None


def bytes_of(path: Path) -> bytes:
    """A reference file's content, if it is a file.

    Raises:
        ResnetFeaError: it is none, or too large.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise ResnetFeaError(f"{path}: not a regular file; give a trace (.npz), an .onnx, or a weights file")
        if status.st_size > MAX_BYTES:
            raise ResnetFeaError(f"{path}: {status.st_size:,} bytes, more than {MAX_BYTES:,}; trace a smaller picture")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise ResnetFeaError(f"{path}: cannot be opened: {getattr(error, 'strerror', None) or error}") from error


def read(path: Path, data: bytes) -> Trace:
    """The trace that this file's content is.

    Raises:
        ResnetFeaError: it is no trace, or one that can't be right.
    """
    try:
        if not npz_file.looks_like(data):
            raise ResnetFeaError("it is no .npz; `resnetfea trace-script` prints what writes one")
        return from_arrays(str(path), npz_file.read(data).tensors)
    except ResnetFeaError as error:
        raise ResnetFeaError(f"{path}: cannot be read as a trace: {printable(str(error))}") from error


def from_arrays(source: str, arrays: Mapping[str, Array]) -> Trace:
    """The trace that these arrays are.

    Raises:
        ResnetFeaError: they are none.
    """
    if INPUT not in arrays:
        raise ResnetFeaError(f"it has no `{INPUT}`, what the network got; it has {_some(arrays)}")
    given = _floats(INPUT, arrays[INPUT])
    if given.shape[:2] != (1, 3) or given.size > 3 * MAX_PIXELS:
        raise ResnetFeaError(f"`{INPUT}` is {given.shape}; (1, 3, H, W) is wanted, H x W up to {MAX_PIXELS:,}")
    if not np.isfinite(given).all():
        raise ResnetFeaError(f"`{INPUT}` holds numbers that are not finite")
    layers = {name: _layer(name, arrays[name]) for name in arrays if LAYER.fullmatch(name)}
    if not layers:
        raise ResnetFeaError(
            f"it has no layer under torchvision's names (conv1, layer1.0, c2, ...); it has {_some(arrays)}"
        )
    loss = {name: _layer(LOSS + name, arrays[LOSS + name]) for name in MAPS if LOSS + name in arrays}
    gradients = {name.removeprefix(GRADIENT): arrays[name] for name in arrays if name.startswith(GRADIENT)}
    if any(array.dtype.kind != "f" for array in gradients.values()):
        raise ResnetFeaError("a gradient is not of floating-point numbers")
    known = {INPUT, IMAGE, *layers, *(LOSS + name for name in loss), *(GRADIENT + name for name in gradients)}
    return Trace(
        source=source,
        input=np.ascontiguousarray(given, np.float32),
        layers=layers,
        image=_image(arrays[IMAGE], given.shape[2:]) if IMAGE in arrays else None,
        loss=loss,
        gradients=gradients,
        passed_by=tuple(name for name in arrays if name not in known),
    )


def _layer(name: str, array: Array) -> Array:
    """A layer's output: of one image. Its numbers may be anything: that is what is looked for."""
    if _floats(name, array).shape[0] != 1:
        raise ResnetFeaError(f"`{name}` is of {array.shape[0]} images; the trace of one is wanted")
    return array


def _floats(name: str, array: Array) -> Array:
    if array.dtype.kind != "f" or array.ndim != 4 or not array.size:
        raise ResnetFeaError(f"`{name}` is {array.dtype} {array.shape}; float32 (1, C, H, W) is wanted")
    return array


def _image(array: Array, size: tuple[int, ...]) -> NDArray[np.uint8]:
    if array.dtype != np.uint8 or array.shape != (*size, 3):
        raise ResnetFeaError(
            f"`{IMAGE}` is {array.dtype} {array.shape}; uint8 {(*size, 3)} is wanted, RGB of the input's size"
        )
    return array


def _some(names: Mapping[str, Array]) -> str:
    first = ", ".join([*names][:SHOWN])
    return (first + ", ..." if len(names) > SHOWN else first) or "nothing"

"""Detectron's .pkl: blobs by Caffe2's names, each norm folded to a scale and a shift.

A pickle of protocol 2, as Python 2 and NumPy wrote them, opcode by opcode: it names NumPy's three functions and nothing
else, stands for the same under NumPy 1 and 2, and is read by pickle.load(file, encoding="latin1"), as Detectron,
maskrcnn-benchmark 57eec25 (utils/c2_model_loading.py) and detectron2 02b5c4e (detection_checkpoint.py) do.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from resnetfea.errors import ResnetFeaError
from resnetfea.weights import canonical
from resnetfea.weights import card as cards
from resnetfea.weights.ecosystem import WIDEST

Floats = Mapping[str, NDArray[np.float32]]
START, STOP = b"\x80\x02", b"."
OPEN_DICT, CLOSE_DICT = b"}(", b"u"
# _reconstruct(ndarray, (0,), "b"): an array yet to be filled
RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
# dtype("f4", False, True), then its state: version 3, little-endian, no fields, and its usual size, alignment and flags
DTYPE = b"cnumpy\ndtype\nU\x02f4\x89\x88\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
KEEP_DTYPE, SAME_DTYPE = b"q\x00", b"h\x00"


def write(stream: BinaryIO, tensors: Floats, card: bytes) -> None:
    """{"blobs": tensors, "resnetfea": card}. Readers take `blobs` and look at no other entry."""
    stream.write(START + OPEN_DICT + _text(cards.KEY) + _text(card.decode()) + _text("blobs") + OPEN_DICT)
    dtype = DTYPE + KEEP_DTYPE
    for name, array in tensors.items():
        # state: version 1, shape, element type, not in Fortran's order, and the bytes as Python 2's str
        stream.write(_text(name) + RECONSTRUCT + b"(K\x01" + _shape(array.shape) + dtype + b"\x89")
        stream.write(b"T" + struct.pack("<i", array.nbytes))
        stream.write(array.astype("<f4", copy=False).data)
        stream.write(b"tb")
        dtype = SAME_DTYPE
    stream.write(CLOSE_DICT * 2 + STOP)


def folded(tensors: Floats, eps: float) -> tuple[dict[str, NDArray[np.float32]], bool]:
    """Every norm as scale (`weight`) and shift (`bias`) alone, and whether none had to be rounded for it.

    BN(y) = y * s + (bias - running_mean * s) with s = weight / sqrt(running_var + eps): in float64, rounded once.

    Raises:
        ResnetFeaError: a scale or shift is beyond float32.
    """
    found = {name: array for name, array in tensors.items() if not name.endswith(canonical.STATISTICS)}
    exact = True
    for layer in canonical.layers(WIDEST):
        if f"{layer.norm}.weight" not in tensors:
            continue
        weight, bias, mean, variance = (tensors[f"{layer.norm}.{part}"] for part in canonical.NORM_PARTS)
        if eps == 0 and not mean.any() and (variance == 1).all():
            continue
        exact = False
        with np.errstate(all="ignore"):  # what overflows is refused below
            scale = weight.astype(np.float64) / np.sqrt(variance.astype(np.float64) + eps)
            for part, wide in (("weight", scale), ("bias", bias - mean * scale)):
                found[f"{layer.norm}.{part}"] = wide.astype(np.float32)
                if not np.isfinite(found[f"{layer.norm}.{part}"]).all():
                    raise ResnetFeaError(f"{layer.norm}.{part}, folded, is beyond float32")
    return found, exact


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _shape(shape: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(b"J" + struct.pack("<i", size) for size in shape) + b"t"

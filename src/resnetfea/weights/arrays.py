"""Raw little-endian bytes to arrays, the same for every container. Widening to float32 is exact or refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetfea.errors import ResnetFeaError

BFLOAT16 = "bfloat16"  # numpy has none: the upper half of a float32
MAX_RANK = 8  # a convolution's weight has 4
MAX_NUMBERS = 1 << 48  # in a shape, zeros left out: numpy makes no array of (0, 2^63), though it has no numbers
MAX_TENSORS = 20_000  # a ResNet-152 detector with its optimiser's state has some 3,000
ITEM_BYTES = {BFLOAT16: 2}


def item_bytes(dtype: str) -> int:
    """Bytes of one element of a numpy type, or of bfloat16."""
    return ITEM_BYTES.get(dtype) or np.dtype(dtype).itemsize


def is_possible(shape: tuple[int, ...]) -> bool:
    """Whether numpy can make an array of this shape."""
    return all(size >= 0 for size in shape) and math.prod(size or 1 for size in shape) < MAX_NUMBERS


def from_bytes(dtype: str, shape: tuple[int, ...], data: bytes | memoryview) -> NDArray[Any]:
    """The array that these bytes hold; bfloat16 comes as float32. Not a copy where it need not be.

    Raises:
        ResnetFeaError: the bytes are not dtype x shape.
    """
    if len(shape) > MAX_RANK:  # asked first: a product of a million sizes takes minutes
        raise ResnetFeaError(f"has {len(shape)} dimensions")
    if not is_possible(shape) or math.prod(shape) * item_bytes(dtype) != len(data):
        raise ResnetFeaError(f"{len(data)} bytes are there for a {dtype} tensor of shape {shape}")
    if dtype == BFLOAT16:
        upper = np.frombuffer(data, "<u2").astype(np.uint32)
        upper <<= 16
        return upper.view(np.float32).reshape(shape)
    return np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).reshape(shape)


def as_float32(array: NDArray[Any]) -> NDArray[np.float32]:
    """The same values as contiguous float32.

    Raises:
        ResnetFeaError: not floats, or float64 values that float32 cannot hold.
    """
    if array.dtype.kind != "f":
        raise ResnetFeaError(f"holds {array.dtype}, not floating-point numbers")
    with np.errstate(over="ignore"):  # an overflow shows as a difference below
        narrow = np.ascontiguousarray(array, dtype=np.float32)
    if array.dtype.itemsize > 4 and np.count_nonzero(narrow != array) != np.count_nonzero(np.isnan(array)):
        raise ResnetFeaError("holds float64 values that float32 cannot hold exactly; save the model as float32 first")
    return narrow

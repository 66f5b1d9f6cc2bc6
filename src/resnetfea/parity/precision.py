"""Rounding to 16 bits: of weights, and whether a whole network computes so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
NOISE = {"fp16": 5e-3, "bf16": 4e-2}  # of a layer's largest value: what a stage that is computed so is off by


def fp16(array: Array) -> Array:
    """Nearest, as every library rounds; what is too large becomes infinite."""
    with np.errstate(over="ignore"):
        return array.astype(np.float16).astype(np.float32)


def bf16(array: Array) -> Array:
    """Nearest, ties to even, as PyTorch rounds."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


ROUNDED: Mapping[str, Callable[[Array], Array]] = {"fp16": fp16, "bf16": bf16}


def of(layers: Mapping[str, Array]) -> str | None:
    """The type in which all these numbers can be written, that is in which they were computed; None for float32."""
    return next((name for name, rounded in ROUNDED.items() if _all_are(layers.values(), rounded)), None)


def _all_are(arrays: Iterable[Array], rounded: Callable[[Array], Array]) -> bool:
    found = [np.asarray(array, np.float32) for array in arrays]
    return all(np.array_equal(rounded(array), array) for array in found) and any(array.any() for array in found)

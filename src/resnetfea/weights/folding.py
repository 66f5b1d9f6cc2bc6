"""From tensors as a file stores them to a plain ResNet's: turned kernels, absorbed biases, fused norms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetfea.weights import canonical
from resnetfea.weights.ecosystem import WIDEST, Ecosystem

Arrays = dict[str, NDArray[Any]]
NEUTRAL = {"running_mean": 0, "running_var": 1}  # statistics that change nothing where eps is 0


def plain(tensors: Mapping[str, NDArray[Any]], ecosystem: Ecosystem) -> Arrays:
    """Tensors by canonical names, as the ecosystem stores them, to those of a ResNet of the canonical form.

    Kernels (k, k, in, out) become (out, in, k, k), and a classifier (in, out) becomes (out, in). A convolution's bias b
    goes into the norm behind it: BN(y + b) is BN(y) with the mean lowered by b. Norms that are scale and shift only
    get mean 0 and variance 1. What is missing or misshapen stays so, for the check that follows.
    """
    found = dict(tensors)
    if ecosystem.channels_last:
        found = {name: _turned(array) for name, array in found.items()}
    if ecosystem.conv_bias:
        _absorb_biases(found)
    if ecosystem.fused:
        _fill_statistics(found)
    return found


def _turned(array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)  # (k, k, in, out) -> (out, in, k, k)
    return array.T if array.ndim == 2 else array


def _absorb_biases(found: Arrays) -> None:
    for layer in canonical.layers(WIDEST):
        bias, mean = found.get(f"{layer.conv}.bias"), found.get(f"{layer.norm}.running_mean")
        if bias is not None and mean is not None and bias.shape == mean.shape and _is_finite(bias):
            wide = [part.astype(np.float32) if part.dtype == np.float16 else part for part in (mean, bias)]
            found[f"{layer.norm}.running_mean"] = wide[0] - wide[1]
            del found[f"{layer.conv}.bias"]


def _is_finite(bias: NDArray[Any]) -> bool:
    """Else it stays, to be refused under its own name and not as a mean."""
    return bias.dtype.kind == "f" and bool(np.isfinite(bias).all())


def _fill_statistics(found: Arrays) -> None:
    for layer in canonical.layers(WIDEST):
        scale = found.get(f"{layer.norm}.weight", found.get(f"{layer.norm}.bias"))
        if scale is not None:
            for part, value in NEUTRAL.items():
                # no bytes of its own until it is checked: scales may be views of the same numbers
                found[f"{layer.norm}.{part}"] = np.broadcast_to(np.float32(value), scale.shape)

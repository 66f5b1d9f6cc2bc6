"""Can a layer give this output with any numbers at all? If not, it is another layer, and not one with other weights."""

from __future__ import annotations

import math
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import nn
from numpy.typing import NDArray

Array = NDArray[Any]
FEW = 12  # pixels of a map, too few to tell a line from anything else
MORE = 2  # times as many pixels as a kernel has numbers, before a fit proves anything
MOST = 1024  # numbers of one kernel, beyond which the fit takes seconds
FITS = 1e-4  # of the largest value: least squares in float32


def off_line(ours: Array, theirs: Array) -> float:
    """How far theirs is, channel by channel, from a * ours + b with the best a and b; of its largest value.

    Of a few pixels everything is on a line: infinite.
    """
    if ours.shape != theirs.shape or math.prod(ours.shape[2:]) < FEW:
        return math.inf
    a, b = (array.astype(np.float64) for array in (ours, theirs))
    a, b = a - a.mean((2, 3), keepdims=True), b - b.mean((2, 3), keepdims=True)
    square = (a * a).sum((2, 3), keepdims=True)
    factor = (a * b).sum((2, 3), keepdims=True) / np.where(square == 0, 1, square)
    peak = float(np.abs(theirs).max())
    return float(np.abs(factor * a - b).max()) / peak if peak else 0.0


def is_convolution(layer: Any, x: Array, theirs: Array) -> bool | None:
    """Whether some kernel makes theirs of x, with this layer's size, stride, padding; None where that is not told."""
    if type(layer) is not nn.Conv2d or layer.group != 1:
        return None
    numbers, pixels = math.prod(layer.weight.shape[1:]), math.prod(theirs.shape[2:])
    if numbers > MOST or pixels < MORE * numbers:
        return None
    patches = _patches(layer, x)  # (numbers, pixels)
    wanted = theirs[0].reshape(theirs.shape[1], -1).T
    if patches.shape[1] != len(wanted):
        return False
    if not (np.isfinite(patches).all() and np.isfinite(wanted).all()):
        return False
    found, *_ = np.linalg.lstsq(patches.T, wanted, rcond=None)
    return bool(np.abs(patches.T @ found - wanted).max() <= FITS * np.abs(wanted).max())


def _patches(layer: nn.Conv2d, x: Array) -> Array:
    """What each number of a kernel meets, by the same layer with kernels of a single 1."""
    _, channels, height, width = layer.weight.shape
    each = np.eye(channels * height * width, dtype=np.float32).reshape(-1, channels, height, width)
    one_by_one = nn.Conv2d(
        channels,
        len(each),
        (height, width),
        stride=layer.stride,
        pad_mode=layer.pad_mode,
        padding=layer.padding,
        dilation=layer.dilation,
        weight_init=ms.Tensor(each),
    )
    return np.asarray(one_by_one(ms.Tensor(x)).asnumpy()[0].reshape(len(each), -1), np.float64)

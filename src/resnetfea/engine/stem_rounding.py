"""The stem's weights in bf16, rounded so that what photos are made of passes unchanged.

bf16 has 8 bits. Each weight to its nearest loses more in the stem than in all other layers together: a photo is smooth,
so the 49 errors of a kernel add up to a shift of the whole channel. Here each error is handed on to the next weight of
the kernel, so that a kernel's errors add up to nothing. It costs no time; docs/precision.md has what it gains.
"""

from __future__ import annotations

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

from resnetfea.engine.quantize import STEM, convolutions, name_of


def round_stem(graph: ov.Model) -> None:
    """Round the stem's weights in place. The norm behind it must be folded into them: what is rounded is what acts."""
    for one in convolutions(graph):
        if name_of(one) == STEM:
            old = one.input_value(1).get_node()
            weight = ops.constant(handed_on(old.data))
            weight.set_friendly_name(old.get_friendly_name())
            one.input(1).replace_source_output(weight.output(0))


def handed_on(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each kernel's weights as bf16 numbers, whose running sum stays within one step of that of the given ones.

    Args:
        weight: (C, 3, k, k).
    """
    result = np.empty(weight.shape, np.float32)
    error = np.zeros(weight.shape[:2])  # of each kernel so far, in float64
    high, wide = weight.shape[2:]
    for y in range(high):
        for x in range(wide) if y % 2 == 0 else reversed(range(wide)):  # to and fro, so that the next one is beside it
            wanted = weight[:, :, y, x] + error
            result[:, :, y, x] = nearest_bf16(wanted.astype(np.float32))
            error = wanted - result[:, :, y, x]
    return result


def nearest_bf16(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The upper 16 bits of a float32, rounded to nearest, to even where two are as near."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    even = (bits >> np.uint32(16)) & np.uint32(1)
    return ((bits + np.uint32(0x7FFF) + even) & np.uint32(0xFFFF0000)).view(np.float32)

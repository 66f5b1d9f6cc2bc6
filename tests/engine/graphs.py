"""A network of one bottleneck, small enough to look at every number: built by hand, named as the export names it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

from resnetfea import cpu_guard

STEM, INNER, OUT, GROUPS = 6, 8, 12, 4
Array = NDArray[np.float32]


def bottleneck(*, eps: float = 1e-5, variance: float = 1.0, seed: int = 0) -> ov.Model:
    """Stem, pool, and layer1.0 with a projection and a grouped 3x3 convolution; x (N, 3, H, W) to (N, 12, H/4, W/4).

    variance: of what the norms divide by; the weights are as much smaller, so that the maps stay as they are.
    """
    draw = np.random.default_rng(seed)

    def convolved(x: Any, name: str, shape: tuple[int, ...], stride: int = 1, groups: int = 1) -> Any:
        values = draw.normal(0, (variance / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32)
        weight = ops.constant(values)
        weight.set_friendly_name(f"backbone.{name}.weight")
        pad = [shape[2] // 2] * 2
        if groups > 1:  # as OpenVINO reads it from ONNX: the groups come into the shape on the way
            parted = ops.reshape(weight, [groups, shape[0] // groups, *shape[1:]], False)
            y = ops.group_convolution(x, parted, [stride] * 2, pad, pad, [1, 1])
        else:
            y = ops.convolution(x, weight, [stride] * 2, pad, pad, [1, 1])
        numbers = [
            draw.uniform(0.5, 1.5, shape[0]),
            draw.uniform(-0.4, 0.4, shape[0]),
            draw.uniform(-0.5, 0.5, shape[0]) * variance**0.5,
            draw.uniform(0.5, 2, shape[0]) * variance,
        ]
        gamma, beta, mean, var = (ops.constant(one.astype(np.float32)) for one in numbers)
        return ops.batch_norm_inference(y, gamma, beta, mean, var, eps)

    x = ops.parameter([-1, 3, -1, -1], np.float32, name="x")
    stem = ops.relu(convolved(x, "conv1", (STEM, 3, 7, 7), stride=2))
    pooled = ops.max_pool(stem, [2, 2], [1, 1], [0, 0], [0, 0], [3, 3], "ceil").output(0)
    y = ops.relu(convolved(pooled, "layer1.0.conv1", (INNER, STEM, 1, 1)))
    y = ops.relu(convolved(y, "layer1.0.conv2", (INNER, INNER // GROUPS, 3, 3), groups=GROUPS))
    y = convolved(y, "layer1.0.conv3", (OUT, INNER, 1, 1))
    shortcut = convolved(pooled, "layer1.0.conv_down_sample", (OUT, STEM, 1, 1))
    return ov.Model([ops.relu(ops.add(y, shortcut))], [x], "bottleneck")


def outputs(model: ov.Model, *inputs: NDArray[Any], hint: str = "f32") -> list[Array]:
    """What it computes on this CPU, whatever limit the guard set."""
    with cpu_guard.lifted():
        compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": hint})
    found = compiled(list(inputs))
    return [np.array(found[index]) for index in range(len(model.outputs))]


def kinds(model: ov.Model) -> list[str]:
    """The operations, in order."""
    return [one.get_type_name() for one in model.get_ordered_ops()]


def images(shape: Sequence[int] = (2, 3, 37, 50), seed: int = 1) -> Array:
    """Numbers as large as those of normalised photos."""
    return np.random.default_rng(seed).uniform(-2, 2, shape).astype(np.float32)

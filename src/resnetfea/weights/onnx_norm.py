"""What stands between a convolution and its ReLU: a norm in any of the forms that exporters give it.

BatchNormalization as it is; folded away, its shift left as the convolution's bias; or as a multiplication and an
addition for each channel (tf2onnx 1.17 of Keras 3; torch's FrozenBatchNorm2d), in NCHW or NHWC.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetfea.errors import ResnetFeaError
from resnetfea.weights.onnx_graph import Graph, Spot, Use
from resnetfea.weights.onnx_model import Node

Vector = NDArray[Any]
Take = Callable[[str, str], Vector | None]  # (name in the file, norm's part) -> the array; None where it is lost
# As small as this beside any variance above 1e-16 it vanishes in float32: MindSpore writes 1e-30 for 0.
VANISHING = 1e-23
MAX_BIASES = 8  # behind one convolution; exporters write two at most


@dataclass(frozen=True)
class Step:
    """One operand, for each channel one number: its name, and its layout where it is not a plain vector."""

    name: str
    layout: str
    sign: int = 1


@dataclass(frozen=True)
class Norm:
    """y = scale * (x - mean) / sqrt(var + eps) + shift, from what is there of it; biases come before."""

    output: Spot
    biases: tuple[Step, ...] = ()
    node: Node | None = None
    scale: Step | None = None
    shift: Step | None = None

    @property
    def eps(self) -> float:
        """0 where the norm is folded or written out."""
        if self.node is None:
            return 0.0
        eps = float(self.node.attributes().get("epsilon", 1e-5))  # the operator's default
        if not 0 <= eps < 1:
            raise ResnetFeaError(f"{self.node.name!r}: its epsilon is {eps}")
        return 0.0 if eps < VANISHING else float(f"{eps:.7g}")  # stored as float32: 1e-5 is there as 9.99999975e-6

    def parts(self, channels: int, take: Take) -> dict[str, Vector | None]:
        """Scale, shift, mean and variance by torchvision's names; None where the file has lost one."""
        # of no bytes of their own: a weight of shape (2^40, 0, 7, 7) has as many channels
        one, zero = (np.broadcast_to(np.float32(value), channels) for value in (1, 0))
        if self.node is None and self.scale is None:
            shift = _sum(self.biases, "bias", take) if self.biases else zero
            return {"weight": one, "bias": shift, "running_mean": zero, "running_var": one}
        bias = _sum(self.biases, "running_mean", take) if self.biases else zero
        if self.node is not None:
            names = dict(zip(("weight", "bias", "running_mean", "running_var"), self.node.inputs[1:5], strict=True))
            found = {part: take(name, part) for part, name in names.items()}
            mean = found["running_mean"]
            if bias is None or (mean is not None and bias.shape != mean.shape):
                found["running_mean"] = bias  # lost, or of a shape that will be told as wrong
            elif mean is not None and bias.any():
                found["running_mean"] = mean - bias  # BN(y + b) = BN of a mean lowered by b
            return found
        assert self.scale is not None
        shift = _sum((self.shift,), "bias", take) if self.shift else zero
        mean = bias if bias is None or not self.biases else -bias + 0.0  # + 0: no negative zero
        return {"weight": _vector(self.scale, "weight", take), "bias": shift, "running_mean": mean, "running_var": one}


def behind(graph: Graph, conv: Use) -> Norm:
    """The norm behind this convolution, and the value that it gives."""
    node = conv.node
    norm = Norm(conv.output, (Step(node.inputs[2], ""),) if len(node.inputs) > 2 and node.inputs[2] else ())
    while True:
        if norm.scale is None and (use := _only(graph.users(norm.output, "BatchNormalization"))):
            if use.place != 0 or use.layout.find("C") != 1:
                raise ResnetFeaError(f"{use.node.name!r} normalises something other than channels")
            return Norm(use.output, norm.biases, use.node)
        use = _only([use for use in graph.users(norm.output, "Mul", "Add", "Sub") if _other(graph, use)])
        if use is None:
            return norm
        step = Step(_other(graph, use), use.layout, -1 if use.node.operator == "Sub" else 1)
        if use.node.operator == "Mul" and norm.scale is None:
            norm = Norm(use.output, norm.biases, scale=step)
        elif use.node.operator == "Mul":
            return norm
        elif norm.scale is None and len(norm.biases) == MAX_BIASES:
            raise ResnetFeaError(f"behind {conv.output.value!r} is more than a norm adds")
        elif norm.scale is None:
            norm = Norm(use.output, (*norm.biases, step))
        else:
            return Norm(use.output, norm.biases, scale=norm.scale, shift=step)


def _only(uses: list[Use]) -> Use | None:
    return uses[0] if len(uses) == 1 else None


def _other(graph: Graph, use: Use) -> str:
    """The constant beside the value; "" where there is none."""
    if len(use.node.inputs) != 2 or (use.node.operator == "Sub" and use.place == 1):
        return ""
    name = use.node.inputs[1 - use.place]
    return name if graph.is_constant(name) else ""


def _sum(steps: tuple[Step, ...], part: str, take: Take) -> Vector | None:
    """The vectors added, or None where one is lost. One alone is taken as it is."""
    vectors = [_vector(step, part, take) for step in steps]
    total = vectors[0]
    for vector in vectors[1:]:
        if total is None or vector is None or total.shape != vector.shape:
            return None
        total = total + vector
    return total


def _vector(step: Step, part: str, take: Take) -> Vector | None:
    """The operand as one number a channel; as it is where it is not that, so that its shape is told as wrong."""
    array = take(step.name, part)
    if array is None:
        return None
    if step.layout and array.ndim <= 4:
        sizes = (1,) * (4 - array.ndim) + array.shape
        channel = step.layout.index("C")
        if all(size == 1 or axis == channel for axis, size in enumerate(sizes)):
            array = array.reshape(-1)
    return -array if step.sign < 0 else array

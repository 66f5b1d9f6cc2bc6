"""The tiny ResNet-50 as ONNX graphs, in each of the ways in which exporters write one. Node by node, no torch.

What real exporters write (read in their output, November 2026):
- tf2onnx 1.17.0 (and Keras 3.15.1's model.export, which calls it) of keras.applications.ResNet50: convolutions with
  bias, each norm as Mul and Add of (1, C, 1, 1), the pool's padding as a Pad node, one Transpose at the input. Without
  its optimisers: a Transpose on both sides of each Conv and MaxPool, Mul and Add of (1, 1, 1, C) and Pad in NHWC, the
  first convolution's bias as an Add of its own. Kernels are turned, but by a Transpose where two nodes share one.
- torch 2.13.0, older exporter: BatchNormalization or folded; equal tensors are stored once, behind Identity nodes.
  Newer exporter: folded, weights in MODEL.data without gaps; optimize=False: norms kept, and the missing bias as
  Expand(CastLike(0, x), Expand(Shape(weight), [1])).
- Caffe2 (onnx/models resnet50-caffe2, listed in ROCm/AMDMIGraphX issue 52): Sum instead of Add.
- MindSpore 2.10.0, our own export: eps 1e-30 for 0, Pad before a pool without padding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from data import tiny
from rich_weights import State

EPS = 1e-5
TO_NHWC, TO_NCHW = [0, 2, 3, 1], [0, 3, 1, 2]
Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Style:
    """How an exporter writes.

    nhwc: transposes around each convolution and pool, everything else in NHWC.
    norm: as one node, as Mul and Add, with the mean and the variance (torch's FrozenBatchNorm2d, not folded), or with
        BatchNormalization in NCHW before the transpose back.
    bias: none, in the convolution, or as an Add behind it.
    kernels: as they belong, as a transposed HWIO tensor, or a flat one reshaped, retyped and renamed.
    pads: by Pad nodes in front of convolutions and the pool. add: the operator of shortcuts.
    """

    nhwc: bool = False
    norm: Literal["node", "written", "frozen", "early"] = "node"
    bias: Literal["none", "own", "added"] = "none"
    kernels: Literal["plain", "hwio", "moved"] = "plain"
    pads: bool = False
    add: str = "Add"
    opset: int = 13


STYLES: dict[str, Style] = {
    "plain": Style(),
    "caffe2": Style(add="Sum"),
    "mxnet": Style(bias="own"),
    "tf2onnx": Style(norm="written", bias="own", pads=True),
    "tf2onnx, transposed": Style(nhwc=True, norm="written", bias="added", pads=True),
    "kernels turned by nodes": Style(nhwc=True, kernels="hwio", norm="early", pads=True),
    "kernels moved": Style(kernels="moved"),
    "frozen": Style(norm="frozen"),
    "old Pad": Style(nhwc=True, norm="early", pads=True, opset=9),
    "new Pad": Style(nhwc=True, norm="written", pads=True, opset=18),
}


def biases() -> dict[str, Array]:
    """One for each convolution, of the size of its norm's mean."""
    rng = np.random.default_rng(5)
    return {
        name.removesuffix(".running_mean"): (rng.uniform(-0.5, 0.5, mean.shape) * mean).astype(np.float32)
        for name, mean in tiny.weights().items()
        if name.endswith(".running_mean")
    }


def model(style: Style, state: State | None = None) -> onnx.ModelProto:
    """x (1, 3, 64, 64), or (1, 64, 64, 3), to c2..c5 in the same layout."""
    return _Graph(style, tiny.weights() if state is None else state).model()


def expected(style: Style) -> State:
    """What a reader must make of it, bit for bit."""
    state, bias = tiny.weights(), biases()
    for norm in bias:
        gamma, beta, mean, var = (state[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var"))
        before = bias[norm] if style.bias != "none" else np.zeros_like(mean)
        state[f"{norm}.running_mean"] = mean - before
        if style.norm in ("written", "frozen"):
            scale, shift = written(gamma, beta, mean, var)
            one = np.ones_like(var)
            parts = {"weight": scale, "bias": shift, "running_mean": -before + np.float32(0), "running_var": one}
            state |= {f"{norm}.{part}": array for part, array in parts.items()}
    return state


def written(gamma: Array, beta: Array, mean: Array, var: Array) -> tuple[Array, Array]:
    """Scale and shift of the norm written out."""
    scale = gamma * np.reciprocal(np.sqrt(var + np.float32(EPS)))
    return scale, beta - mean * scale


class _Graph:
    def __init__(self, style: Style, state: Mapping[str, Array]) -> None:
        self.style, self.state, self.bias = style, state, biases()
        self.nodes: list[onnx.NodeProto] = []
        self.stored: list[TensorProto] = []

    def model(self) -> onnx.ModelProto:
        shape = [1, 64, 64, 3] if self.style.nhwc else list(tiny.INPUT)
        value = self.relu(self.conv("x", "conv1", "bn1", stride=2))
        value = self.pool(value)
        maps = []
        for stage, blocks in enumerate(tiny.TINY.layer_nums, start=1):
            for index in range(blocks):
                value = self.block(value, f"layer{stage}.{index}", 2 if stage > 1 and not index else 1)
            maps.append(value)
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in maps]
        image = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.nodes, "tiny", [image], outputs, self.stored)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.style.opset)], ir_version=8)

    def block(self, value: str, name: str, stride: int) -> str:
        shortcut = value
        if name.endswith(".0"):
            shortcut = self.conv(value, f"{name}.downsample.0", f"{name}.downsample.1", stride)
        y = self.relu(self.conv(value, f"{name}.conv1", f"{name}.bn1"))
        y = self.relu(self.conv(y, f"{name}.conv2", f"{name}.bn2", stride))
        y = self.conv(y, f"{name}.conv3", f"{name}.bn3")
        return self.relu(self.node(self.style.add, [y, shortcut]))

    def conv(self, value: str, name: str, norm: str, stride: int = 1) -> str:
        weight = self.state.get(f"{name}.weight")
        kernel = 7 if name == "conv1" else 3 if name.endswith("conv2") else 1
        half = kernel // 2
        if self.style.pads and half:
            value = self.pad(value, [half] * 4)
        pads = [0 if self.style.pads else half] * 4
        inputs = [self.turned(value, TO_NCHW), self.kernel(f"{name}.weight", weight)]
        if self.style.bias == "own":
            inputs.append(self.store(f"{name}.bias", self.bias[norm]))
        y = self.node("Conv", inputs, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)
        if self.style.norm == "early":
            return self.turned(self.norm(y, norm), TO_NHWC)
        y = self.turned(y, TO_NHWC)
        if self.style.bias == "added":
            y = self.node("Add", [self.vector(f"{name}.bias", self.bias[norm]), y])
        return self.norm(y, norm)

    def kernel(self, name: str, weight: Array | None) -> str:
        if weight is None:
            return name  # lost
        if self.style.kernels == "hwio":
            return self.node("Transpose", [self.store(name, weight.transpose(2, 3, 1, 0))], perm=[3, 2, 0, 1])
        if self.style.kernels == "moved":
            sizes = self.store(f"{name}.shape", np.array([0, *weight.shape[1:-1], -1], np.int64))
            flat = self.store(name, weight.reshape(len(weight), -1).astype(np.float64))
            reshaped = self.node("Reshape", [self.node("Identity", [flat]), sizes])
            return self.node("Cast", [reshaped], to=TensorProto.FLOAT)
        return self.store(name, weight)

    def norm(self, y: str, name: str) -> str:
        parts = [self.state.get(f"{name}.{part}") for part in ("weight", "bias", "running_mean", "running_var")]
        names = [f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
        if self.style.norm in ("node", "early"):
            stored = [one if array is None else self.store(one, array) for one, array in zip(names, parts, strict=True)]
            return self.node("BatchNormalization", [y, *stored], epsilon=EPS)
        gamma, beta, mean, var = (array for array in parts if array is not None)
        if self.style.norm == "written":
            scale, shift = written(gamma, beta, mean, var)
            y = self.node("Mul", [y, self.vector(names[0], scale)])
            return self.node("Add", [y, self.vector(names[1], shift)])
        gamma_, beta_, mean_, var_ = (self.broadcast(one, array) for one, array in zip(names, parts, strict=True))
        epsilon = self.node("Constant", [], value_float=EPS)
        deviation = self.node("Sqrt", [self.node("Add", [var_, epsilon])])
        scale_ = self.node("Mul", [gamma_, self.node("Reciprocal", [deviation])])
        shift_ = self.node("Sub", [beta_, self.node("Mul", [mean_, scale_])])
        return self.node("Add", [self.node("Mul", [y, scale_]), shift_])

    def pool(self, value: str) -> str:
        value = self.pad(value, [1] * 4) if self.style.pads else value
        pads = [0 if self.style.pads else 1] * 4
        pooled = self.node("MaxPool", [self.turned(value, TO_NCHW)], kernel_shape=[3, 3], strides=[2, 2], pads=pads)
        return self.turned(pooled, TO_NHWC)

    def pad(self, value: str, sizes: list[int]) -> str:
        top, left, bottom, right = sizes
        if self.style.opset >= 18:
            axes = self.store(f"axes{len(self.nodes)}", np.array([-3, -2] if self.style.nhwc else [-2, -1], np.int64))
            amounts = self.store(f"pads{len(self.nodes)}", np.array([top, left, bottom, right], np.int64))
            return self.node("Pad", [value, amounts, "", axes])
        whole = [0, top, left, 0, 0, bottom, right, 0] if self.style.nhwc else [0, 0, top, left, 0, 0, bottom, right]
        if self.style.opset < 11:
            return self.node("Pad", [value], pads=whole)
        return self.node("Pad", [value, self.store(f"pads{len(self.nodes)}", np.array(whole, np.int64))])

    def relu(self, value: str) -> str:
        return self.node("Relu", [value])

    def turned(self, value: str, perm: list[int]) -> str:
        return self.node("Transpose", [value], perm=perm) if self.style.nhwc else value

    def vector(self, name: str, array: Array | None) -> str:
        """A number for each channel, so that it broadcasts."""
        assert array is not None
        return self.store(name, array.reshape(-1) if self.style.nhwc else array.reshape(1, -1, 1, 1))

    def broadcast(self, name: str, array: Array | None) -> str:
        """(C,) reshaped by nodes to (1, C, 1, 1), as torch's newer exporter does."""
        assert array is not None
        sizes = [self.node("Constant", [], value_ints=[size]) for size in (1, -1, 1, 1)]
        return self.node("Reshape", [self.store(name, array), self.node("Concat", sizes, axis=0)])

    def node(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        output = f"{operator}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def store(self, name: str, array: Array) -> str:
        self.stored.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

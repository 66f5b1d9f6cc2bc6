"""Networks that are no plain ResNet are refused with what they seem to be. Structure only: their weights are single
numbers. The same sentences came out of torch 2.13's exports of torchvision's and timm's networks of these names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from resnetfea.errors import ResnetFeaError
from resnetfea.weights import look


class Net:
    """A graph written from its input on."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.stored = [
            numpy_helper.from_array(np.ones((1, 1, size, size), np.float32), f"w{size}") for size in (1, 3, 7)
        ]
        self.stored += [numpy_helper.from_array(np.ones(1, np.float32), "one")]

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [f"v{len(self.nodes)}"], **attributes))
        return f"v{len(self.nodes) - 1}"

    def conv(self, value: str, size: int, stride: int = 1, group: int = 1) -> str:
        settings = {"kernel_shape": [size] * 2, "strides": [stride] * 2, "pads": [size // 2] * 4, "group": group}
        return self.node("BatchNormalization", self.node("Conv", value, f"w{size}", **settings), *["one"] * 4)

    def conv_relu(self, value: str, size: int, stride: int = 1, group: int = 1) -> str:
        return self.node("Relu", self.conv(value, size, stride, group))

    def pool(self, value: str) -> str:
        return self.node("MaxPool", value, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])

    def bytes(self) -> bytes:
        image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 64, 64])
        graph = helper.make_graph(self.nodes, "net", [image], [], self.stored)
        return bytes(helper.make_model(graph).SerializeToString())


def bottlenecks(net: Net, value: str, *, group: int = 1, squeeze: bool = False) -> str:
    for index in range(16):
        y = net.conv_relu(net.conv_relu(value, 1), 3, group=group)
        y = net.conv(y, 1)
        if squeeze:
            gate = net.node("Conv", net.node("GlobalAveragePool", y), "w1")
            y = net.node("Mul", y, net.node("Sigmoid", gate))
        value = net.node("Relu", net.node("Add", y, net.conv(value, 1) if index in (0, 3, 7, 13) else value))
    return value


def resnext() -> Net:
    net = Net()
    bottlenecks(net, net.pool(net.conv_relu("x", 7, 2)), group=32)
    return net


def squeezed() -> Net:
    net = Net()
    bottlenecks(net, net.pool(net.conv_relu("x", 7, 2)), squeeze=True)
    return net


def deep_stem() -> Net:
    net = Net()
    bottlenecks(net, net.pool(net.conv_relu(net.conv_relu(net.conv_relu("x", 3, 2), 3), 3)))
    return net


def clip() -> Net:
    net = Net()
    stem = net.conv_relu(net.conv_relu(net.conv_relu("x", 3, 2), 3), 3)
    end = bottlenecks(net, net.node("AveragePool", stem, kernel_shape=[2, 2], strides=[2, 2]))
    net.node("Softmax", net.node("MatMul", end, end))
    return net


def basic() -> Net:
    net = Net()
    value = net.pool(net.conv_relu("x", 7, 2))
    for _ in range(8):
        value = net.node("Relu", net.node("Add", net.conv(net.conv_relu(value, 3), 3), value))
    return net


def pre_activation() -> Net:
    net = Net()
    value = net.pool(net.node("Conv", "x", "w7", kernel_shape=[7, 7], strides=[2, 2], pads=[3] * 4))
    for _ in range(16):
        y = net.node("Relu", net.node("BatchNormalization", value, *["one"] * 4))
        for size in (1, 3):
            y = net.conv_relu(y, size)
        value = net.node("Add", net.node("Conv", y, "w1", kernel_shape=[1, 1]), value)
    return net


def quantised() -> Net:
    net = Net()
    weight = net.node("DequantizeLinear", "w7", "one")
    net.node("Relu", net.node("Conv", "x", weight, kernel_shape=[7, 7], strides=[2, 2], pads=[3] * 4))
    return net


def mobile() -> Net:
    net = Net()
    net.conv_relu(net.conv_relu(net.conv_relu("x", 3, 2), 3, group=32), 3, group=96)
    return net


def vgg() -> Net:
    net = Net()
    net.conv_relu(net.pool(net.conv_relu(net.conv_relu("x", 3), 3)), 3)
    return net


def perceptron() -> Net:
    net = Net()
    net.node("MatMul", "x", "w1")
    return net


def dilated() -> Net:
    net = Net()
    bottlenecks(net, net.pool(net.conv_relu("x", 7, 2)))
    last = [node for node in net.nodes if node.op_type == "Conv" and node.input[1] == "w3"][-1]
    last.attribute.append(helper.make_attribute("dilations", [2, 2]))
    return net


KINDS = {
    squeezed: "an SE-ResNet",
    deep_stem: "a ResNet with a deep stem",
    clip: "CLIP's ResNet",
    basic: "a ResNet-18 or ResNet-34",
    pre_activation: "a pre-activation ResNet",
    quantised: "an int8-quantised network",
    mobile: "a network of depthwise convolutions",
    vgg: "a network without shortcuts",
    perceptron: "a network without convolutions",
    dilated: "a dilated ResNet",
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_kinds(kind: object, tmp_path: Path) -> None:
    path = tmp_path / "w.onnx"
    path.write_bytes(kind().bytes())  # type: ignore[operator]
    with pytest.raises(ResnetFeaError, match=f"it seems to be {KINDS[kind]}") as caught:  # type: ignore[index]
        look(path)
    assert str(path) in str(caught.value)


def test_a_resnext_is_not_suspected(tmp_path: Path) -> None:
    """They are read, so that what is wrong with this one (no stage has a stride) is not that it is a ResNeXt."""
    (tmp_path / "w.onnx").write_bytes(resnext().bytes())
    with pytest.raises(ResnetFeaError, match="cannot be read as weights: its layers differ"):
        look(tmp_path / "w.onnx")


def test_a_plain_one_is_not_suspected(tmp_path: Path) -> None:
    """The blocks these are made from are a ResNet's: what is refused is what differs."""
    net, path = Net(), tmp_path / "w.onnx"
    bottlenecks(net, net.pool(net.conv_relu("x", 7, 2)))
    strided = [node for node in net.nodes if node.op_type == "Conv" and node.input[1] == "w3"]
    for index in (3, 7, 13):
        next(a for a in strided[index].attribute if a.name == "strides").ints[:] = [2, 2]
    starts = [node for node in net.nodes if node.op_type == "Conv"]
    for index in (3, 7, 13):
        at = starts.index(strided[index])
        next(a for a in starts[at + 2].attribute if a.name == "strides").ints[:] = [2, 2]
    path.write_bytes(net.bytes())
    assert look(path).variant.depth == 50

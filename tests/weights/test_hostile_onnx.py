"""ONNX graphs made to harm, or that are no ResNet."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from resnetfea.weights import look
from weights.making import (
    CANARY,
    DATA,
    Refuse,
    field,
)


def edited(change: Callable[[onnx.GraphProto], object], file: str = "tiny-bn.onnx") -> bytes:
    model = onnx.load(DATA / file)
    change(model.graph)
    return bytes(model.SerializeToString())


def node(graph: onnx.GraphProto, operator: str) -> onnx.NodeProto:
    found: onnx.NodeProto = next(node for node in graph.node if node.op_type == operator)
    return found


def stem(graph: onnx.GraphProto) -> TensorProto:
    name = node(graph, "Conv").input[1]
    found: TensorProto = next(tensor for tensor in graph.initializer if tensor.name == name)
    return found


def external(location: str) -> bytes:
    def change(graph: onnx.GraphProto) -> None:
        tensor = stem(graph)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    return edited(change)


def external_pads(location: str) -> bytes:
    """The pads of a Pad node are read too."""

    def change(graph: onnx.GraphProto) -> None:
        pool = node(graph, "MaxPool")
        pads = TensorProto(name="pads", data_type=TensorProto.INT64, dims=[8], data_location=TensorProto.EXTERNAL)
        pads.external_data.add(key="location", value=location)
        graph.initializer.append(pads)
        graph.node.append(helper.make_node("Pad", [pool.input[0], "pads"], ["padded"]))
        pool.input[0] = "padded"

    return edited(change)


def set_dims(*dims: int) -> Callable[[onnx.GraphProto], object]:
    def change(graph: onnx.GraphProto) -> None:
        stem(graph).dims[:] = dims

    return change


def set_attribute(operator: str, name: str, value: Any) -> Callable[[onnx.GraphProto], object]:
    def change(graph: onnx.GraphProto) -> None:
        changed = node(graph, operator)
        kept = [attribute for attribute in changed.attribute if attribute.name != name]
        del changed.attribute[:]
        changed.attribute.extend([*kept, helper.make_attribute(name, value)])

    return change


def cut_inputs(operator: str, count: int) -> Callable[[onnx.GraphProto], object]:
    def change(graph: onnx.GraphProto) -> None:
        del node(graph, operator).input[count:]

    return change


def circle(graph: onnx.GraphProto) -> None:
    """The last block's output is the first block's input."""
    last = [node for node in graph.node if node.op_type == "Relu"][-1].output[0]
    first = node(graph, "MaxPool").output[0]
    for one in graph.node:
        if last in one.input:
            one.input[:] = [first if name == last else name for name in one.input]
    [one for one in graph.node if one.op_type == "Relu"][-1].output[0] = first


def circle_at_the_input(graph: onnx.GraphProto) -> None:
    del graph.node[:]
    graph.node.append(helper.make_node("Identity", ["x"], ["y"]))
    graph.node.append(helper.make_node("Identity", ["y"], ["x"]))


def wide_bias(graph: onnx.GraphProto) -> None:
    """mean - bias would broadcast to 100,000 x 4 numbers."""
    graph.initializer.append(TensorProto(name="wide", data_type=1, dims=[100_000, 1], raw_data=b"\x01" * 400_000))
    node(graph, "Conv").input.append("wide")


def row_of_sums(graph: onnx.GraphProto) -> None:
    """Additions between a convolution and its norm, each looked at again for the one before."""
    first, norm = node(graph, "Conv").output[0], node(graph, "BatchNormalization")
    graph.initializer.append(TensorProto(name="q", data_type=1, dims=[4], raw_data=bytes(16)))
    names = [first, *(f"sum{index}" for index in range(40))]
    graph.node.extend(helper.make_node("Add", [one, "q"], [other]) for one, other in pairwise(names))
    norm.input[0] = names[-1]


def chain(graph: onnx.GraphProto) -> None:
    del graph.node[:]
    graph.node.extend(helper.make_node("Identity", [f"v{i}" if i else "x"], [f"v{i + 1}"]) for i in range(10_000))


def perceptron(graph: onnx.GraphProto) -> None:
    del graph.node[:]
    graph.node.append(helper.make_node("MatMul", ["x", graph.initializer[0].name], ["y"]))


ONNX: dict[str, Callable[[], bytes]] = {
    "data in a file above": lambda: external(f"../{CANARY}"),
    "data in an absolute file": lambda: external("/etc/passwd"),
    "data in a file beside": lambda: external("secret"),
    "pads in a file beside": lambda: external_pads("secret"),
    "circle": lambda: edited(circle),
    "circle at the input": lambda: edited(circle_at_the_input),
    "huge dims": lambda: edited(set_dims(1 << 40, 1 << 40, 7, 7)),
    "negative dims": lambda: edited(set_dims(-1, 3, 7, 7)),
    "many dims": lambda: edited(set_dims(*[1] * 1000)),
    "two inputs": lambda: edited(lambda graph: graph.input.add(name="second")),
    "no inputs": lambda: edited(lambda graph: graph.ClearField("input")),
    "an initialiser twice": lambda: edited(lambda graph: graph.initializer.append(stem(graph))),
    "no nodes": lambda: edited(lambda graph: graph.ClearField("node")),
    "a chain of 10,000 nodes": lambda: edited(chain),
    "a row of sums": lambda: edited(row_of_sums),
    "a perceptron": lambda: edited(perceptron),
    "strides as a number": lambda: edited(set_attribute("Conv", "strides", 2)),
    "strides as text": lambda: edited(set_attribute("Conv", "strides", "2")),
    "pads of tensors": lambda: edited(set_attribute("MaxPool", "pads", [TensorProto()])),
    "pads of three": lambda: edited(set_attribute("Conv", "pads", [1, 1, 1])),
    "dilated": lambda: edited(set_attribute("Conv", "dilations", [2, 2])),
    "grouped": lambda: edited(set_attribute("Conv", "group", 2)),
    "epsilon not a number": lambda: edited(set_attribute("BatchNormalization", "epsilon", float("nan"))),
    "epsilon below zero": lambda: edited(set_attribute("BatchNormalization", "epsilon", -1.0)),
    "epsilon as text": lambda: edited(set_attribute("BatchNormalization", "epsilon", "small")),
    "padded by a strange rule": lambda: edited(set_attribute("Conv", "auto_pad", "SAME_LOWER")),
    "a convolution without weight": lambda: edited(cut_inputs("Conv", 1)),
    "a convolution without input": lambda: edited(cut_inputs("Conv", 0)),
    "a norm without variance": lambda: edited(cut_inputs("BatchNormalization", 4)),
    "a node without output": lambda: edited(lambda graph: node(graph, "Relu").ClearField("output")),
    "a pad without pads": lambda: edited(lambda graph: graph.node.add(op_type="Pad", input=["x"])),
    "a vendor's convolution": lambda: edited(lambda graph: setattr(node(graph, "Conv"), "domain", "com.evil")),
    "a tensor of text": lambda: edited(lambda graph: setattr(stem(graph), "data_type", TensorProto.STRING)),
    "a tensor of type 99": lambda: edited(lambda graph: setattr(stem(graph), "data_type", 99)),
    "a tensor of no type": lambda: edited(lambda graph: setattr(stem(graph), "data_type", 0)),
    "a tensor in segments": lambda: edited(lambda graph: setattr(stem(graph).segment, "end", 1)),
    "a tensor without numbers": lambda: edited(lambda graph: stem(graph).ClearField("raw_data")),
    "no graph": lambda: field(1, 8),
    "a million empty nodes": lambda: field(1, 8) + field(7, b"\x0a\x00" * 1_000_000),
    "not protobuf": lambda: b"\x08\x08" + b"\xff" * 100,
}


@pytest.mark.parametrize("name", ONNX)
def test_onnx(name: str, refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(np.array([0, 0, 1, 1, 0, 0, 1, 1], "<i8").tobytes())
    refuse(ONNX[name]())


def test_a_bias_that_would_broadcast(tmp_path: Path) -> None:
    (tmp_path / "w.onnx").write_bytes(edited(wide_bias))
    assert "wide is (100000, 1)" in str(look(tmp_path / "w.onnx").problems)


def test_the_graph_these_are_made_from_is_read(tmp_path: Path) -> None:
    (tmp_path / "w.onnx").write_bytes(edited(lambda graph: None))
    assert not look(tmp_path / "w.onnx").problems

"""ONNX in each of the ways in which exporters write it: the same ResNet comes out, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from data import tiny
from resnetfea.errors import ResnetFeaError
from resnetfea.weights import read
from weights.making import DATA
from weights.onnx_making import EPS, STYLES, Style, expected, model


@pytest.mark.parametrize("name", STYLES)
def test_every_style_is_read_bit_for_bit(name: str, tmp_path: Path) -> None:
    style, path = STYLES[name], tmp_path / "w.onnx"
    written = model(style)
    onnx.checker.check_model(written, full_check=True)
    path.write_bytes(written.SerializeToString())
    found = read(path)
    assert found.variant == replace(tiny.TINY_BN, bn_eps=0.0 if style.norm in ("written", "frozen") else EPS)
    assert found.unused == ()
    assert found.tensors.keys() == tiny.weights().keys()
    for tensor, array in expected(style).items():
        assert np.array_equal(found.tensors[tensor], array), tensor


@pytest.mark.parametrize("file", ["tiny-tf2onnx.onnx", "tiny-tf2onnx-transposed.onnx"])
def test_what_tf2onnx_writes(file: str) -> None:
    """Kernels bit-equal; scale, shift and bias are the file's own constants, computed from the norm."""
    found, state = read(DATA / file), tiny.weights()
    assert found.variant == replace(tiny.TINY_FOLDED, bn_eps=0.0)
    stored = {numpy_helper.to_array(tensor).tobytes() for tensor in onnx.load(DATA / file).graph.initializer}
    for name, array in found.tensors.items():
        if array.ndim == 4:
            assert np.array_equal(array, state[name]), name
        elif name.endswith("running_mean"):
            assert (-array).tobytes() in stored, name
        elif name.endswith("running_var"):
            assert (array == 1).all(), name
        else:
            assert array.tobytes() in stored, name
        if name.endswith("1.weight") and array.ndim == 1:
            norm = name.removesuffix(".weight")
            scale = state[name] / np.sqrt(state[f"{norm}.running_var"] + 1.001e-5)
            np.testing.assert_allclose(array, scale, rtol=1e-6, err_msg=name)


def test_eps_that_stands_for_none_is_none(tmp_path: Path) -> None:
    """MindSpore refuses 0, so that our own exports have 1e-30."""
    written = model(Style())
    for node in written.graph.node:
        if node.op_type == "BatchNormalization":
            node.attribute[0].f = 1e-30
    (tmp_path / "w.onnx").write_bytes(written.SerializeToString())
    assert read(tmp_path / "w.onnx").variant.bn_eps == 0


POOLS: dict[str, tuple[list[int] | None, dict[str, Any], str]] = {
    # Pad nodes in front, the pool's own settings, what it is
    "mindspore's ceil": ([0, 0, 1, 1], {}, "ceil"),
    "keras": ([1, 1, 1, 1], {}, "pad1"),
    "tensorflow's same": (None, {"auto_pad": "SAME_UPPER"}, "same"),
    "caffe": (None, {"ceil_mode": 1}, "ceil"),
    "torch": (None, {"pads": [1, 1, 1, 1]}, "pad1"),
}


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("filling", [None, 0.0, -np.inf])
def test_pools(name: str, filling: float | None, tmp_path: Path) -> None:
    front, settings, kind = POOLS[name]
    written = model(Style())
    graph = written.graph
    pool = next(node for node in graph.node if node.op_type == "MaxPool")
    del pool.attribute[:]
    for key, value in {"kernel_shape": [3, 3], "strides": [2, 2], **settings}.items():
        pool.attribute.append(helper.make_attribute(key, value))
    if front is not None:
        top, left, bottom, right = front
        sizes = np.array([0, 0, top, left, 0, 0, bottom, right])
        graph.initializer.append(numpy_helper.from_array(sizes, "sizes"))
        inputs = [pool.input[0], "sizes"]
        if filling is not None:
            graph.initializer.append(numpy_helper.from_array(np.array(filling, np.float32), "filling"))
            inputs.append("filling")
        graph.node.insert(list(graph.node).index(pool), helper.make_node("Pad", inputs, ["padded"]))
        pool.input[0] = "padded"
    (tmp_path / "w.onnx").write_bytes(written.SerializeToString())
    assert read(tmp_path / "w.onnx").variant.pool == kind


def turn(written: onnx.ModelProto, index: int, perm: list[int]) -> None:
    [node for node in written.graph.node if node.op_type == "Transpose"][index].attribute[0].ints[:] = perm


def fill(written: onnx.ModelProto, value: float) -> None:
    pads = [node for node in written.graph.node if node.op_type == "Pad"]
    written.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), "filling"))
    pads[0].input.append("filling")


def reflect(written: onnx.ModelProto) -> None:
    pads = [node for node in written.graph.node if node.op_type == "Pad"]
    pads[0].attribute.append(helper.make_attribute("mode", "reflect"))


def pad_channels(written: onnx.ModelProto) -> None:
    tensor = next(tensor for tensor in written.graph.initializer if tensor.name.startswith("pads"))
    tensor.CopyFrom(numpy_helper.from_array(np.array([0, 3, 3, 1, 0, 3, 3, 1]), tensor.name))


def drop_training(written: onnx.ModelProto) -> None:
    relu = next(node for node in written.graph.node if node.op_type == "Relu")
    true = helper.make_tensor("true", onnx.TensorProto.BOOL, [], [True])
    written.graph.initializer.extend([numpy_helper.from_array(np.array(0.5, np.float32), "ratio"), true])
    written.graph.node.append(helper.make_node("Dropout", [relu.output[0], "ratio", "true"], ["dropped"]))
    for node in written.graph.node:
        if node.op_type != "Dropout":
            node.input[:] = ["dropped" if name == relu.output[0] else name for name in node.input]


WRONG: dict[str, tuple[Callable[[onnx.ModelProto], None], str]] = {
    # what is done to the graph of tf2onnx's style, and what the refusal says
    "height and width swapped at the input": (lambda m: turn(m, 0, [0, 3, 2, 1]), "image comes in as"),
    "a convolution that sees NHWC": (lambda m: turn(m, 4, [0, 1, 2, 3]), "NCHW"),
    "a shortcut turned otherwise": (lambda m: turn(m, 9, [0, 2, 1, 3]), "layer1.0|bottleneck"),
    "axes that are none": (lambda m: turn(m, 4, [0, 0, 1, 2]), "bottleneck|has one"),
    "padded with ones": (lambda m: fill(m, 1.0), "not with zeros"),
    "padded with nothing lower": (lambda m: fill(m, -np.inf), "not with zeros"),
    "padded by reflection": (reflect, "by zeros"),
    "channels padded": (pad_channels, "other than height and width"),
    "a dropout that may train": (drop_training, "has one MaxPool"),
}


@pytest.mark.parametrize("name", WRONG)
def test_layouts_and_paddings_that_compute_something_else(name: str, tmp_path: Path) -> None:
    change, reason = WRONG[name]
    written = model(STYLES["tf2onnx, transposed"])
    change(written)
    (tmp_path / "w.onnx").write_bytes(written.SerializeToString())
    with pytest.raises(ResnetFeaError, match=reason):
        read(tmp_path / "w.onnx")


def test_a_dropout_that_infers_changes_nothing(tmp_path: Path) -> None:
    written = model(STYLES["tf2onnx, transposed"])
    drop_training(written)
    written.graph.node[-1].input.pop()
    (tmp_path / "w.onnx").write_bytes(written.SerializeToString())
    assert len(read(tmp_path / "w.onnx").tensors) == 265

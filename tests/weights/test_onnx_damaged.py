"""An ONNX file that lacks something is refused by name in every style; look() still says what is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from resnetfea.errors import ResnetFeaError
from resnetfea.weights import look, read
from weights.onnx_making import STYLES, model

CONV = "layer2.0.conv2.weight"
Tensors = dict[str, TensorProto]


def missing(tensors: Tensors, name: str) -> None:
    del tensors[name]


def renamed(tensors: Tensors, name: str) -> None:
    tensors[name].name = "mystery"


def misshapen(tensors: Tensors, name: str) -> None:
    array = numpy_helper.to_array(tensors[name])
    axis = max(range(array.ndim), key=lambda axis: array.shape[axis])
    tensors[name].CopyFrom(numpy_helper.from_array(np.concatenate([array, array], axis), name))


def damaged(path: Path, style: str, damage: Callable[[Tensors, str], None], name: str) -> None:
    written = model(STYLES[style])
    tensors = {tensor.name: tensor for tensor in written.graph.initializer}
    damage(tensors, name)
    kept = [TensorProto.FromString(tensor.SerializeToString()) for tensor in tensors.values()]
    del written.graph.initializer[:]
    written.graph.initializer.extend(kept)
    path.write_bytes(written.SerializeToString())


NAMES = [CONV, "layer2.0.bn2.weight", "layer2.0.bn2.bias"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", [missing, renamed])
@pytest.mark.parametrize("style", [name for name in STYLES if name != "frozen"])
def test_lost(style: str, damage: Callable[[Tensors, str], None], name: str, tmp_path: Path) -> None:
    path = tmp_path / "w.onnx"
    damaged(path, style, damage, name)
    with pytest.raises(ResnetFeaError) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert f"missing (1): {name}" in str(caught.value)
    found = look(path)
    assert found.missing == (name,)
    assert found.variant.width_per_group == 2
    assert ("mystery" in found.unused) == (damage is renamed)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("style", ["plain", "tf2onnx", "tf2onnx, transposed", "kernels turned by nodes"])
def test_misshapen(style: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / "w.onnx"
    damaged(path, style, misshapen, name)
    with pytest.raises(ResnetFeaError, match=rf"wrong shape.*{name} is \(.*\) where") as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert look(path).variant.width_per_group == 2


@pytest.mark.parametrize("bias", ["own", "added"])
@pytest.mark.parametrize("damage", [missing, misshapen])
def test_a_bias(bias: str, damage: Callable[[Tensors, str], None], tmp_path: Path) -> None:
    style = "tf2onnx" if bias == "own" else "tf2onnx, transposed"
    damaged(tmp_path / "w.onnx", style, damage, "layer2.0.conv2.bias")
    with pytest.raises(ResnetFeaError, match=r"layer2\.0\.bn2\.running_mean|layer2\.0\.conv2\.bias"):
        read(tmp_path / "w.onnx")
    assert look(tmp_path / "w.onnx").problems


@pytest.mark.parametrize("part", [0.0001, 0.3, 0.6, 0.9999])
@pytest.mark.parametrize("style", STYLES)
def test_truncated(style: str, part: float, tmp_path: Path) -> None:
    path = tmp_path / "w.onnx"
    data = model(STYLES[style]).SerializeToString()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(ResnetFeaError, match=str(path)):
        look(path)


def test_a_weight_that_old_exporters_list_among_the_inputs(tmp_path: Path) -> None:
    """Up to IR version 3 every initialiser is an input too; a lost one must not be taken for an image."""
    written = model(STYLES["plain"])
    for tensor in list(written.graph.initializer):
        info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        written.graph.input.append(info)
        if tensor.name == CONV:
            written.graph.initializer.remove(tensor)
    (tmp_path / "w.onnx").write_bytes(written.SerializeToString())
    assert look(tmp_path / "w.onnx").missing == (CONV,)

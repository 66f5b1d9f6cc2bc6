"""Files written by the real libraries come out bit-equal, with what belongs to them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from data import tiny
from resnetfea.network.variant import Variant
from resnetfea.weights import ckpt_file, h5_file, look, npz_file, read, safetensors_file, torch_file
from resnetfea.weights.recipe import MINDSPORE, TORCHVISION, Recipe
from rich_weights import State
from weights.making import DATA, WRITERS

TORCH = replace(tiny.TINY, pool="pad1")
MODELZOO = replace(tiny.TINY, conv_pad="same", bn_eps=1e-4)
COUNTERS = 53  # num_batches_tracked

READERS = {
    "torch-zip": torch_file.read_zip,
    "torch-legacy": torch_file.read_legacy,
    "safetensors": safetensors_file.read,
    "ckpt": ckpt_file.read,
    "h5": h5_file.read,
    "npz": npz_file.read,
}

# file, container, ecosystem, variant, recipe, tensors in the file, unused
FILES: list[tuple[str, str, str, Variant, Recipe, int, int]] = [
    ("tiny.pth", "torch-zip", "torchvision", TORCH, TORCHVISION, 320, COUNTERS + 2),
    ("tiny-legacy.pth", "torch-legacy", "torchvision", TORCH, TORCHVISION, 320, COUNTERS + 2),
    ("tiny-half.pth", "torch-zip", "torchvision", TORCH, TORCHVISION, 320, COUNTERS + 2),
    ("tiny-module.pth", "torch-zip", "torchvision", TORCH, TORCHVISION, 320, COUNTERS + 2 + 2),  # epoch, arch
    ("tiny.safetensors", "safetensors", "torchvision", TORCH, TORCHVISION, 320, COUNTERS + 2),
    ("tiny-modelzoo.ckpt", "ckpt", "modelzoo", MODELZOO, MINDSPORE, 269, 4),
    ("tiny-mindcv.ckpt", "ckpt", "mindcv", tiny.TINY, MINDSPORE, 267, 2),
    ("tiny-resnetfea.ckpt", "ckpt", "resnetfea", tiny.TINY, MINDSPORE, 265, 0),
    ("tiny-backbone.ckpt", "ckpt", "resnetfea", tiny.TINY, MINDSPORE, 265, 0),
    ("tiny-bn.onnx", "onnx", "onnx", tiny.TINY_BN, TORCHVISION, 265, 0),
    ("tiny-folded.onnx", "onnx", "onnx", replace(tiny.TINY_FOLDED, bn_eps=0.0), TORCHVISION, 106, 0),
    ("tiny-dynamo.onnx", "onnx", "onnx", replace(tiny.TINY_BN, bn_eps=0.0), TORCHVISION, 106, 0),
    ("tiny-tf2onnx.onnx", "onnx", "onnx", replace(tiny.TINY_FOLDED, bn_eps=0.0), TORCHVISION, 213, 0),
    ("tiny-tf2onnx-transposed.onnx", "onnx", "onnx", replace(tiny.TINY_FOLDED, bn_eps=0.0), TORCHVISION, 213, 0),
]
FOLDED = ("tiny-folded.onnx", "tiny-dynamo.onnx", "tiny-tf2onnx.onnx", "tiny-tf2onnx-transposed.onnx")


@pytest.mark.parametrize(("file", "container", "ecosystem", "variant", "recipe", "count", "unused"), FILES)
def test_facts(
    file: str, container: str, ecosystem: str, variant: Variant, recipe: Recipe, count: int, unused: int
) -> None:
    found = read(DATA / file)
    assert (found.container, found.ecosystem) == (container, ecosystem)
    assert found.variant == variant
    assert found.recipe == recipe
    assert (found.count, len(found.unused), found.missing, found.problems) == (count, unused, (), ())
    assert found.sha256 == hashlib.sha256((DATA / file).read_bytes()).hexdigest()


@pytest.mark.parametrize("file", [row[0] for row in FILES if row[0] not in ("tiny-half.pth", *FOLDED)])
def test_bit_equal(file: str) -> None:
    assert_equal(read(DATA / file).tensors, tiny.weights())


def test_half_is_widened_exactly() -> None:
    narrow = {name: array.astype(np.float16).astype(np.float32) for name, array in tiny.weights().items()}
    assert_equal(read(DATA / "tiny-half.pth").tensors, narrow)


@pytest.mark.parametrize("file", ["tiny-folded.onnx", "tiny-dynamo.onnx"])
def test_folded_norms_become_bias_alone(file: str) -> None:
    found = read(DATA / file)
    model = onnx.load(DATA / file)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convs) == 53
    for norm in (name.removesuffix(".weight") for name in found.tensors if is_gamma(name)):
        assert (found.tensors[f"{norm}.weight"] == 1).all()
        assert (found.tensors[f"{norm}.running_mean"] == 0).all()
        assert (found.tensors[f"{norm}.running_var"] == 1).all()
    ours = {found.tensors[name].tobytes() for name in found.tensors if "conv" in name or "downsample.0" in name}
    assert ours == {stored[conv.input[1]].tobytes() for conv in convs}
    biases = {found.tensors[name].tobytes() for name in found.tensors if name.endswith(".bias")}
    assert biases == {stored[conv.input[2]].tobytes() for conv in convs}


@pytest.mark.parametrize("file", ["tiny-folded.onnx", "tiny-dynamo.onnx"])
def test_folded_weights_lie_where_they_belong(file: str) -> None:
    """Folding scales each output channel by gamma / sqrt(var + eps): close to that, at every one of 53 places."""
    found, state = read(DATA / file).tensors, tiny.weights()
    for norm in (name.removesuffix(".weight") for name in state if is_gamma(name)):
        conv = norm.replace("bn", "conv").replace("downsample.1", "downsample.0")
        scale = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + 1e-5)
        expected = state[f"{conv}.weight"] * scale[:, None, None, None]
        np.testing.assert_allclose(found[f"{conv}.weight"], expected, rtol=1e-5, err_msg=conv)


def test_opennsfw_is_the_default() -> None:
    found = read("opennsfw")
    assert (len(found.tensors), found.container, found.recipe_of) == (265, "onnx", "open_nsfw")
    expected = Variant(
        stem_channels=64, res2_channels=128, width_per_group=32, stride_in="1x1", pool="same", bn_eps=0.0
    )
    assert found.variant == expected
    assert (found.recipe.color, found.recipe.scale, found.recipe.mean) == ("bgr", 1.0, (104.0, 117.0, 123.0))
    assert found.recipe.std == (1.0, 1.0, 1.0)
    model = onnx.load(found.path)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convs) == 53
    np.testing.assert_array_equal(found.tensors["conv1.weight"], stored[convs[0].input[1]])
    np.testing.assert_array_equal(found.tensors["bn1.bias"], stored[convs[0].input[2]])
    last = next(conv for conv in reversed(convs) if stored[conv.input[1]].shape == (1024, 256, 1, 1))
    np.testing.assert_array_equal(found.tensors["layer4.2.conv3.weight"], stored[last.input[1]])


def test_a_link_to_a_good_file_is_followed(tmp_path: Path) -> None:
    link = tmp_path / "link.pth"
    link.symlink_to(DATA / "tiny.pth")
    assert len(read(link).tensors) == 265


def test_the_suffix_does_not_matter(tmp_path: Path) -> None:
    copy = tmp_path / "weights.onnx"
    copy.write_bytes((DATA / "tiny.safetensors").read_bytes())
    assert look(copy).container == "safetensors"


@pytest.mark.parametrize("container", WRITERS)
def test_numbers_are_not_copied(container: str) -> None:
    """A reader's arrays lie in the file's own bytes, so that half precision needs no fourth time its size."""
    data = WRITERS[container]({"bn1.weight": np.arange(6, dtype=np.float16)})
    (array,) = READERS[container](data).tensors.values()
    assert array.dtype == np.float16
    assert np.shares_memory(array, np.frombuffer(data, np.uint8))


def is_gamma(name: str) -> bool:
    return name.endswith(".weight") and ("bn" in name or "downsample.1" in name)


def assert_equal(found: object, expected: State) -> None:
    assert isinstance(found, dict)
    assert list(found) == list(expected)  # in the network's order
    for name, array in expected.items():
        tensor: NDArray[np.float32] = found[name]
        assert tensor.dtype == np.float32, name
        assert tensor.shape == array.shape, name
        assert tensor.tobytes() == array.tobytes(), name

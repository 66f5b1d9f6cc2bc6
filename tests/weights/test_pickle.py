"""Detectron's and detectron2's pickles: bit-equal whoever wrote them, and never more than plain numbers."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from data.tiny import weights
from resnetfea.errors import ResnetFeaError
from resnetfea.weights import look, read, recipe
from resnetfea.weights.ecosystem import Ecosystem
from resnetfea.weights.ecosystems import ECOSYSTEMS
from weights.making import REDUCE, Arrays, Refuse, group, mention, number, pickled, text
from weights.making_pickles import WRITERS, flat, python2_array, python2_dtype, python2_pickle, short_text
from weights.test_ecosystems import as_read, as_stored

Array = NDArray[np.float32]
CAFFE2 = {one.name: one for one in ECOSYSTEMS if one.theirs("conv1.weight") == "conv1_w"}
D2 = next(one for one in ECOSYSTEMS if one.theirs("bn1.bias") == "stem.conv1.norm.bias")


def stored(ecosystem: Ecosystem) -> dict[str, Array]:
    return {ecosystem.theirs(name): array for name, array in as_stored(ecosystem, weights()).items()}


def file(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "R-50.pkl"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("name", CAFFE2)
def test_caffe2_names(name: str, writer: str, tmp_path: Path) -> None:
    found = read(file(tmp_path, WRITERS[writer](stored(CAFFE2[name]))))
    assert (found.container, found.ecosystem) == ("pickle", name)
    assert (found.variant.stride_in, found.variant.pool) == ("1x1", "pad1")
    assert found.variant.bn_eps == (0 if name == "detectron1" else 1e-5)
    assert found.recipe == (recipe.DETECTRON if name == "detectron1" else recipe.DETECTRON2)
    assert all(np.array_equal(found.tensors[key], array) for key, array in as_read(CAFFE2[name], weights()).items())


@pytest.mark.parametrize(
    ("theirs", "canonical_name"),
    [  # reference.md 2.4
        ("conv1_w", "conv1.weight"),
        ("res_conv1_bn_s", "bn1.weight"),
        ("res2_0_branch1_w", "layer1.0.downsample.0.weight"),
        ("res2_0_branch1_bn_b", "layer1.0.downsample.1.bias"),
        ("res4_5_branch2a_w", "layer3.5.conv1.weight"),
        ("res5_2_branch2c_bn_s", "layer4.2.bn3.weight"),
    ],
)
def test_names_as_detectron_spells_them(theirs: str, canonical_name: str) -> None:
    assert CAFFE2["detectron1"].theirs(canonical_name) == theirs


def test_other_spellings_of_the_statistics(tmp_path: Path) -> None:
    """As detectron2's loader takes them: _rm, _riv, and a stem without `res_`."""
    spelled = {
        name.replace("_running_mean", "_rm").replace("_running_var", "_riv").replace("res_conv1", "conv1"): array
        for name, array in stored(CAFFE2["detectron2"]).items()
    }
    assert "conv1_bn_riv" in spelled
    found = read(file(tmp_path, flat(spelled)))
    assert all(np.array_equal(found.tensors[key], array) for key, array in weights().items())


def test_two_spellings_of_one_tensor(tmp_path: Path) -> None:
    twice = stored(CAFFE2["detectron2"])
    twice["conv1_bn_rm"] = twice["res_conv1_bn_running_mean"]
    with pytest.raises(ResnetFeaError, match="two names of one tensor"):
        look(file(tmp_path, flat(twice)))


def test_what_lies_beside_the_backbone(tmp_path: Path) -> None:
    beside = ("conv1_w_momentum", "fc6_w", "bbox_pred_b", "_[mask]_fcn1_w", "conv_rpn_fpn2_w", "conv1_b", "lr")
    blobs = stored(CAFFE2["detectron1"]) | {name: np.ones(2, np.float32) for name in beside}
    found = read(file(tmp_path, pickle.dumps({"blobs": blobs, "cfg": "NUM_GPUS: 8"}, protocol=2)))
    assert set(found.unused) == {*beside, "cfg"}
    assert found.wrapper == "blobs"


@pytest.mark.parametrize(
    ("author", "stride_in", "color"),
    [
        ("torchvision", "3x3", "rgb"),
        ("MOCO", "3x3", "rgb"),
        ("Detectron2 Model Zoo", "1x1", "bgr"),
        (None, "1x1", "bgr"),
    ],
)
def test_author_decides_how_detectron2s_own_names_compute(
    author: str | None, stride_in: str, color: str, tmp_path: Path
) -> None:
    model = {"model": stored(D2)} | ({"__author__": author, "matching_heuristics": True} if author else {})
    found = read(file(tmp_path, pickle.dumps(model)))
    assert (found.ecosystem, found.variant.stride_in, found.recipe.color) == ("detectron2", stride_in, color)
    assert all(np.array_equal(found.tensors[key], array) for key, array in weights().items())


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f2", "<f8"])
def test_layouts_of_arrays(dtype: str, protocol: int, order: str, tmp_path: Path) -> None:
    arrays = {name: np.array(array, dtype=dtype, order=order) for name, array in weights().items()}  # type: ignore[call-overload]
    found = read(file(tmp_path, pickle.dumps(arrays, protocol=protocol)))
    assert found.ecosystem == "torchvision"
    assert all(np.array_equal(found.tensors[name], arrays[name].astype(np.float32)) for name in arrays)


def missing(state: dict[str, Array]) -> None:
    del state["res3_0_branch2b_w"]


def renamed(state: dict[str, Array]) -> None:
    state["res3_0_branch2z_w"] = state.pop("res3_0_branch2b_w")


def misshapen(state: dict[str, Array]) -> None:
    state["res3_0_branch2b_w"] = state["res3_0_branch2b_w"].reshape(-1, 1, 3, 3)


@pytest.mark.parametrize("damage", [missing, renamed, misshapen])
def test_one_tensor_wrong(damage: Callable[[dict[str, Array]], None], tmp_path: Path) -> None:
    state = stored(CAFFE2["detectron1"])
    damage(state)
    path = file(tmp_path, python2_pickle(state))
    with pytest.raises(ResnetFeaError, match=rf"{path}.*(layer2\.0\.conv2\.weight|res3_0_branch2b_w)"):
        read(path)
    gone = damage is not misshapen
    assert look(path).missing == (("layer2.0.conv2.weight",) if gone else ())  # absent statistics do not count


@pytest.mark.parametrize("part", [0.001, 0.2, 0.5, 0.9, 0.999, 1.0])
@pytest.mark.parametrize("writer", WRITERS)
def test_cut_short(writer: str, part: float, tmp_path: Path) -> None:
    data = WRITERS[writer](stored(CAFFE2["detectron1"]))
    with pytest.raises(ResnetFeaError):
        look(file(tmp_path, data[: min(int(len(data) * part), len(data) - 1)]))


ONES = np.ones((2, 2), np.float32)
NDARRAY, DTYPE = mention("numpy", "ndarray"), mention("numpy", "dtype")


def one_of(value: bytes) -> bytes:
    return pickled(b"}", text("conv1_w"), value, b"s")


def reconstructed(kind: bytes) -> bytes:
    arguments = group(kind, group(number(0)), short_text(b"b"))
    return mention("numpy.core.multiarray", "_reconstruct") + arguments + REDUCE


HOSTILE: dict[str, bytes] = {
    "objects": pickle.dumps({"conv1_w": np.array([print, len])}),
    "records": pickle.dumps({"conv1_w": np.zeros(2, [("a", "f4"), ("b", "i4")])}),
    "texts": pickle.dumps({"conv1_w": np.array(["a", "b"])}),
    "dates": pickle.dumps({"conv1_w": np.zeros(2, "M8[s]")}),
    "complex numbers": pickle.dumps({"conv1_w": np.zeros(2, np.complex64)}),
    "a subclass": pickle.dumps({"conv1_w": np.ma.ones(2)}),
    "shape larger than its bytes": one_of(python2_array(ONES, shape=[1 << 40, 1 << 20])),
    "shape smaller than its bytes": one_of(python2_array(ONES, shape=[1])),
    "a negative shape": one_of(python2_array(ONES, shape=[-2, -2])),
    "10,000 dimensions": one_of(python2_array(ONES, shape=[1] * 10_000)),
    "a shape that is text": one_of(python2_array(ONES).replace(group(number(2), number(2)), text("ab"))),
    "an array of no class": one_of(reconstructed(DTYPE)),
    "an array without its state": one_of(reconstructed(NDARRAY)),
    "a type of nested tuples": one_of(DTYPE + group(text("f4,(1000000,)f4"), b"\x89", b"\x88") + REDUCE),
    "a type with a subarray": one_of(
        python2_array(ONES, dtype=python2_dtype(ONES).replace(b"NNN", group(text("f4"), number(4)) + b"NN"))
    ),
    "a mutable buffer that is none": one_of(mention("numpy.core.numeric", "_frombuffer") + group(text("x")) + REDUCE),
    "encode with a codec": one_of(mention("_codecs", "encode") + group(text("x"), text("bz2")) + REDUCE),
    "lookup of a codec": one_of(mention("_codecs", "lookup") + group(text("x")) + REDUCE),
    "loads of an array": one_of(mention("numpy", "loads") + group(text("x")) + REDUCE),
    "NumPy's loader": one_of(mention("numpy", "load") + group(text("x")) + REDUCE),
    "a list of arrays": pickle.dumps([ONES]),
    "an array alone": pickle.dumps(ONES),
    "nothing": pickle.dumps(None),
    "no arrays": pickle.dumps({"blobs": {"conv1_w": 1.5}}),
    "the dictionary is called": pickled(b"}}" + REDUCE),
    "more behind the end": pickle.dumps({"conv1_w": ONES}) + b"more",
    "two pickles": pickle.dumps({"conv1_w": ONES}) * 2,
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(name: str, refuse: Refuse) -> None:
    refuse(HOSTILE[name])


def test_no_array_is_copied(tmp_path: Path) -> None:
    """100 MB of Detectron's bytes stay views of the file, whatever NumPy would make of them."""
    arrays: Arrays = stored(CAFFE2["detectron1"])
    found = read(file(tmp_path, python2_pickle(arrays)))
    assert not found.tensors["conv1.weight"].flags.owndata
    assert not found.tensors["conv1.weight"].flags.writeable

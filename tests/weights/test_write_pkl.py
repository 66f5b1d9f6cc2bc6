"""Detectron's pickle: norms folded once and no further, and nothing in it but arrays."""

from __future__ import annotations

import os
import pickle
import pickletools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from resnetfea.errors import ResnetFeaError
from resnetfea.weights import Weights, canonical, read
from resnetfea.weights.writing import write
from weights.making import DATA
from weights.test_reading import assert_equal
from weights.test_writing import special


def is_statistic(name: str) -> bool:
    return name.endswith(("running_mean", "running_var"))


@pytest.mark.parametrize("file", ["tiny.safetensors", "tiny-modelzoo.ckpt", "tiny-half.pth"])
def test_folded_norms_are_rounded_once(file: str, tmp_path: Path) -> None:
    before = read(DATA / file)
    assert any("folded" in note for note in write(before, tmp_path / "w.pkl").notes)
    after = read(tmp_path / "w.pkl")
    assert after.variant == replace(before.variant, bn_eps=0.0)
    assert after.recipe == before.recipe
    for name, array in before.tensors.items():
        if not is_statistic(name) and "bn" not in name and "downsample.1" not in name:
            assert after.tensors[name].tobytes() == array.tobytes()
    for norm in (layer.norm for layer in canonical.layers(before.variant)):
        weight, bias, mean, var = (
            before.tensors[f"{norm}.{part}"].astype(np.longdouble) for part in canonical.NORM_PARTS
        )
        scale = weight / np.sqrt(var + before.variant.bn_eps)
        # half a unit in the last place of float32, and what float64 may lose before
        for part, truth in (("weight", scale), ("bias", bias - mean * scale)):
            found = after.tensors[f"{norm}.{part}"]
            lost = np.abs(found - truth) / np.spacing(np.abs(found))
            assert lost.max() <= 0.5 + 1e-6, norm
        assert not after.tensors[f"{norm}.running_mean"].any()
        assert (after.tensors[f"{norm}.running_var"] == 1).all()


def test_norms_that_are_affine_already_stay_as_they_are(tmp_path: Path) -> None:
    before = read(DATA / "tiny-folded.onnx")
    tensors = {**before.tensors, "bn1.bias": special(), "bn1.weight": special()}
    notes = write(replace(before, tensors=tensors), tmp_path / "w.pkl").notes
    assert not any("folded" in note for note in notes)
    after = read(tmp_path / "w.pkl")
    assert_equal(after.tensors, tensors)
    assert (after.variant, after.recipe, after.recipe_of) == (before.variant, before.recipe, before.recipe_of)


@pytest.mark.parametrize(
    ("part", "value"), [("running_var", 0.0), ("weight", 3e38), ("running_mean", 3e38)], ids=["zero", "scale", "shift"]
)
def test_a_norm_that_float32_cannot_hold_folded(part: str, value: float, tmp_path: Path) -> None:
    before = read(DATA / "tiny.safetensors")
    broken = {name: array.copy() for name, array in before.tensors.items()}
    broken["layer2.0.bn1.running_var"][1] = 1e-20
    broken["layer2.0.bn1.weight"][1] = 3.0
    broken[f"layer2.0.bn1.{part}"][1] = value
    flat = replace(before, tensors=broken, variant=replace(before.variant, bn_eps=0.0))
    with pytest.raises(ResnetFeaError, match=r"tiny\.safetensors: layer2\.0\.bn1\.\w+, folded, is beyond float32"):
        write(flat, tmp_path / "w.pkl")
    assert os.listdir(tmp_path) == []


def test_pkl_as_caffe2_programs_read_it(complete: Weights, tmp_path: Path) -> None:
    write(complete, tmp_path / "w.pkl")
    data = (tmp_path / "w.pkl").read_bytes()
    blobs = pickle.loads(data, encoding="latin1")["blobs"]
    assert blobs["conv1_w"].dtype == np.float32
    np.testing.assert_array_equal(blobs["res2_0_branch1_w"], complete.tensors["layer1.0.downsample.0.weight"])
    np.testing.assert_array_equal(blobs["res4_5_branch2b_w"], complete.tensors["layer3.5.conv2.weight"])
    np.testing.assert_array_equal(blobs["fc1000_w"], complete.fc["fc.weight"])
    # maskrcnn-benchmark 57eec25, utils/c2_model_loading.py: the names it renames
    np.testing.assert_array_equal(blobs["fpn_inner_res3_3_sum_lateral_w"], complete.fpn["fpn.inner_blocks.1.0.weight"])
    np.testing.assert_array_equal(blobs["fpn_inner_res5_2_sum_b"], complete.fpn["fpn.inner_blocks.3.0.bias"])
    np.testing.assert_array_equal(blobs["fpn_res4_5_sum_w"], complete.fpn["fpn.layer_blocks.2.0.weight"])
    assert {"res_conv1_bn_s", "res_conv1_bn_b", "res5_2_branch2c_bn_s"} <= blobs.keys()
    assert all(array.flags.writeable for array in blobs.values())


def test_pkl_names_nothing_but_arrays_and_is_of_protocol_2(tmp_path: Path) -> None:
    write(read(DATA / "tiny.pth"), tmp_path / "w.pkl")
    opcodes = list(pickletools.genops((tmp_path / "w.pkl").read_bytes()))
    assert {argument for opcode, argument, _ in opcodes if opcode.name == "GLOBAL"} == {
        "numpy.core.multiarray _reconstruct",
        "numpy ndarray",
        "numpy dtype",
    }
    assert {opcode.name for opcode, *_ in opcodes} & {"STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "EXT1"} == set()
    assert max(opcode.proto for opcode, *_ in opcodes) == 2

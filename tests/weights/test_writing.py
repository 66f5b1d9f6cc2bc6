"""What is written is read back bit-equal, by ourselves and by the libraries whose formats these are."""

from __future__ import annotations

import os
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import safetensors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from safetensors.numpy import load_file

from resnetfea.weights import Weights, read
from resnetfea.weights.ecosystems import ECOSYSTEMS
from resnetfea.weights.writing import write
from weights.making import DATA
from weights.test_card import READS, WRITES
from weights.test_reading import assert_equal

Array = NDArray[np.float32]
SOURCES = [  # one of each variant and recipe
    "tiny.pth", "tiny-half.pth", "tiny-transformers.safetensors", "tiny-modelzoo.ckpt", "tiny-mindcv.ckpt",
    "tiny-backbone.ckpt", "tiny-bn.onnx", "tiny-folded.onnx",
]  # fmt: skip
TARGETS = [("w.npz", "resnetfea"), ("w.safetensors", "resnetfea"), ("w.ckpt", "resnetfea"), ("w.ckpt", "modelzoo")]
few = settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize(("out", "names"), TARGETS)
@pytest.mark.parametrize("source", SOURCES)
def test_there_and_back(source: str, out: str, names: str, tmp_path: Path) -> None:
    before = read(DATA / source)
    write(before, tmp_path / out, names=names)
    after = read(tmp_path / out)
    assert_equal(after.tensors, dict(before.tensors))
    assert (after.variant, after.recipe, after.recipe_of) == (before.variant, before.recipe, before.recipe_of)
    assert after.ecosystem == (names if out.endswith(".ckpt") else "torchvision")
    assert os.listdir(tmp_path) == [out]


@pytest.mark.parametrize(
    ("out", "names", "fc", "pyramid"),
    [
        ("w.npz", "resnetfea", 2, 16),
        ("w.safetensors", "resnetfea", 2, 16),
        ("w.ckpt", "resnetfea", 0, 16),
        ("w.ckpt", "modelzoo", 2, 0),
        ("w.pkl", "resnetfea", 2, 16),
    ],
)
def test_heads_go_along_where_there_is_a_place(
    out: str, names: str, fc: int, pyramid: int, complete: Weights, tmp_path: Path
) -> None:
    done = write(complete, tmp_path / out, names=names)
    after = read(tmp_path / out)
    assert (len(after.fc), len(after.fpn)) == (fc, pyramid)
    assert all(after.fc[name].tobytes() == complete.fc[name].tobytes() for name in after.fc)
    assert all(after.fpn[name].tobytes() == complete.fpn[name].tobytes() for name in after.fpn)
    assert after.left_out == ()
    assert after.count == done.tensors
    assert ("classifier" in " ".join(done.notes)) == (fc == 0)
    assert ("pyramid" in " ".join(done.notes)) == (pyramid == 0)
    if out != "w.pkl":
        assert (after.variant, after.recipe, after.recipe_of) == (complete.variant, complete.recipe, "somebody")


def test_what_names_cannot_tell_is_said(complete: Weights, tmp_path: Path) -> None:
    (note,) = write(complete, tmp_path / "w.npz").notes
    for part in ("torchvision", "stride_in 1x1, not 3x3", "pool ceil, not pad1", "bgr with mean [104.0"):
        assert part in note
    assert write(read(DATA / "tiny.pth"), tmp_path / "v.npz").notes == []
    assert write(read(DATA / "tiny-modelzoo.ckpt"), tmp_path / "v.ckpt", names="modelzoo").notes == []


# ---- any numbers -----------------------------------------------------------------------------------------------------

BITS = npst.arrays(np.dtype("<u4"), npst.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4))
NAMES = st.text(st.characters(categories=["L", "N"], include_characters="._"), min_size=1, max_size=8)


@pytest.mark.parametrize("kind", WRITES)
@few
@given(st.dictionaries(NAMES, BITS, min_size=1, max_size=4))
def test_any_bits(kind: str, state: dict[str, NDArray[np.uint32]]) -> None:
    """Subnormals, -0.0, every NaN: whatever float32 can be."""
    stream = BytesIO()
    WRITES[kind](stream, {name: bits.view(np.float32) for name, bits in state.items()}, b"card")
    found = READS[kind](stream.getvalue()).tensors
    assert found.keys() == state.keys()
    for name, bits in state.items():
        assert found[name].shape == bits.shape
        assert found[name].tobytes() == bits.tobytes()


def special() -> Array:
    """(4,): the smallest subnormal, -0.0, the largest number, and an odd one."""
    return np.array([1, 0x80000000, 0x7F7FFFFF, 0xC2F6E979], np.uint32).view(np.float32)


@pytest.mark.parametrize(("out", "names"), TARGETS)
def test_special_numbers(out: str, names: str, tmp_path: Path) -> None:
    found = read(DATA / "tiny.safetensors")
    tensors = {**found.tensors, "bn1.bias": special(), "bn1.weight": special()}
    write(replace(found, tensors=tensors), tmp_path / out, names=names)
    assert_equal(read(tmp_path / out).tensors, tensors)


def test_numpy_reads_it(complete: Weights, tmp_path: Path) -> None:
    write(complete, tmp_path / "w.npz")
    with np.load(tmp_path / "w.npz", allow_pickle=False) as archive:
        assert set(archive.files) == {*complete.tensors, *complete.fc, *complete.fpn}
        assert all(archive[name].tobytes() == array.tobytes() for name, array in complete.tensors.items())
        assert archive["conv1.weight"].dtype == np.float32


def test_safetensors_reads_it(complete: Weights, tmp_path: Path) -> None:
    write(complete, tmp_path / "w.safetensors")
    found = load_file(tmp_path / "w.safetensors")
    assert found.keys() == {*complete.tensors, *complete.fc, *complete.fpn}
    assert all(found[name].tobytes() == array.tobytes() for name, array in complete.tensors.items())
    with safetensors.safe_open(tmp_path / "w.safetensors", "np") as file:
        assert file.metadata().keys() == {"format", "resnetfea"}


@pytest.mark.slow
@pytest.mark.parametrize("names", ["resnetfea", "modelzoo"])
def test_mindspore_reads_it(names: str, complete: Weights, tmp_path: Path) -> None:
    import mindspore as ms

    write(complete, tmp_path / "w.ckpt", names=names)
    found = ms.load_checkpoint(str(tmp_path / "w.ckpt"))
    ecosystem = next(one for one in ECOSYSTEMS if one.name == names)
    assert len(found) == 265 + (16 if names == "resnetfea" else 2)
    for name, array in complete.tensors.items():
        assert found[ecosystem.theirs(name)].asnumpy().tobytes() == array.tobytes()


@pytest.mark.slow
def test_mindspore_loads_it_strictly_into_the_cell(tmp_path: Path) -> None:
    import mindspore as ms

    from resnetfea.network.build import empty

    before = read(DATA / "tiny.pth")
    write(before, tmp_path / "w.ckpt")
    cell = empty(before.variant)
    parameters = ms.load_checkpoint(str(tmp_path / "w.ckpt"), cell, strict_load=True)
    assert ms.load_param_into_net(cell, parameters, strict_load=True) == ([], [])
    assert cell.parameters_dict()["layer1.0.bn_down_sample.gamma"].asnumpy().tobytes() == (
        before.tensors["layer1.0.downsample.1.weight"].tobytes()
    )

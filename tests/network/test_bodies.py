"""Bodies that give some of the maps, and the last stage on its own behind a pooler."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mindspore import Tensor
from numpy.typing import NDArray
from safetensors.numpy import save_file

from data import tiny
from resnetfea import Variant, Weights, read, resnet50
from resnetfea.network.build import empty, head, loaded
from resnetfea.network.variant import LAYERS, Layer
from resnetfea.weights import canonical
from resnetfea.weights.ecosystems import RESNETFEA

pytestmark = pytest.mark.slow
Array = NDArray[np.float32]


@pytest.fixture
def weights(tmp_path: Path) -> Weights:
    save_file(tiny.weights(), tmp_path / "w")
    return read(tmp_path / "w")


@pytest.fixture
def image() -> Tensor:
    return Tensor(np.random.default_rng(0).standard_normal((1, 3, 96, 128)).astype(np.float32))


@pytest.mark.parametrize("out", [("c2",), ("c4",), ("c5",), ("c2", "c4"), ("c3", "c4", "c5")])
def test_some_of_the_maps_are_those_of_all(out: tuple[Layer, ...], weights: Weights, image: Tensor) -> None:
    every = dict(zip(LAYERS, resnet50(weights)(image), strict=True))
    cell = resnet50(weights, variant=replace(weights.variant, out=out))
    found = cell(image)
    assert len(found) == len(out)
    assert all(np.array_equal(ours.asnumpy(), every[layer].asnumpy()) for layer, ours in zip(out, found, strict=True))
    built = {name.split(".")[0] for name in cell.parameters_dict()}
    assert built == {"conv1", "bn1", *(f"layer{stage}" for stage in range(1, int(out[-1][1])))}


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("stride_in", ["1x1", "3x3"])
def test_a_c4_body_and_its_head_are_the_whole(stride_in: str, dilation: int, weights: Weights, image: Tensor) -> None:
    variant = replace(weights.variant, stride_in=stride_in, dilation=dilation)  # type: ignore[arg-type]
    c4, c5 = loaded(weights, replace(variant, out=("c4", "c5")))(image)
    body = loaded(weights, replace(variant, out=("c4",)))
    behind = head(weights, variant=replace(variant, out=("c4",)))
    assert np.array_equal(behind(body(image)[0]).asnumpy(), c5.asnumpy())
    assert behind.out_channels == c5.shape[1]
    assert c5.shape[2] * (2 if dilation == 1 else 1) == c4.shape[2]


def test_a_heads_stride(weights: Weights) -> None:
    """With the stride in a 1x1 convolution it is the same to leave every second pixel out before."""
    variant = replace(weights.variant, stride_in="1x1")
    regions = np.random.default_rng(1).standard_normal((3, 32, 14, 14)).astype(np.float32)
    halved = head(weights, variant=variant)(Tensor(regions)).asnumpy()
    kept = head(weights, variant=variant, stride=1)(Tensor(np.ascontiguousarray(regions[..., ::2, ::2]))).asnumpy()
    assert np.abs(halved - kept).max() <= 1e-6 * np.abs(kept).max()
    assert head(weights, stride=1)(Tensor(regions)).shape == (3, 64, 14, 14)
    dilated = replace(variant, dilation=2)  # maskrcnn-benchmark's RES5_DILATION overrules the stride
    assert head(weights, variant=dilated)(Tensor(regions)).shape == (3, 64, 14, 14)


def test_a_head_always_trains(weights: Weights) -> None:
    cell = head(weights, variant=replace(weights.variant, freeze_at=5, norm="frozen"))
    assert {parameter.name for parameter in cell.trainable_params()} == {
        name for name in cell.parameters_dict() if name.endswith("weight")
    }
    assert {name.split(".")[0] for name in cell.parameters_dict()} == {"layer4"}


def test_maps_are_declared_before_they_are_made(weights: Weights, image: Tensor) -> None:
    for variant in (Variant(), Variant(dilation=2), Variant(out=("c3", "c5"))):
        narrow = replace(weights.variant, dilation=variant.dilation, out=variant.out)
        for (channels, stride), found in zip(narrow.maps.values(), loaded(weights, narrow)(image), strict=True):
            assert found.shape == (1, channels, image.shape[2] // stride, image.shape[3] // stride)


@pytest.mark.parametrize(
    "changes",
    [
        {"norm": "group", "norm_groups": 2, "groups": 2, "width_per_group": 2},
        {"deform": ("none", "v1", "v2", "v2"), "deform_groups": 2, "depth": 101},
        {"stem_channels": 8, "out": ("c2", "c3")},  # as wide as c2: layer1 needs no projection
    ],
)
def test_the_cells_tensors_are_those_that_readers_expect(changes: dict[str, Any]) -> None:
    variant = replace(tiny.TINY, **changes)
    wanted = {RESNETFEA.theirs(name): shape for name, shape in canonical.shapes(variant).items()}
    assert {name: parameter.shape for name, parameter in empty(variant).parameters_dict().items()} == wanted


def test_a_fresh_deformable_one_is_a_plain_one(image: Tensor) -> None:
    """Offsets of zero: what detectron2 and mmcv begin with. v2's masks are then a half."""
    narrow = replace(tiny.TINY, pool="pad1")
    plain = resnet50(variant=narrow)(image)
    moved = resnet50(variant=replace(narrow, deform=("none", "v1", "v1", "v1")))(image)
    assert np.array_equal(plain[0].asnumpy(), moved[0].asnumpy())
    for one, other in zip(plain, moved, strict=True):
        assert np.abs(one.asnumpy() - other.asnumpy()).max() <= 1e-5 * np.abs(one.asnumpy()).max()

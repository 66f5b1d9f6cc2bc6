"""The names everything is known by in here: torchvision's, for any depth and width, with their shapes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from numpy.typing import NDArray

from resnetfea.network.variant import BLOCKS, Variant

Shape = tuple[int, ...]
NORM_PARTS = ("weight", "bias", "running_mean", "running_var")
STATISTICS = ("running_mean", "running_var")
FC = ("fc.weight", "fc.bias")
FPN = tuple(  # the eight convolutions of a feature pyramid on c2..c5: 1x1 laterals, then 3x3 outputs
    f"fpn.{kind}.{level}.0.{part}"
    for kind in ("inner_blocks", "layer_blocks")
    for level in range(4)
    for part in ("weight", "bias")
)


class Layer(NamedTuple):
    """One convolution and the norm behind it: 53 of them in a ResNet-50, in order of the forward pass."""

    conv: str
    norm: str
    shape: Shape  # (out, in, k, k)


def layers(variant: Variant) -> Iterator[Layer]:
    """All layers of this ResNet; a block's projection comes behind its three convolutions."""
    yield Layer("conv1", "bn1", (variant.stem_channels, 3, 7, 7))
    stages = zip(variant.layer_nums, variant.in_channels, variant.out_channels, strict=True)
    for stage, (blocks, inputs, outputs) in enumerate(stages, 1):
        width = variant.width_per_group * 2 ** (stage - 1)
        for index in range(blocks):
            block = f"layer{stage}.{index}"
            entering = inputs if index == 0 else outputs
            yield Layer(f"{block}.conv1", f"{block}.bn1", (width, entering, 1, 1))
            yield Layer(f"{block}.conv2", f"{block}.bn2", (width, width, 3, 3))
            yield Layer(f"{block}.conv3", f"{block}.bn3", (outputs, width, 1, 1))
            if index == 0:
                yield Layer(f"{block}.downsample.0", f"{block}.downsample.1", (outputs, inputs, 1, 1))


def shapes(variant: Variant) -> dict[str, Shape]:
    """Every tensor of the backbone by name (265 for ResNet-50)."""
    table: dict[str, Shape] = {}
    for layer in layers(variant):
        table[f"{layer.conv}.weight"] = layer.shape
        for part in NORM_PARTS:
            table[f"{layer.norm}.{part}"] = layer.shape[:1]
    return table


def fc_shapes(found: Mapping[str, NDArray[Any]], variant: Variant) -> dict[str, Shape]:
    """The classifier's tensors, for as many classes as this one has."""
    classes = len(found[FC[1]]) if FC[1] in found and found[FC[1]].ndim else 0
    return {FC[0]: (classes, variant.out_channels[3]), FC[1]: (classes,)}


def fpn_shapes(found: Mapping[str, NDArray[Any]], variant: Variant) -> dict[str, Shape]:
    """The pyramid's tensors, as wide as this one is: 1x1 from c2..c5, then 3x3."""
    bias = found.get("fpn.layer_blocks.0.0.bias")
    width = len(bias) if bias is not None and bias.ndim else 0
    table: dict[str, Shape] = {}
    for level, channels in enumerate(variant.out_channels):
        table[f"fpn.inner_blocks.{level}.0.weight"] = (width, channels, 1, 1)
        table[f"fpn.layer_blocks.{level}.0.weight"] = (width, width, 3, 3)
    return {name: table.get(name, (width,)) for name in FPN}


def fit(found: Mapping[str, Shape], like: Variant) -> Variant:
    """`like` with the depth and widths of the tensors found, each by majority so that one wrong shape stands out."""
    block = r"layer1\.\d+\."
    return replace(
        like,
        depth=depth_of(found),
        stem_channels=_most(found, r"(conv1|bn1)\.\w+", like.stem_channels),
        res2_channels=_most(found, block + r"(conv3|bn3)\.\w+", like.res2_channels),
        width_per_group=_most(found, block + r"(conv[12]|bn[12])\.\w+", like.width_per_group),
    )


def depth_of(names: Iterable[str]) -> int:
    """The depth whose tensors agree best with these names."""
    given = set(names)
    return min(BLOCKS, key=lambda depth: len(given ^ shapes(Variant(depth=depth)).keys()))


def _most(found: Mapping[str, Shape], pattern: str, otherwise: int) -> int:
    """The commonest size among the tensors whose whole name matches."""
    sizes = Counter(shape[0] for name, shape in found.items() if shape and re.fullmatch(pattern, name))
    largest = max(sizes, key=lambda size: sizes[size], default=otherwise)
    return largest if largest > 0 else otherwise

"""The names everything is known by in here: torchvision's, for any depth and width, with their shapes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from numpy.typing import NDArray

from resnetfea.errors import ResnetFeaError
from resnetfea.network.variant import BLOCKS, Variant

Shape = tuple[int, ...]
NORM_PARTS = ("weight", "bias", "running_mean", "running_var")
OFFSETS = {"v1": 18, "v2": 27}  # channels for each deformable group: 9 points' dy and dx, in v2 their masks too
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
    sizes = list(zip(variant.layer_nums, variant.in_channels, variant.out_channels, strict=True))
    for stage, (blocks, inputs, outputs) in enumerate(sizes[: variant.stages], 1):
        width = variant.width * 2 ** (stage - 1)
        for index in range(blocks):
            block = f"layer{stage}.{index}"
            entering = inputs if index == 0 else outputs
            yield Layer(f"{block}.conv1", f"{block}.bn1", (width, entering, 1, 1))
            yield Layer(f"{block}.conv2", f"{block}.bn2", (width, width // variant.groups, 3, 3))
            yield Layer(f"{block}.conv3", f"{block}.bn3", (outputs, width, 1, 1))
            if entering != outputs:  # in layer1 a stem as wide as c2 needs no projection
                yield Layer(f"{block}.downsample.0", f"{block}.downsample.1", (outputs, inputs, 1, 1))


def shapes(variant: Variant) -> dict[str, Shape]:
    """Every tensor of the backbone by name (265 for ResNet-50).

    Group norms have no statistics. Beside a deformable conv2 is the convolution that moves its points, conv2.offset.
    """
    table: dict[str, Shape] = {}
    for layer in layers(variant):
        table[f"{layer.conv}.weight"] = layer.shape
        version = variant.deform[int(layer.conv[5]) - 1] if layer.conv.endswith(".conv2") else "none"
        if version != "none":
            moves = OFFSETS[version] * variant.deform_groups
            table[f"{layer.conv}.offset.weight"] = (moves, layer.shape[1] * variant.groups, 3, 3)
            table[f"{layer.conv}.offset.bias"] = (moves,)
        for part in NORM_PARTS[:2] if variant.norm == "group" else NORM_PARTS:
            table[f"{layer.norm}.{part}"] = layer.shape[:1]
    return table


def fc_shapes(found: Mapping[str, NDArray[Any]], variant: Variant) -> dict[str, Shape]:
    """The classifier's tensors, for as many classes as this one has."""
    classes = len(found[FC[1]]) if FC[1] in found and found[FC[1]].ndim else 0
    return {FC[0]: (classes, variant.out_channels[3]), FC[1]: (classes,)}


def fit(found: Mapping[str, Shape], like: Variant) -> Variant:
    """`like` with what the shapes of the tensors found tell, each by majority so that one wrong shape stands out.

    Raises:
        ResnetFeaError: no ResNet has these.
    """
    block = r"layer1\.\d+\."
    conv2 = {name: shape for name, shape in found.items() if re.fullmatch(r"layer\d\.\d+\.conv2\.weight", name)}
    parts = {name: (shape[0] // shape[1],) for name, shape in conv2.items() if len(shape) == 4 and shape[1]}
    width = _most(found, block + r"(conv[12]|bn[12])\.\w+", like.width)
    groups = _most(parts, ".*", like.groups)
    groups = groups if width % groups == 0 else like.groups
    try:
        fitted = replace(
            like,
            depth=depth_of(found),
            stem_channels=_most(found, r"(conv1|bn1)\.\w+", like.stem_channels),
            res2_channels=_most(found, block + r"(conv3|bn3)\.\w+", like.res2_channels),
            groups=groups,
            width_per_group=max(width // groups, 1),
        )
        return replace(fitted, **_deformed(found, fitted))
    except ValueError as error:  # of Variant: group norm's groups do not divide the channels
        raise ResnetFeaError(f"no ResNet has such shapes: {error}") from error


def _deformed(found: Mapping[str, Shape], variant: Variant) -> dict[str, Any]:
    """Variant's deform and deform_groups, as the offsets' channels tell: 18 for each group in v1, 27 in v2.

    54 are 3 groups of v1 or 2 of v2. Only one of them divides a width that is a power of 2; where both do, the file
    does not tell, and stays without: its offsets are then too many.
    """
    moves = [_most(found, rf"layer{stage}\.\d+\.conv2\.offset\.(weight|bias)", 0) for stage in range(1, 5)]
    versions = [_versions(channels, variant) for channels in moves]
    groups = {groups for known in versions for _, groups in known}
    if not groups or any(len(known) > 1 for known in versions) or len(groups) > 1:
        return {}
    return {"deform": tuple(known[0][0] if known else "none" for known in versions), "deform_groups": groups.pop()}


def _versions(channels: int, variant: Variant) -> list[tuple[str, int]]:
    """Versions and numbers of groups that so many channels of offsets could mean."""
    counts = ((version, channels // each) for version, each in OFFSETS.items() if channels and channels % each == 0)
    return [(version, groups) for version, groups in counts if variant.width % groups == 0]


def depth_of(names: Iterable[str]) -> int:
    """The depth whose tensors agree best with these names."""
    given = set(names)
    return min(BLOCKS, key=lambda depth: len(given ^ shapes(Variant(depth=depth)).keys()))


def _most(found: Mapping[str, Shape], pattern: str, otherwise: int) -> int:
    """The commonest size among the tensors whose whole name matches."""
    sizes = Counter(shape[0] for name, shape in found.items() if shape and re.fullmatch(pattern, name))
    largest = max(sizes, key=lambda size: sizes[size], default=otherwise)
    return largest if largest > 0 else otherwise

"""A feature pyramid's tensors: torchvision's names, which of them belong together, and their shapes.

Levels count from the pyramid's first one: 0 is c2 where there are four, c3 where there are three (RetinaNet's).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from numpy.typing import NDArray

from resnetfea.network.variant import Variant
from resnetfea.weights.canonical import NORM_PARTS, Shape

PARTS = ("0.weight", "0.bias", *(f"1.{part}" for part in NORM_PARTS))  # the convolution, then a norm
TOP = tuple(f"fpn.extra_blocks.{level}.{part}" for level in ("p6", "p7") for part in ("weight", "bias"))
ALL = (  # every name that a pyramid may have
    *(f"fpn.{kind}_blocks.{level}.{part}" for kind in ("inner", "layer") for level in range(4) for part in PARTS),
    *TOP,
)
MAPS = ("p2", "p3", "p4", "p5", "p6", "p7")
LEVEL = re.compile(r"fpn\.(?:inner|layer)_blocks\.(\d)\.")


def from_first_level(ours: Mapping[str, str]) -> dict[str, str]:
    """A file's names to canonical ones, with levels counted from the first one where the file counts from c2."""
    first = min((int(found[1]) for name in ours.values() if (found := LEVEL.match(name))), default=0)
    return {theirs: LEVEL.sub(lambda found: _less(found, first), name) for theirs, name in ours.items()}


def norm_of(names: Mapping[str, Any]) -> Literal["none", "group", "batch"]:
    """What stands behind this pyramid's convolutions; a group norm has no statistics."""
    parts = {name.split(".", 3)[3] for name in names if LEVEL.match(name)}
    if parts & {"1.running_mean", "1.running_var"}:
        return "batch"
    return "group" if parts & {"1.weight", "1.bias"} else "none"


def maps(fpn: Mapping[str, NDArray[Any]]) -> dict[str, int]:
    """The channels of each map that this pyramid gives, by its name, in their order; nothing where there is none."""
    if not fpn:
        return {}
    levels = sum(f"fpn.inner_blocks.{level}.0.weight" in fpn for level in range(4))
    names = MAPS[4 - levels : 6 if TOP[0] in fpn else 5]
    return dict.fromkeys(names, len(fpn["fpn.inner_blocks.0.0.weight"]))


def resize_of(recipe_of: str, unused: Iterable[str]) -> Literal["nearest", "bilinear"] | None:
    """How the detector that weights are from resizes; None where that is not told.

    ModelZoo has two with the same names, told by their heads: eab643f, fpn_neck.py of
    official/cv/MaskRCNN/maskrcnn_resnet50/src/maskrcnn and of official/cv/FasterRCNN/src/FasterRcnn.
    """
    heads = {name.split(".")[0] for name in unused}
    if recipe_of != "resnetfea":
        return "nearest"
    if heads & {"rcnn_mask", "rcnn_cls"}:
        return "bilinear"
    return "nearest" if "rcnn" in heads else None


def shapes(found: Mapping[str, NDArray[Any]], variant: Variant) -> dict[str, Shape]:
    """The tensors of the plain pyramid that these are nearest to; its width is theirs by majority. Nothing for none."""
    found = {name: array for name, array in found.items() if name in ALL}
    levels = 1 + max((int(place[1]) for name in found if (place := LEVEL.match(name))), default=0)
    if levels < 2:
        return {}
    [(width, _)] = Counter(array.shape[:1] for array in found.values()).most_common(1)
    behind = {"none": ("0.bias",), "group": ("1.weight", "1.bias"), "batch": PARTS[2:]}[norm_of(found)]
    entering = [(channels,) for channels in variant.out_channels[4 - levels :]]
    table: dict[str, Shape] = {}
    for kind, size in (("inner", 1), ("layer", 3)):
        for level in range(levels):
            name = f"fpn.{kind}_blocks.{level}"
            table[f"{name}.0.weight"] = (*width, *(entering[level] if kind == "inner" else width), size, size)
            table |= {f"{name}.{part}": width for part in behind}
    if found.keys() & set(TOP):
        p6 = found.get(TOP[0])
        on_c5 = p6 is not None and p6.ndim == 4 and p6.shape[1] == variant.out_channels[3]
        first = (*width, *(variant.out_channels[3:] if on_c5 else width), 3, 3)
        tops = (first, width, (*width, *width, 3, 3), width)
        table |= dict(zip(TOP, tops, strict=True))
    return table


def _less(found: re.Match[str], first: int) -> str:
    return f"{found[0][:-2]}{int(found[1]) - first}."

"""What a file says of its stride and its pixels beside its tensors' names, and what it leaves to be assumed.

The same names and shapes may belong to a network that computes differently. Where the file tells, it is believed; where
it does not, the ecosystem's default is taken, and said to be assumed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from resnetfea.network.variant import Variant
from resnetfea.weights import known
from resnetfea.weights.card import Card
from resnetfea.weights.ecosystem import Ecosystem
from resnetfea.weights.ecosystems import BY_AUTHOR
from resnetfea.weights.raw import RawFile
from resnetfea.weights.recipe import Recipe

MAX_CONFIG = 1 << 18  # characters; OpenMMLab's have some 20,000
MAX_BODIES, MAX_BODY = 32, 10_000  # what is looked at in brackets, and its characters
NUMBER = r"\d{1,9}(?:\.\d{0,9})?"
ITS_OWN = "the file itself"
USUAL = {"strides": "1222", "dilations": "1111"}  # of the four stages; a C4 body has three
LEAST_STD = 1e-3  # detectron2's and Caffe's is 1; Recipe refuses what is below 1e-6
LEAST_MEAN, MOST_MEAN = 50, 200  # of pixels 0..255; ImageNet's are 102 to 124

# By ecosystem: of the network, of the pixels. The settings are those of the versions named in ecosystems.py.
ASSUMED = {
    "torchvision": (
        "the network is torchvision's; others have its names (MMDetection's Caffe weights, timm's resnetaa50)",
        "the pixels are as for torchvision's V1 weights",
    ),
    "torchvision-detection": ("bn_eps is FrozenBatchNorm2d's 1e-5; torchvision's own COCO_V1 files compute with 0", ""),
    "maskrcnn-benchmark": (
        "stride_in is its default (MODEL.RESNETS.STRIDE_IN_1X1)",
        "the pixels are as its defaults have them (INPUT.TO_BGR255, PIXEL_MEAN, PIXEL_STD)",
    ),
    "detectron2": (
        "stride_in and no dilation are its defaults (MODEL.RESNETS.STRIDE_IN_1X1, RES5_DILATION)",
        "the pixels are as its defaults have them (INPUT.FORMAT, MODEL.PIXEL_MEAN, PIXEL_STD)",
    ),
    "detectron1": (
        "stride_in is its default (RESNETS.STRIDE_1X1)",
        "the pixels are as its default has them (PIXEL_MEANS)",
    ),
    "mmpretrain": ("the network is of style='pytorch'; style='caffe' has the stride in the 1x1", "the pixels are RGB"),
    "mmdet": ("the network is of style='pytorch'; style='caffe' has the stride in the 1x1", "the pixels are RGB"),
    "transformers": (
        "stride_in is its default (downsample_in_bottleneck in config.json)",
        "the pixels are as microsoft/resnet-50's preprocessor_config.json has them",
    ),
    "resnetfea": (
        "padding and bn_eps are the cell's; weights renamed from ModelZoo's ImageNet training were trained with others",
        "",
    ),
    "keras": ("", "the pixels are as keras.applications.resnet.preprocess_input makes them"),
}  # fmt: skip
# All of FAIR's ResNeXts are "C2 models": detectron2 989f52d, configs/COCO-Detection/faster_rcnn_X_101_32x8d_FPN_3x.yaml
# and Misc/*_X_152_32x8d_*; maskrcnn-benchmark c811e23, configs/e2e_faster_rcnn_X_101_32x8d_FPN_1x.yaml; Detectron
# 2f8161e, configs/12_2017_baselines/e2e_faster_rcnn_X-101-32x8d-FPN_1x.yaml
RESNEXTS = ("maskrcnn-benchmark", "detectron2", "detectron1")
OF_A_RESNEXT = "stride_in is 3x3, as in its configurations with a ResNeXt"
X_101_STD = (57.375, 57.12, 58.395)  # of detectron2's alone (PIXEL_STD), but not of its X-152
PIXELS_OF_X_101 = "the pixels are as its configurations with X-101-32x8d have them (MODEL.PIXEL_STD)"
PIXELS_OF_MMDETS_GN = "the pixels are as its configs/gn have them: BGR, std 1"
OF_GROUP_NORMS = "norm_groups is 32 and stride_in 3x3, as in its configurations with group norm"
OF_A_GRAPH = ("the pixels are as for torchvision's V1 weights; a graph does not tell",)


@dataclass(frozen=True, kw_only=True)
class Told:
    """How the network computes, its pixels, whose recipe that is, what of both is assumed, and what forbids reading."""

    variant: Variant
    recipe: Recipe
    recipe_of: str
    assumed: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def of_card(card: Card) -> Told:
    """What a converted file's card says. What was assumed of the first file, and by nobody's word else, still is."""
    still: tuple[str, ...] = ()
    if card.recipe_of.startswith("assumed"):
        still = OF_A_GRAPH
    elif card.recipe_of in (card.ecosystem, ITS_OWN) and not known.with_sha256(card.sha256):
        network, pixels = _assumed(card.ecosystem, card.variant)
        still = tuple(sentence for sentence in (network, pixels if card.recipe_of != ITS_OWN else "") if sentence)
    return Told(variant=card.variant, recipe=card.recipe, recipe_of=card.recipe_of, assumed=still)


def _assumed(name: str, variant: Variant) -> tuple[str, str]:
    """ASSUMED for this network of that ecosystem."""
    network, pixels = ASSUMED.get(name, ("", ""))
    if network and variant.norm == "group":
        network = OF_GROUP_NORMS
        pixels = PIXELS_OF_MMDETS_GN if name == "mmdet" else pixels
    elif variant.groups > 1 and name in RESNEXTS:
        network = OF_A_RESNEXT
        pixels = PIXELS_OF_X_101 if name == "detectron2" and variant.depth == 101 else pixels
    return network, pixels


def told(ecosystem: Ecosystem, raw: RawFile, wrapper: str, shaped: Variant) -> Told:
    """The ecosystem's variant and recipe, or what the file says instead. `shaped`: the same with the tensors' sizes."""
    variant, recipe, recipe_of = ecosystem.variant, ecosystem.recipe, ecosystem.name
    by_author = BY_AUTHOR.get((ecosystem.name, raw.author.lower()))
    if by_author:
        return Told(**by_author, recipe_of=ecosystem.name)
    network, pixels = _assumed(ecosystem.name, shaped)
    if shaped.groups > 1 and ecosystem.name in RESNEXTS:
        variant = replace(variant, stride_in="3x3")
        recipe = replace(recipe, std=X_101_STD) if ecosystem.name == "detectron2" and shaped.depth == 101 else recipe
    problems: tuple[str, ...] = ()
    stored = tuple(raw.tensors.get(f"{wrapper}pixel_{part}") for part in ("mean", "std"))
    if ecosystem.name == "detectron2" and (found := _stored_pixels(*stored)):
        recipe, recipe_of, pixels = _alike(recipe, found), ITS_OWN, ""
        if set(found.std) != {1.0}:
            # every configuration of detectron2 that has a std has STRIDE_IN_1X1 False: MSRA's conv1 has absorbed it
            variant = replace(variant, stride_in="3x3")
            if shaped.norm != "group":
                network = "stride_in is 3x3, as the file's pixel_std is not 1: its weights are not MSRA's"
    elif ecosystem.name == "detectron2" and stored[0] is not None:
        pixels += "; its pixel_mean and pixel_std are none that could be understood"
    elif ecosystem.name in ("mmdet", "mmpretrain", "torchvision") and raw.config:
        config = re.sub(r"\s", "", raw.config[:MAX_CONFIG]).replace('"', "'")
        starts = islice(re.finditer(r"\bbackbone=dict\(", config), MAX_BODIES)
        bodies = {_body(config, start.end()) for start in starts}
        backbones = {body for body in bodies if re.search(r"\btype='(\w+\.)?ResNeX?t'", body)}
        if len(backbones) == 1:
            variant, problems, network = *_of_backbone(backbones.pop(), variant), ""
        if found := _config_pixels(config):
            recipe, recipe_of, pixels = _alike(recipe, found), ITS_OWN, ""
    assumed = tuple(sentence for sentence in (network, pixels) if sentence)
    return Told(variant=variant, recipe=recipe, recipe_of=recipe_of, assumed=assumed, problems=problems)


def _stored_pixels(mean: NDArray[Any] | None, std: NDArray[Any] | None) -> Recipe | None:
    """detectron2's buffers (3, 1, 1): up to 2021 its models had them in their state (02b5c4e, meta_arch/rcnn.py)."""
    if mean is None or std is None or mean.size != 3 or std.size != 3 or mean.dtype.kind + std.dtype.kind != "ff":
        return None
    # as the configuration wrote them: float32 has 7 digits
    means, deviations = ([round(float(number), 4) for number in np.ravel(part)] for part in (mean, std))
    if means[0] == means[2]:
        return None
    return _recipe(means, deviations, "bgr" if means[0] < means[2] else "rgb")  # in photos blue's mean is the least


def _config_pixels(config: str) -> Recipe | None:
    """mean, std and colours of a configuration, where it has one kind of them; numbers are of pixels 0..255.

    `img_norm_cfg=dict(..., to_rgb=True)`, and since mmengine `data_preprocessor=dict(..., bgr_to_rgb=True)`.
    """
    kinds = set()
    for match in islice(re.finditer(r"\bmean=[\[(]", config), MAX_BODIES):
        body = _body(config, config.rfind("dict(", 0, match.start()) + len("dict("))
        mean, std = (re.search(rf"\b{part}=[\[(]({NUMBER},{NUMBER},{NUMBER}),?[\])]", body) for part in ("mean", "std"))
        color = re.search(r"\b(?:bgr_)?to_rgb=(True|False)\b", body)
        if mean is None or std is None or color is None:
            return None
        means, deviations = ([float(number) for number in part[1].split(",")] for part in (mean, std))
        kinds.add(_recipe(means, deviations, "rgb" if color[1] == "True" else "bgr"))
    return kinds.pop() if len(kinds) == 1 else None


def _recipe(mean: list[float], std: list[float], color: Literal["rgb", "bgr"]) -> Recipe | None:
    """The recipe of these numbers, if they can be those of pixels 0..255."""
    if not all(LEAST_MEAN <= number <= MOST_MEAN for number in mean):
        return None
    if not all(LEAST_STD <= number <= MOST_MEAN for number in std):
        return None
    return Recipe(color=color, scale=1.0, mean=(mean[0], mean[1], mean[2]), std=(std[0], std[1], std[2]))


def _alike(recipe: Recipe, found: Recipe) -> Recipe:
    """The ecosystem's resize and crop with these pixels; the ecosystem's own recipe where the pixels are the same."""
    same = recipe.color == found.color and all(
        np.allclose(np.divide(ours, recipe.scale), theirs, rtol=1e-6)
        for ours, theirs in ((recipe.mean, found.mean), (recipe.std, found.std))
    )
    if same:
        return recipe
    return replace(recipe, color=found.color, scale=found.scale, mean=found.mean, std=found.std)


def _of_backbone(body: str, variant: Variant) -> tuple[Variant, tuple[str, ...]]:
    """What mmdet's ResNet(...) of a configuration says (00e9730, models/backbones/resnet.py), and what we can't do."""
    changed: dict[str, Any] = {"stride_in": "1x1" if "style='caffe'" in body else "3x3"}
    eps = re.search(rf"\beps=({NUMBER}(?:e-\d+)?)\b", body)
    if eps and 0 <= float(eps[1]) < 1:
        changed["bn_eps"] = float(eps[1])
    problems = []
    groups = re.search(r"\bnum_groups=(\d{1,3})\b", body)
    if groups and variant.norm == "group":
        changed["norm_groups"] = int(groups[1])
        if not int(groups[1]) or variant.stem_channels % int(groups[1]):
            problems.append(f"its configuration has num_groups={groups[1]}, which divides no ResNet's channels")
            del changed["norm_groups"]
    found = {setting: re.search(rf"\b{setting}=[\[(]([\d,]+)[\])]", body) for setting in USUAL}
    settings = {setting: match[1].rstrip(",") for setting, match in found.items() if match}
    dilated = re.fullmatch(r"1,1,1,(\d{1,2})", settings.get("dilations", ""))
    if dilated and int(dilated[1]) > 1 and settings.get("strides") == "1,2,2,1":  # a DC5 body
        changed["dilation"], settings = int(dilated[1]), {}
    for setting, stated in settings.items():
        if not ",".join(USUAL[setting]).startswith(stated):
            problems.append(f"its configuration has {setting}={stated}: a backbone that is not supported")
    return replace(variant, **changed), tuple(problems)


def _body(config: str, start: int) -> str:
    """What stands from here to the bracket that closes it; nothing where that is far away."""
    depth = 1
    for end in range(start, min(start + MAX_BODY, len(config))):
        depth += {"(": 1, ")": -1}.get(config[end], 0)
        if depth == 0:
            return config[start:end]
    return ""

"""A ready cell: the network that a weights file needs, with its weights inside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import mindspore as ms
import numpy as np
from mindspore import nn
from numpy.typing import NDArray

from resnetfea.errors import ResnetFeaError
from resnetfea.network.fpn import FPN, ResNetWithFPN
from resnetfea.network.head import ResNetHead
from resnetfea.network.norm import FP32_TINY
from resnetfea.network.resnet import ResidualBlockUsing, ResNetFea
from resnetfea.network.variant import Variant
from resnetfea.weights import Weights, fpn_names, read
from resnetfea.weights.ecosystems import RESNETFEA

Array = NDArray[np.float32]
TINY_VARIANCE = FP32_TINY * 1e8  # float32 has 7 digits: beside any larger one FP32_TINY vanishes


def resnet50(
    weights: str | Path | Weights | None = None,
    *,
    variant: Variant | None = None,
    weights_update: bool = False,
    seed: int = 0,
) -> ResNetFea:
    """A ResNet-50 that gives (c2, c3, c4, c5) of images (N, 3, H, W), normalised by the weights' recipe.

    Args:
        weights: a file (.pth .safetensors .ckpt .onnx), a URL, a known name such as "imagenet", what
            resnetfea.read gave, or None for He initialisation.
        variant: how the network computes; None takes what the weights need.
        weights_update: train stem and layer1 too, which are frozen otherwise.
        seed: of the initialisation, where weights is None.

    Raises:
        ResnetFeaError: the file is not a ResNet's, or not complete.
        ValueError: the weights are of another depth or width than the variant, or not of a ResNet-50.
    """
    if weights is None:
        cell = empty(variant or Variant(), weights_update=weights_update)
        _initialise(cell, seed)
        return cell
    found = weights if isinstance(weights, Weights) else read(weights)
    if found.variant.depth != 50:
        raise ValueError(f"{found.path}: these are weights of a ResNet-{found.variant.depth}, not of a ResNet-50")
    return loaded(found, variant or found.variant, weights_update=weights_update)


def loaded(weights: Weights, variant: Variant, *, weights_update: bool = False) -> ResNetFea:
    """The cell of this variant with these weights, every tensor in place; those of stages behind its last map go."""
    cell = empty(variant, weights_update=weights_update)
    _fill(cell, weights, variant, stages=range(variant.stages + 1))
    return cell


def head(weights: Weights, *, variant: Variant | None = None, stride: int = 2) -> ResNetHead:
    """The last stage of these weights alone, for regions of c4 (RoIs, 1024, 14, 14).

    Args:
        weights: of the whole ResNet; a C4 detector's file has this stage among its heads, and is read whole.
        variant: how the network computes; None takes what the weights need.
        stride: of its first block.
    """
    cell = ResNetHead(variant=variant or weights.variant, stride=stride)
    cell.set_train(False)
    _fill(cell, weights, variant or weights.variant, stages=range(4, 5))
    return cell


def _fill(cell: nn.Cell, weights: Weights, variant: Variant, stages: range) -> None:
    """Every tensor of these stages, 0 is the stem, into its parameter."""
    parameters = cell.parameters_dict()
    tensors = weights.tensors if variant.bn_eps >= FP32_TINY else without_tiny_variances(weights.tensors)
    given = {RESNETFEA.theirs(name): array for name, array in tensors.items() if _stage(name) in stages}
    wrong = sorted(
        name
        for name in parameters.keys() | given.keys()
        if name not in parameters or name not in given or parameters[name].shape != given[name].shape
    )
    if wrong:
        raise ValueError(f"{weights.path}: does not fit {variant}; these tensors differ: {', '.join(wrong)}")
    for name, array in given.items():
        parameters[name].set_data(ms.Tensor(array))


def _stage(name: str) -> int:
    return int(name.removeprefix("layer")[0]) if name.startswith("layer") else 0


def fpn_of(
    weights: Weights,
    *,
    fuse: Literal["sum", "avg"] = "sum",
    norm_groups: int = 32,
    resize: Literal["nearest", "bilinear"] | None = None,
) -> FPN:
    """The feature pyramid in these weights, to be called with their ResNet's maps: all four, or c3 to c5.

    How many levels it has, its norms and its top the tensors tell; the arguments are what they don't (FPN says more).

    Args:
        weights: what resnetfea.read gave.
        fuse: "avg" for detectron2's FUSE_TYPE of that name.
        norm_groups: of a group norm. 32 is what every ecosystem takes by default.
        resize: None takes what the weights were made for: "bilinear" for ModelZoo's Mask R-CNN, else "nearest".

    Raises:
        ResnetFeaError: there is none, or not all of it, or one that its names do not tell (mmdet's p6 and p7); or
            resize has to be given.
    """
    if not weights.fpn:
        raise ResnetFeaError(f"{weights.path}: holds no feature pyramid that is whole and told by its names")
    resize = resize or fpn_names.resize_of(weights.recipe_of, weights.unused)
    if resize is None:
        raise ResnetFeaError(
            f"{weights.path}: ModelZoo's Mask R-CNN resizes its pyramid bilinearly, its Faster R-CNN to the nearest, "
            'and nothing here tells whose this is: give resize="bilinear" or "nearest"'
        )
    levels = [weights.fpn[name] for name in map("fpn.inner_blocks.{}.0.weight".format, range(4)) if name in weights.fpn]
    width, p6 = len(levels[0]), weights.fpn.get("fpn.extra_blocks.p6.weight")
    cell = FPN(
        [lateral.shape[1] for lateral in levels],
        width,
        top="pool" if p6 is None else "p5" if p6.shape[1] == width else "c5",
        fuse=fuse,
        norm=fpn_names.norm_of(weights.fpn),
        norm_groups=norm_groups,
        resize=resize,
    )
    given = {RESNETFEA.theirs(name).removeprefix("fpn_ncek."): array for name, array in weights.fpn.items()}
    for name, parameter in cell.parameters_dict().items():
        parameter.set_data(ms.Tensor(given[name]))  # fpn_names.shapes has held them to be exactly these
    cell.set_train(False)
    return cell


def with_pyramid(weights: Weights) -> ResNetWithFPN:
    """The ResNet and the pyramid on it, both from these weights.

    Raises:
        ResnetFeaError, ValueError: as fpn_of, loaded.
    """
    cell = ResNetWithFPN(loaded(weights, weights.variant), fpn_of(weights))
    cell.set_train(False)
    return cell


def empty(variant: Variant, *, weights_update: bool = False) -> ResNetFea:
    """The cell of this variant as the source leaves it: all convolutions 0.01."""
    cell = ResNetFea(
        ResidualBlockUsing,
        variant.layer_nums,
        variant.in_channels,
        variant.out_channels,
        weights_update,
        variant=variant,
    )
    cell.set_train(False)
    return cell


def without_tiny_variances(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """The same function where eps is 0 and stands as FP32_TINY: w / sqrt(v) of a dead channel becomes the scale.

    Training leaves channels with variances down to 1e-45, beside which FP32_TINY is not nothing.
    """
    given = dict(tensors)
    for name, variance in tensors.items():
        small = variance < TINY_VARIANCE
        if not name.endswith("running_var") or not small.any():
            continue
        scale = name.replace("running_var", "weight")
        with np.errstate(all="ignore"):  # beyond float32 it is so in the original too
            divided = tensors[scale] / np.sqrt(variance.astype(np.float64))
            given[scale] = np.where(small, divided, tensors[scale]).astype(np.float32)
        given[name] = np.where(small, 1, variance).astype(np.float32)
    return given


def _initialise(cell: ResNetFea, seed: int) -> None:
    """He et al. 2015 (arXiv:1502.01852), normal by fan-out, as torchvision's ResNet does."""
    generator = np.random.default_rng(seed)
    for parameter in cell.get_parameters():
        if parameter.ndim == 4 and ".offset." not in parameter.name:  # deformable ones start as plain ones: zeros
            out, _, height, width = parameter.shape
            values = generator.standard_normal(parameter.shape, np.float32) * np.sqrt(2 / (out * height * width))
            parameter.set_data(ms.Tensor(values.astype(np.float32)))

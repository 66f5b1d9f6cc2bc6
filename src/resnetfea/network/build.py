"""A ready cell: the network that a weights file needs, with its weights inside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import mindspore as ms
import numpy as np
from numpy.typing import NDArray

from resnetfea.network.resnet import FP32_TINY, ResidualBlockUsing, ResNetFea
from resnetfea.network.variant import Variant
from resnetfea.weights import Weights, read
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
    """The cell of this variant with these weights, every tensor in place."""
    cell = empty(variant, weights_update=weights_update)
    parameters = cell.parameters_dict()
    tensors = weights.tensors if variant.bn_eps >= FP32_TINY else _without_tiny_variances(weights.tensors)
    given = {RESNETFEA.theirs(name): array for name, array in tensors.items()}
    wrong = sorted(
        name
        for name in parameters.keys() | given.keys()
        if name not in parameters or name not in given or parameters[name].shape != given[name].shape
    )
    if wrong:
        raise ValueError(f"{weights.path}: does not fit {variant}; these tensors differ: {', '.join(wrong)}")
    for name, array in given.items():
        parameters[name].set_data(ms.Tensor(array))
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


def _without_tiny_variances(tensors: Mapping[str, Array]) -> dict[str, Array]:
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
        if parameter.ndim == 4:
            out, _, height, width = parameter.shape
            values = generator.standard_normal(parameter.shape, np.float32) * np.sqrt(2 / (out * height * width))
            parameter.set_data(ms.Tensor(values.astype(np.float32)))

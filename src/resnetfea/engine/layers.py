"""What all engines share: the layers' names, and the size of picture that a recipe makes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from resnetfea.errors import ResnetFeaError
from resnetfea.network.variant import LAYERS
from resnetfea.weights import Recipe, Weights, fpn_names

Pool = Literal["avg", "max", "none"]  # what becomes of a map (C, H, W): (C,), or itself
Maps = dict[str, NDArray[np.float32]]  # by layer


def channels(weights: Weights) -> dict[str, int]:
    """How many numbers each layer's pooled feature has: the ResNet's layers, then those of a pyramid on all of them.

    That is what network.build.fpn_of makes by default: sums, not detectron2's averages, which no file tells.
    """
    of_resnet = {layer: channels for layer, (channels, _) in weights.variant.maps.items()}
    return of_resnet | (fpn_names.maps(weights.fpn) if weights.variant.out == LAYERS else {})


def chosen(layers: Sequence[str] | None, weights: Weights) -> tuple[str, ...]:
    """The layers, if they are some of what these weights give; all of the ResNet's for None.

    Raises:
        ValueError: they are none of c2..c5 and p2..p7.
        ResnetFeaError: these weights do not give them.
    """
    if layers is None:
        return weights.variant.out
    if not layers or not set(layers) <= {*LAYERS, *fpn_names.MAPS}:
        raise ValueError(f"layers={tuple(layers)}: choose from {LAYERS}, and {fpn_names.MAPS} of a feature pyramid")
    if not set(layers) <= channels(weights).keys():
        raise ResnetFeaError(f"these weights give {', '.join(channels(weights))}, not all of {', '.join(layers)}")
    return tuple(layers)


def computed(layers: Sequence[str], weights: Weights) -> tuple[str, ...]:
    """What the network that gives these layers gives in all, in its order: with the pyramid only if one is of it."""
    given = tuple(channels(weights))
    return given if set(layers) & set(fpn_names.MAPS) else given[: len(weights.variant.out)]


def images(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The batch as float32 (N, 3, H, W). Engines differ in what they say of other shapes; one says nothing.

    Raises:
        ValueError: it has another rank, other channels, or no pixels.
    """
    if x.ndim != 4 or x.shape[1] != 3 or 0 in x.shape:
        raise ValueError(f"images of the shape {x.shape}: (N, 3, H, W) is wanted")
    return np.ascontiguousarray(x, np.float32)


def pixels(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture, if it is one: RGB of 8 bits (H, W, 3).

    Raises:
        ValueError: it is not.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        raise ValueError(f"a picture of {picture.dtype} {picture.shape}: uint8 (H, W, 3) is wanted")
    return picture


def normalised(picture: NDArray[np.uint8], recipe: Recipe) -> NDArray[np.float32]:
    """The network's input (3, H, W) of an RGB picture (H, W, 3): (pixel * scale - mean) / std."""
    pixels = picture[..., ::-1] if recipe.color == "bgr" else picture
    x = (pixels.astype(np.float32) * np.float32(recipe.scale) - np.array(recipe.mean, np.float32)) / np.array(
        recipe.std, np.float32
    )
    return np.ascontiguousarray(x.transpose(2, 0, 1))


def batches(pictures: Iterable[NDArray[np.uint8]], most: int) -> Iterator[NDArray[np.uint8]]:
    """The pictures (H, W, 3) in their order, up to `most` neighbours of one size as one array (n, H, W, 3)."""
    for _, same_size in groupby(map(pixels, pictures), key=lambda picture: picture.shape):
        while group := list(islice(same_size, most)):
            yield np.stack(group)


def fixed_size(recipe: Recipe) -> tuple[int, int] | None:
    """(height, width) of every picture that the recipe makes; None where it depends on the photo."""
    if recipe.crop is not None:
        return recipe.crop, recipe.crop
    return recipe.resize if isinstance(recipe.resize, tuple) else None

"""What all engines share: the layers' names, and the size of picture that a recipe makes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from resnetfea.network.variant import Variant
from resnetfea.weights import Recipe

LAYERS = ("c2", "c3", "c4", "c5")
Pool = Literal["avg", "max"]
Maps = dict[str, NDArray[np.float32]]  # by layer


def channels(variant: Variant) -> dict[str, int]:
    """How many numbers each layer's pooled feature has."""
    return dict(zip(LAYERS, variant.out_channels, strict=True))


def chosen(layers: Sequence[str]) -> tuple[str, ...]:
    """The layers, if they are some of c2..c5.

    Raises:
        ValueError: they are not.
    """
    if not layers or not set(layers) <= set(LAYERS):
        raise ValueError(f"layers={tuple(layers)}: choose from {LAYERS}")
    return tuple(layers)


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

"""What all engines share: the layers' names, and the size of picture that a recipe makes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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


def batches(pictures: Iterable[NDArray[np.uint8]], most: int) -> Iterator[NDArray[np.uint8]]:
    """The pictures (H, W, 3) in their order, up to `most` neighbours of one size as one array (n, H, W, 3)."""
    for _, same_size in groupby(pictures, key=lambda picture: picture.shape):
        while group := list(islice(same_size, most)):
            yield np.stack(group)


def fixed_size(recipe: Recipe) -> tuple[int, int] | None:
    """(height, width) of every picture that the recipe makes; None where it depends on the photo."""
    if recipe.crop is not None:
        return recipe.crop, recipe.crop
    return recipe.resize if isinstance(recipe.resize, tuple) else None

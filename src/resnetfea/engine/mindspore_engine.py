"""MindSporeEngine: the cell itself, in graph mode. The reference that the compiled engine is held to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import mindspore as ms
import numpy as np
from numpy.typing import NDArray

from resnetfea.engine.cache import Packed
from resnetfea.engine.layers import Maps, Pool, chosen, computed, images, normalised, pixels
from resnetfea.engine.precision import Precision, Quality
from resnetfea.network import mode
from resnetfea.network.build import loaded, with_pyramid
from resnetfea.network.pooling import max_pool
from resnetfea.weights import Weights


class MindSporeEngine:
    """Runs a ResNet's cell, on whatever device MindSpore is set to.

    Args:
        weights: what resnetfea.read gave.
        layers: which of c2..c5 to give, and of p2.. where the weights have a pyramid; None for all of c2..c5 they give.
        pool: what `features` makes of a map: its "avg" or "max", or "none": the map itself.
    """

    precision: Precision = "fp32"
    quality: Quality | None = None

    def __init__(self, weights: Weights, *, layers: Sequence[str] | None = None, pool: Pool = "avg") -> None:
        self.weights, self.layers, self.pool = weights, chosen(layers, weights), pool
        self._computed = computed(self.layers, weights)
        pyramid = len(self._computed) > len(weights.variant.out)
        self._cell = with_pyramid(weights) if pyramid else loaded(weights, weights.variant)
        backbone = self._cell.backbone if pyramid else self._cell
        backbone.maxpool = max_pool(weights.variant.pool, exportable=False)  # an engine runs, and exports nothing

    def prepare(self) -> None:
        """Nothing: the graph is compiled for the first picture's size."""

    def packed(self) -> list[Packed]:
        """Nothing: the weights are all that makes this engine elsewhere."""
        return []

    def maps(self, x: NDArray[np.float32]) -> Maps:
        """The layers' maps of a normalised batch x (N, 3, H, W), any N, H, W."""
        with mode.graph():
            outputs = self._cell(ms.Tensor(images(x)))
            by_name = dict(zip(self._computed, outputs, strict=True))
            return {layer: by_name[layer].asnumpy() for layer in self.layers}

    def features(self, pictures: Iterable[NDArray[np.uint8]]) -> Iterator[Maps]:
        """The layers, each (C,), or (C, H, W) where maps stay whole, of RGB pictures (H, W, 3) of the recipe's size.

        In their order.
        """
        for picture in pictures:  # one at a time: in a batch its last bits would depend on its neighbours
            maps = self.maps(normalised(pixels(picture), self.weights.recipe)[None])
            yield {layer: _pooled(whole[0], self.pool) for layer, whole in maps.items()}


def _pooled(whole: NDArray[np.float32], pool: Pool) -> NDArray[np.float32]:
    """(C, H, W) to (C,), or as it is."""
    if pool == "none":
        return np.ascontiguousarray(whole, np.float32)
    reduce = np.mean if pool == "avg" else np.max
    return np.asarray(reduce(whole, axis=(1, 2)), np.float32)

"""MindSporeEngine: the cell itself, in graph mode. The reference that the compiled engine is held to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import mindspore as ms
import numpy as np
from numpy.typing import NDArray

from resnetfea.engine.layers import LAYERS, Maps, Pool, batches
from resnetfea.network.build import loaded
from resnetfea.weights import Recipe, Weights


class MindSporeEngine:
    """Runs a ResNet's cell, on whatever device MindSpore is set to.

    Args:
        weights: what resnetfea.read gave.
        layers: which of c2..c5 to give.
        pool: what `features` makes of a map: its "avg" or "max".
        batch: pictures that `features` runs at a time.
    """

    def __init__(self, weights: Weights, *, layers: Sequence[str] = LAYERS, pool: Pool = "avg", batch: int = 1) -> None:
        self.weights, self.layers, self.pool, self.batch = weights, tuple(layers), pool, batch
        self._cell = loaded(weights, weights.variant)

    def maps(self, x: NDArray[np.float32]) -> Maps:
        """The layers' maps of a normalised batch x (N, 3, H, W), any N, H, W."""
        with _graph_mode():
            outputs = self._cell(ms.Tensor(np.ascontiguousarray(x, np.float32)))
            by_name = dict(zip(LAYERS, outputs, strict=True))
            return {layer: by_name[layer].asnumpy() for layer in self.layers}

    def features(self, pictures: Iterable[NDArray[np.uint8]]) -> Iterator[Maps]:
        """The pooled layers, each (C,), of RGB pictures (H, W, 3) of the recipe's size, in their order."""
        for batch in batches(pictures, self.batch):
            maps = self.maps(np.stack([normalised(picture, self.weights.recipe) for picture in batch]))
            for index in range(len(batch)):
                yield {layer: _pooled(whole[index], self.pool) for layer, whole in maps.items()}


def normalised(picture: NDArray[np.uint8], recipe: Recipe) -> NDArray[np.float32]:
    """The network's input (3, H, W) of an RGB picture (H, W, 3): (pixel * scale - mean) / std."""
    pixels = picture[..., ::-1] if recipe.color == "bgr" else picture
    x = (pixels.astype(np.float32) * np.float32(recipe.scale) - np.array(recipe.mean, np.float32)) / np.array(
        recipe.std, np.float32
    )
    return np.ascontiguousarray(x.transpose(2, 0, 1))


def _pooled(whole: NDArray[np.float32], pool: Pool) -> NDArray[np.float32]:
    """(C, H, W) to (C,)."""
    reduce = np.mean if pool == "avg" else np.max
    return np.asarray(reduce(whole, axis=(1, 2)), np.float32)


@contextmanager
def _graph_mode() -> Iterator[None]:
    """MindSpore's graph mode, and the caller's mode again behind it.

    Eager mode takes 2.5 times as long on a CPU; ms.jit on the cell takes 5 times (2.10.0: it copies the weights in).
    """
    before = ms.get_context("mode")
    ms.set_context(mode=ms.GRAPH_MODE)
    try:
        yield
    finally:
        ms.set_context(mode=before)

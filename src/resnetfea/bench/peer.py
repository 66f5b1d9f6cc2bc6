"""The peer: the same network's export in ONNX Runtime, as a short script would run it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from resnetfea.engine import cores
from resnetfea.engine.layers import Maps, normalised
from resnetfea.weights import Weights


class OnnxRuntime:
    """One picture at a time on all cores, whole maps out and pooled in NumPy.

    Args:
        weights: whose recipe and layers they are.
        graph: what engine.export wrote of them.
    """

    def __init__(self, weights: Weights, graph: Path) -> None:
        self._recipe, self._layers = weights.recipe, weights.variant.out
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = cores.usable()
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def features(self, pictures: Iterable[NDArray[np.uint8]]) -> Iterator[Maps]:
        """The pooled layers, each (C,), of RGB pictures (H, W, 3) of the graph's size, in their order."""
        for picture in pictures:
            maps = self._session.run(None, {self._input: normalised(picture, self._recipe)[None]})
            yield {layer: whole[0].mean((1, 2)) for layer, whole in zip(self._layers, maps, strict=True)}

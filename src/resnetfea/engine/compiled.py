"""CompiledEngine: the exported cell, compiled by OpenVINO for this CPU."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

from resnetfea import cpu_guard
from resnetfea.engine import cache, cores
from resnetfea.engine.export import FORMAT, check_exportable, export
from resnetfea.engine.layers import Maps, Pool, batches, chosen, computed, fixed_size, images
from resnetfea.engine.resizing import to_the_laterals
from resnetfea.weights import Weights

log = logging.getLogger("resnetfea")
FP32 = {"INFERENCE_PRECISION_HINT": "f32"}  # OpenVINO takes bf16 by itself where the CPU has it


class CompiledEngine:
    """Runs a ResNet's export on the CPU.

    Every request runs on one thread, and as many are under way as there are threads: the numbers of a picture do not
    depend on what else is running, nor on how many cores there are.

    Args:
        weights: what resnetfea.read gave.
        layers: which of c2..c5, and of p2.. where the weights have a pyramid; None for all of c2..c5 that they give.
            Only what they need is computed.
        pool: what `features` makes of a map: its "avg" or "max", or "none": the map itself.
        batch: pictures in one request of `features`. More than 1 gains nothing where requests run side by side.
        threads: how many at most; None for all cores that this process may use.

    Raises:
        ResnetFeaError: this network has no export; MindSporeEngine runs it.
    """

    def __init__(
        self,
        weights: Weights,
        *,
        layers: Sequence[str] | None = None,
        pool: Pool = "avg",
        batch: int = 1,
        threads: int | None = None,
    ) -> None:
        self.weights, self.layers, self.pool, self.batch = weights, chosen(layers, weights), pool, batch
        self._computed = computed(self.layers, weights)
        self._pyramid = len(self._computed) > len(weights.variant.out)
        check_exportable(weights, pyramid=self._pyramid)
        self.threads = threads or cores.usable()
        with cpu_guard.lifted():  # OpenVINO's oneDNN reads the limit at the first compilation, for good
            self._core = ov.Core()
            self._graph = self._read()

    def maps(self, x: NDArray[np.float32]) -> Maps:
        """The layers' maps of a normalised batch x (N, 3, H, W), any N, H, W."""
        results = self._maps_model.create_infer_request().infer([images(x)])  # one for each call: threads may share us
        return {layer: np.array(results[index]) for index, layer in enumerate(self.layers)}

    def features(self, pictures: Iterable[NDArray[np.uint8]]) -> Iterator[Maps]:
        """The layers, each (C,), or (C, H, W) where maps stay whole, of RGB pictures (H, W, 3) of the recipe's size.

        In their order. It takes a few pictures more from the iterable than it has given back.
        """
        idle = [self._features_model.create_infer_request() for _ in range(self.threads + 1)]
        running: deque[Any] = deque()  # in order of the pictures
        for batch in batches(pictures, self.batch):
            if not idle:
                idle.append(running[0])
                yield from self._finished(running.popleft())
            request = idle.pop()
            request.start_async([batch])
            running.append(request)
        while running:
            yield from self._finished(running.popleft())

    def _finished(self, request: Any) -> list[Maps]:
        request.wait()
        outputs = [request.get_output_tensor(index).data.copy() for index in range(len(self.layers))]  # (N, ...)
        return [dict(zip(self.layers, rows, strict=True)) for rows in zip(*outputs, strict=True)]

    def _read(self) -> ov.Model:
        """The graph x -> the wanted layers, from the cache or freshly exported."""
        what: dict[str, object] = {
            "weights": self.weights.identity,
            "variant": repr(self.weights.variant),
            "format": FORMAT,
        }
        if self._pyramid:
            what["pyramid"] = list(self._computed)
        folder = cache.entry("graphs", {**what, "openvino": ov.__version__}, self._make)
        model = self._core.read_model(folder / "model.xml")
        ends = dict(zip(self._computed, (one.get_node().input_value(0) for one in model.outputs), strict=True))
        return ov.Model([ends[layer] for layer in self.layers], model.get_parameters())

    def _make(self, folder: Path) -> None:
        log.info("compiling %s for this machine; once, some seconds", self.weights.path.name)
        onnx = folder / "model.onnx"
        export(self.weights, onnx, pyramid=self._pyramid)
        model = self._core.read_model(onnx)
        to_the_laterals(model)
        model.reshape([-1, 3, -1, -1])
        ov.save_model(model, folder / "model.xml", compress_to_fp16=False)
        onnx.unlink()

    @cached_property
    def _maps_model(self) -> Any:
        return self._compiled(self._graph, streams=1)

    @cached_property
    def _features_model(self) -> Any:
        """Pixels in, pooled layers or maps out: normalisation and pooling are part of the graph."""
        recipe = self.weights.recipe
        graph = self._graph.clone()
        ends = [output.get_node().input_value(0) for output in graph.outputs]  # (N, C, H, W)
        if self.pool != "none":
            reduce = ops.reduce_mean if self.pool == "avg" else ops.reduce_max
            axes = ops.constant(np.array([2, 3], np.int64))
            ends = [reduce(end, axes, False) for end in ends]  # (N, C)
        steps = ov.preprocess.PrePostProcessor(ov.Model(ends, graph.get_parameters()))
        steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
        steps.input().model().set_layout(ov.Layout("NCHW"))
        change = steps.input().preprocess().convert_element_type(ov.Type.f32)
        if recipe.color == "bgr":
            change = change.reverse_channels()
        # (pixel * scale - mean) / std, with the scale taken into mean and std
        change.mean([mean / recipe.scale for mean in recipe.mean]).scale([std / recipe.scale for std in recipe.std])
        model = steps.build()
        height, width = fixed_size(recipe) or (-1, -1)
        model.reshape([1 if self.batch == 1 else -1, height, width, 3])
        return self._compiled(model, streams=self.threads)

    def _compiled(self, model: ov.Model, *, streams: int) -> Any:
        settings = {**FP32, "NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": self.threads}
        with cpu_guard.lifted():
            return self._core.compile_model(model, "CPU", settings)

"""What stands around the network in a compiled graph: pixels in, pooled layers out; running it, and saving it."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

from resnetfea.cache_folder import VARIABLE
from resnetfea.engine.layers import Pool
from resnetfea.errors import ResnetFeaError
from resnetfea.weights import Recipe

Outputs = list[NDArray[np.float32]]


def from_pixels(graph: ov.Model, recipe: Recipe) -> ov.Model:
    """The graph with RGB pictures uint8 (N, H, W, 3) as its input, normalised in it as the recipe says."""
    steps = ov.preprocess.PrePostProcessor(graph)
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    steps.input().model().set_layout(ov.Layout("NCHW"))
    change = steps.input().preprocess().convert_element_type(ov.Type.f32)
    if recipe.color == "bgr":
        change = change.reverse_channels()
    # (pixel * scale - mean) / std, with the scale taken into mean and std
    change.mean([mean / recipe.scale for mean in recipe.mean]).scale([std / recipe.scale for std in recipe.std])
    return steps.build()


def pooled(graph: ov.Model, pool: Pool) -> ov.Model:
    """A copy of the graph that gives (N, C) for each map (N, C, H, W); the maps themselves for "none"."""
    copy = graph.clone()
    ends = [output.get_node().input_value(0) for output in copy.outputs]
    if pool != "none":
        reduce = ops.reduce_mean if pool == "avg" else ops.reduce_max
        axes = ops.constant(np.array([2, 3], np.int64))
        ends = [reduce(end, axes, False) for end in ends]
    return ov.Model(ends, copy.get_parameters())


def run(compiled: Any, batches: Iterable[NDArray[np.uint8]], *, ahead: int) -> Iterator[Outputs]:
    """The outputs of each batch, in their order.

    Args:
        compiled: a compiled graph.
        batches: (n, H, W, 3) each.
        ahead: requests under way; as many batches are taken before the first outputs are given.
    """
    idle = [compiled.create_infer_request() for _ in range(ahead)]
    running: deque[Any] = deque()  # in order of the batches
    for batch in batches:
        if not idle:
            idle.append(running[0])
            yield _finished(running.popleft())
        request = idle.pop()
        request.start_async([batch])
        running.append(request)
    while running:
        yield _finished(running.popleft())


def save(graph: ov.Model, path: Path) -> None:
    """Write it as `path` (.xml), and its weights beside it.

    Raises:
        ResnetFeaError: they could not be written.
    """
    try:
        ov.save_model(graph, path, compress_to_fp16=False)
    except RuntimeError as error:  # "basic_ios::clear: iostream error", whatever the reason
        room = shutil.disk_usage(path.parent).free / 1e6
        raise ResnetFeaError(
            f"{path.parent}: the network cannot be written ({error}; {room:.0f} MB are free there); make room, or "
            f"set {VARIABLE} to another folder"
        ) from error


def _finished(request: Any) -> Outputs:
    request.wait()
    return [request.get_output_tensor(index).data.copy() for index in range(len(request.output_tensors))]

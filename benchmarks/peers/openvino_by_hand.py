"""The same network through OpenVINO, as a careful user writes it.

    python -m benchmarks.peers.openvino_by_hand PHOTOS.txt MODEL.onnx OUT.npy --precision int8 --reduced --cache DIR

Normalisation and pooling inside the graph, 8-bit pixels in, requests side by side, decoding threads ahead of them,
JPEGs at a smaller scale where asked, what was compiled kept in a cache. int8 is NNCF's with its defaults, quantised
once, on the first photos.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from benchmarks.peers.photos import arguments, crop, listed, recipe, report

HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}  # int8: of the layers that are not quantised
CALIBRATION = 64  # photos


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--precision", choices=HINTS, default="fp32")
    parser.add_argument("--reduced", action="store_true", help="decode JPEGs at a smaller scale")
    parser.add_argument("--cache", type=Path, help="folder for what is compiled and quantised")
    parser.add_argument("--all-layers", action="store_true", help="c2 to c5 side by side, instead of c5 alone")
    options = parser.parse_args()
    taken = partial(crop, recipe=recipe(options.recipe), reduced=options.reduced)
    compiled = network(options, map(taken, listed(options.photos)[:CALIBRATION]))
    ready = time.perf_counter()
    report(options.out, features(compiled, listed(options.photos), taken), ready)


def network(options: Any, calibration: Iterable[NDArray[np.uint8]]) -> ov.CompiledModel:
    """The compiled graph: pixels (1, 224, 224, 3) in, pooled layers out."""
    core = ov.Core()
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "INFERENCE_PRECISION_HINT": HINTS[options.precision],
        **({"CACHE_DIR": str(options.cache)} if options.cache else {}),
    }
    if options.precision != "int8":
        return core.compile_model(with_pixels(core.read_model(options.model), options), "CPU", settings)
    quantised = options.cache / f"{options.model.stem}{'-all' * options.all_layers}-int8.xml"
    if not quantised.exists():
        import nncf

        model = with_pixels(core.read_model(options.model), options)
        pictures = nncf.Dataset([picture[None] for picture in calibration])
        ov.save_model(nncf.quantize(model, pictures, subset_size=CALIBRATION), quantised, compress_to_fp16=False)
    return core.compile_model(quantised, "CPU", settings)


def with_pixels(model: ov.Model, options: Any) -> ov.Model:
    """The ONNX graph with the way from pixels in front and the average of each map behind."""
    how = recipe(options.recipe)
    maps = [output.get_node().input_value(0) for output in model.outputs][0 if options.all_layers else -1 :]
    pooled = [ov.opset13.reduce_mean(one, np.array([2, 3]), False) for one in maps]
    steps = ov.preprocess.PrePostProcessor(ov.Model(pooled, model.get_parameters()))
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    steps.input().model().set_layout(ov.Layout("NCHW"))
    change = steps.input().preprocess().convert_element_type(ov.Type.f32)
    if how["color"] == "bgr":
        change = change.reverse_channels()
    change.mean([one / how["scale"] for one in how["mean"]]).scale([one / how["scale"] for one in how["std"]])
    built = steps.build()
    built.reshape([1, how["crop"], how["crop"], 3])
    return built


def features(compiled: ov.CompiledModel, paths: list[str], taken: Any) -> NDArray[np.float32]:
    """The layers of every photo, side by side (N, channels)."""
    idle = [compiled.create_infer_request() for _ in range(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))]
    running: deque[Any] = deque()  # in order of the photos; AsyncInferQueue sometimes hangs when it goes (2026.4.1)
    rows: list[NDArray[np.float32]] = []

    def finish() -> None:
        request = running.popleft()
        request.wait()
        rows.append(np.concatenate([output.data[0] for output in request.output_tensors]))
        idle.append(request)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for pixels in pool.map(taken, paths):
            if not idle:
                finish()
            request = idle.pop()
            request.start_async({0: pixels[None]})
            running.append(request)
    while running:
        finish()
    return np.stack(rows)


if __name__ == "__main__":
    main()

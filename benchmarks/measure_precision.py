"""What each precision costs in accuracy and gives in speed; docs/precision.md has the outcome.

    python -m benchmarks.measure_precision [PHOTOS_FOLDER...]      (PYTHONPATH=src:tests)

Accuracy with the real weights, on the photos of `make bench` and on your own: int8 is calibrated on other crops of
every second sample picture. Time with a full-width network: CPU time of one thread, as a share of fp32's, in turn.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from benchmarks import materials
from resnetfea import CompiledEngine, Weights, read
from resnetfea.engine import quantize
from resnetfea.engine.calibration import worst
from resnetfea.engine.layers import batches
from resnetfea.engine.picture_graph import Outputs, from_pixels, pooled, run
from resnetfea.engine.precision import has_bf16
from resnetfea.engine.stem_rounding import round_stem
from resnetfea.features.bad_image import BadImage
from resnetfea.features.images import decode
from resnetfea.features.listing import images

BUILD = Path("build/bench")
CALIBRATED_ON, JUDGED_ON = 64, 128
TURNS, PICTURES = 9, 4  # of the timing
KEPT = (1, 2, 3, 4, 5, 6, 8)  # stem and bottlenecks in floating point
Pictures = Sequence[NDArray[np.uint8]]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path, help="further photos to be judged on")
    folders = [materials.photos("web", JUDGED_ON, BUILD)[0].parent, *parser.parse_args().folders]
    real, wide = read("opennsfw"), read(materials.weights(BUILD / "resnet50.safetensors"))
    calibration = pictures_of(materials.calibration(CALIBRATED_ON, BUILD), real)
    times = shares(
        dict(graphs(wide, pictures_of(folders[0], wide)[:PICTURES])), pictures_of(folders[0], wide)[:PICTURES]
    )
    judged = {folder: pictures_of(folder, real) for folder in folders}
    reference: dict[Path, list[Outputs]] = {}
    for name, compiled in graphs(real, calibration):
        for folder, pictures in judged.items():
            found = list(run(compiled, batches(pictures, 1), ahead=2))
            reference.setdefault(folder, found)  # fp32 comes first
            cosines = worst(real.variant.out, reference[folder], found)
            numbers = " ".join(f"{cosine:.5f}" for cosine in cosines.values())
            print(f"{name:28} {times[name]:5.2f}  {numbers}  {len(pictures)} of {folder.name}", flush=True)


def graphs(weights: Weights, calibration: Pictures) -> Iterator[tuple[str, Any]]:
    """Compiled, from pixels to pooled layers, by name; fp32 first."""
    engine = CompiledEngine(weights, threads=1)
    float_part = "bf16" if has_bf16(engine._core) else "f32"

    def ready(graph: ov.Model, asked: str, pool: Any = "avg") -> Any:
        model = from_pixels(pooled(graph, pool), weights.recipe)
        model.reshape([1, *calibration[0].shape])
        return engine._compiled(model, streams=1, asked=asked)

    graph = engine._read()
    yield "fp32", ready(graph, "f32")
    quantize.fold_norms(graph)
    rounded = graph.clone()
    if float_part == "bf16":
        yield "bf16, stem to nearest", ready(graph, "bf16")
        round_stem(rounded)
        yield "bf16", ready(rounded, "bf16")
    with_ranges, names = quantize.with_range_outputs(graph)
    found = run(ready(with_ranges, "f32", "none"), batches(calibration, 1), ahead=2)
    ranges = quantize.ranges(names, found)
    order = quantize.blocks(graph)
    for count in KEPT:
        name = f"int8 but for {order[0]}" + (f" to {order[count - 1]}" if count > 1 else "")
        yield name, ready(quantize.quantized(rounded, ranges, kept=order[:count]), float_part)


def shares(compiled: dict[str, Any], pictures: Pictures) -> dict[str, float]:
    """CPU time of each, relative to fp32's: the median over turns."""
    times: dict[str, list[float]] = {name: [] for name in compiled}
    for _ in range(TURNS):
        for name, one in compiled.items():
            began = time.process_time()
            list(run(one, batches(pictures, 1), ahead=1))
            times[name].append(time.process_time() - began)
    return {
        name: statistics.median(own / base for own, base in zip(taken, times["fp32"], strict=True))
        for name, taken in times.items()
    }


def pictures_of(folder: Path, weights: Weights) -> list[NDArray[np.uint8]]:
    """All that can be read, as the weights' recipe makes them."""
    source, found = images(folder), []
    for name in source.names():
        try:
            found.append(decode(source.content(name), weights.recipe).pixels)
        except BadImage as bad:
            print(f"{name.decode()}: {bad}")
    return found


if __name__ == "__main__":
    main()

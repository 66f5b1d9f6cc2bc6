"""How much of a network may run on 8 bits: measured on photos, until what they lose is little enough.

Rounding errors grow on their way through the network, so those of the first blocks cost the most. The stem and the
first bottleneck always stay in floating point; then as many behind them as it takes (docs/precision.md).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from resnetfea.engine import quantize
from resnetfea.engine.layers import batches
from resnetfea.engine.picture_graph import Outputs, from_pixels, pooled, run
from resnetfea.engine.precision import Quality, TooCoarse
from resnetfea.engine.stem_rounding import round_stem
from resnetfea.weights import Recipe

FIRST = 2  # stem and first bottleneck: in int8 they lose the most, and in bf16 they take no longer
MARGIN = 0.5  # of the loss that is allowed may be used on these photos: others may lose more

log = logging.getLogger("resnetfea")


def calibrated(
    graph: ov.Model,
    layers: Sequence[str],
    recipe: Recipe,
    pictures: Sequence[NDArray[np.uint8]],
    *,
    min_cosine: float,
    float_part: str,
    compiled: Callable[[ov.Model, bool], Any],
) -> tuple[quantize.Ranges, Quality]:
    """What makes the quantised graph with the fewest bottlenecks in floating point that loses little enough.

    Args:
        graph: x (N, 3, H, W) to maps, in fp32, with folded norms.
        layers: names of its maps.
        recipe: the weights'.
        pictures: of the recipe's size.
        min_cosine: that each layer of each photo should keep.
        float_part: "bf16" or "f32": what the rest runs in.
        compiled: makes a graph ready to run; True for fp32 throughout.

    Raises:
        TooCoarse: half of the bottlenecks in floating point are not enough; then 8 bits for the rest gain little.
    """

    def outputs(model: ov.Model, exact: bool) -> Iterable[Outputs]:
        return run(compiled(from_pixels(model, recipe), exact), batches(pictures, 1), ahead=2)

    with_ranges, names = quantize.with_range_outputs(graph)
    ranges = quantize.ranges(names, outputs(with_ranges, True))
    reference = list(outputs(pooled(graph, "avg"), True))
    order = quantize.blocks(graph)
    for count in range(FIRST, len(order) // 2 + 2):  # one bottleneck more each time
        kept = tuple(order[:count])
        found = list(outputs(pooled(coarse(graph, ranges, kept, float_part), "avg"), False))
        quality = Quality(len(pictures), kept, worst(layers, reference, found))
        log.debug("int8 but for %s: %s", ", ".join(kept), quality.worst)
        if min(quality.worst.values()) >= enough(min_cosine):
            return ranges, quality
    raise TooCoarse(
        f"int8 loses too much for a cosine of {min_cosine}: with half of the blocks in floating point the worst of "
        f"{len(pictures)} photos keeps {min(quality.worst.values()):.5f}, and {enough(min_cosine):.6g} would be on the "
        "safe side; take bf16 or fp32, or ask for less"
    )


def coarse(graph: ov.Model, ranges: quantize.Ranges, kept: Sequence[str], float_part: str) -> ov.Model:
    """The quantised graph of one with folded norms; arguments as `calibrated` has and gives them."""
    copy = quantize.quantized(graph, ranges, kept=kept)
    if float_part == "bf16":
        round_stem(copy)
    return copy


def worst(layers: Sequence[str], reference: Sequence[Outputs], found: Sequence[Outputs]) -> dict[str, float]:
    """The smallest cosine of any photo, for each layer."""
    return {
        layer: min(_cosine(theirs[i][0], ours[i][0]) for theirs, ours in zip(reference, found, strict=True))
        for i, layer in enumerate(layers)
    }


def enough(min_cosine: float) -> float:
    """What must be measured on some photos so that others keep min_cosine."""
    return 1 - (1 - min_cosine) * MARGIN


def _cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """1 for two vectors of zeros; -1 where a number is none, which min() would pass over."""
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    if not (np.isfinite(a64).all() and np.isfinite(b64).all()):
        return -1.0
    lengths = float(np.linalg.norm(a64) * np.linalg.norm(b64))
    return float(a64 @ b64) / lengths if lengths else float(np.array_equal(a, b))

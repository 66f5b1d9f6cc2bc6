"""What feature pyramids are compared on: cases, weights and maps drawn from a seed, sampled numbers. numpy only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetfea.network.variant import Variant
from rich_weights import State, digest, rich_input

SEED = 30
SAMPLES = 128  # values kept of one map or gradient

Floats = NDArray[np.float32]
Sizes = tuple[tuple[int, int], ...]  # of c2 to c5


@dataclass(frozen=True)
class Case:
    """One pyramid. The options are FPN's keyword arguments."""

    in_channels: tuple[int, ...] = (24, 48, 96, 192)
    out_channels: int = 32
    options: Mapping[str, Any] = field(default_factory=dict)


THREE = (48, 96, 192)
CASES: dict[str, Case] = {
    "default": Case(),
    "full-width": Case((256, 512, 1024, 2048), 256),
    "avg": Case(options={"fuse": "avg"}),
    "group": Case(out_channels=64, options={"norm": "group", "norm_groups": 32}),  # as all ecosystems have it
    "batch": Case(options={"norm": "batch"}),
    "modelzoo": Case(options={"resize": "bilinear"}),
    "retinanet-c5": Case(THREE, options={"top": "c5"}),
    "retinanet-p5": Case(THREE, options={"top": "p5"}),
    "retinanet-mmdet": Case(THREE, options={"top": "c5", "top_relu": False}),
    "all-at-once": Case(THREE, options={"top": "p5", "fuse": "avg", "norm": "group", "norm_groups": 4}),
}


NET = Variant(stem_channels=4, res2_channels=24, width_per_group=2, pool="pad1")  # whose maps most cases take
NETS = ("default", "group", "batch", "retinanet-c5")  # cases that are compared behind it, too
IMAGES = ((1, 3, 224, 224), (1, 3, 225, 225), (2, 3, 200, 333))


def halved(height: int, width: int) -> Sizes:
    """What a ResNet makes of an image: every step rounds up."""
    return tuple((-(-height // stride), -(-width // stride)) for stride in (4, 8, 16, 32))


INPUTS: dict[str, Sizes] = {
    "224x224": halved(224, 224),
    "225x225": halved(225, 225),
    "200x333": halved(200, 333),
    "dilated": ((57, 84), (29, 42), (15, 21), (15, 21)),  # the last stage keeps its size
    "unequal": ((40, 33), (13, 17), (9, 8), (2, 5)),  # no network's: nearest to the size, and nothing else
}
GRADIENTS_OF = "225x225"


def maps(case: Case, sizes: Sizes) -> list[Floats]:
    """c2 to c5, or those that the case takes: 0 to 2, as behind a ReLU."""
    first = 4 - len(case.in_channels)
    return [
        np.maximum(rich_input((1, channels, *size), SEED + level), 0)
        for level, (channels, size) in enumerate(zip(case.in_channels, sizes[first:], strict=True))
    ]


def weighing(shapes: list[tuple[int, ...]]) -> list[Floats]:
    """What the loss multiplies the maps by before it adds them all up."""
    return [rich_input(shape, SEED + 10 + level) for level, shape in enumerate(shapes)]


def state(case: Case) -> State:
    """The tensors by torchvision's names, `fpn.` left out. No two alike, every activation about 1."""
    width, norm = case.out_channels, case.options.get("norm", "none")
    shapes: dict[str, tuple[int, ...]] = {}
    for level, channels in enumerate(case.in_channels):
        for kind, shape in (("inner", (width, channels, 1, 1)), ("layer", (width, width, 3, 3))):
            name = f"{kind}_blocks.{level}"
            shapes[f"{name}.0.weight"] = shape
            parts = {"none": ["0.bias"], "group": ["1.weight", "1.bias"], "batch": ["1.weight", "1.bias"]}[norm]
            parts += ["1.running_mean", "1.running_var"] if norm == "batch" else []
            shapes |= {f"{name}.{part}": (width,) for part in parts}
    top = case.options.get("top", "pool")
    if top != "pool":
        entering = case.in_channels[-1] if top == "c5" else width
        shapes |= {"extra_blocks.p6.weight": (width, entering, 3, 3), "extra_blocks.p7.weight": (width, width, 3, 3)}
        shapes |= {"extra_blocks.p6.bias": (width,), "extra_blocks.p7.bias": (width,)}
    return {name: _drawn(name, shape, SEED + 100 + index) for index, (name, shape) in enumerate(shapes.items())}


def _drawn(name: str, shape: tuple[int, ...], seed: int) -> Floats:
    values = rich_input(shape, seed)  # -2 to 2
    if len(shape) == 4:
        return values * np.float32(math.sqrt(0.75 / math.prod(shape[1:])))  # variance 1/fan_in
    if name.endswith("running_var"):
        return np.abs(values) * np.float32(1e-3) + np.float32(1e-6)  # small, so that eps matters
    return values + np.float32(0.25)


def sampled(key: str, values: Floats, *, full: bool = False) -> dict[str, Any]:
    """The arrays that keep one map or gradient: all values or some, and what they are compared by."""
    kept = values.reshape(-1)[:: 1 if full else _stride(values.size)]
    return {key: kept, f"{key}/shape": values.shape, f"{key}/peak": np.abs(values).max()}


def error(reference: Mapping[str, NDArray[Any]], key: str, ours: Floats) -> float:
    """max|a-b| / max|b| over the values kept; infinite where the shape is another or a value is not finite."""
    if ours.shape != tuple(reference[f"{key}/shape"]) or not np.isfinite(ours).all():
        return math.inf
    kept = ours.reshape(-1)[:: 1 if reference[key].size == ours.size else _stride(ours.size)]
    return float(np.abs(kept - reference[key]).max() / reference[f"{key}/peak"])


def save(path: Path, case: Case, arrays: dict[str, Any]) -> None:
    """Write one case's file, compressed."""
    np.savez_compressed(path, **arrays, digest=_digest(case))


def load(path: Path, case: Case) -> Mapping[str, NDArray[Any]]:
    """One case's file, certain to be of the weights and maps that are drawn here."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    if str(arrays["digest"]) != _digest(case):
        raise RuntimeError(f"{path.name}: other weights or maps are drawn here than where this was written")
    return arrays


def _digest(case: Case) -> str:
    drawn = {f"{name}/{index}": x for name in INPUTS for index, x in enumerate(maps(case, INPUTS[name]))}
    return digest({**state(case), **drawn})


def _stride(size: int) -> int:
    """Keeps at most SAMPLES values and shares no factor with the size, so that it meets every row and column."""
    stride = max(-(-size // SAMPLES), 1)
    while stride > 1 and math.gcd(stride, size) != 1:
        stride += 1
    return stride

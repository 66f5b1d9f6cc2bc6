"""The files that carry PyTorch's numbers over to the MindSpore environment: cases, layout, sampling. numpy only."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetfea.network.variant import Variant
from rich_weights import digest, rich_input

GOLDEN = Path(os.environ.get("REFERENCES") or Path(__file__).parents[1] / "golden")  # or a folder fresh from PyTorch
SEED = 20
SAMPLES = 2048  # values kept of one map in a golden file

VARIANTS: dict[str, Variant] = {
    "default": Variant(),
    "torchvision": Variant(pool="pad1"),
    "maskrcnn-benchmark": Variant(pool="pad1", stride_in="1x1", bn_eps=0),
    "modelzoo-imagenet": Variant(pool="same", conv_pad="same", bn_eps=1e-4),
    "caffe": Variant(pool="ceil", stride_in="1x1"),
    "open_nsfw": Variant(res2_channels=128, width_per_group=32, stride_in="1x1", bn_eps=0),  # the default weights'
}
THIN: dict[str, Any] = {"stem_channels": 32, "res2_channels": 64, "width_per_group": 16}  # a sixteenth of the work
FURTHER: dict[str, Variant] = {  # whose golden files hold a small input only; `--full` takes all of INPUTS
    "resnet101-c4": Variant(depth=101, pool="pad1", stride_in="1x1", bn_eps=0, out=("c2", "c4"), **THIN),
    "resnet152-dc5": Variant(depth=152, pool="pad1", dilation=2, **THIN),
    "resnext50_32x4d": Variant(pool="pad1", groups=32, width_per_group=4),
    "group-norm": Variant(
        pool="pad1", norm="group", bn_eps=1e-3, stem_channels=32, res2_channels=64, width_per_group=32
    ),
    "group-norm-16": Variant(pool="pad1", norm="group", norm_channels=16, dilation=2, **THIN),
    "deform-v1": Variant(pool="pad1", deform=("none", "v1", "v1", "v1"), **THIN),
    "deform-v1-2": Variant(pool="pad1", deform=("v1", "v1", "v1", "v1"), deform_groups=2, stride_in="1x1", **THIN),
    "deform-v2": Variant(pool="pad1", deform=("none", "v2", "v2", "v2"), dilation=2, **THIN),
    "deform-v2-2": Variant(pool="pad1", deform=("v2", "v1", "none", "v2"), deform_groups=2, groups=2, **THIN),
}
INPUTS: tuple[tuple[int, int, int, int], ...] = (
    (1, 3, 224, 224),
    (1, 3, 225, 225),  # odd at every halving: where the paddings part
    (1, 3, 200, 333),
    (2, 3, 224, 224),
)
SMALL_INPUTS: tuple[tuple[int, int, int, int], ...] = ((2, 3, 97, 130),)  # each takes MindSpore a compilation

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Reference:
    """What PyTorch computed for one variant's weights. A file holds one of them."""

    variant: Variant
    seed: int
    weights_digest: str
    arrays: Mapping[str, NDArray[Any]]

    @property
    def inputs(self) -> list[tuple[int, ...]]:
        """Shapes of the images; the pixels come from the seed."""
        return [tuple(int(n) for n in shape) for shape in self.arrays["inputs"]]

    def image(self, shape: tuple[int, ...]) -> Floats:
        """The images of that shape, certain to be those PyTorch saw."""
        x = rich_input(shape, self.seed)
        if digest({"x": x}) != str(self.arrays[f"{label(shape)}/digest"]):
            raise RuntimeError(f"seed {self.seed} gives other images {label(shape)} here than where this was written")
        return x

    def names(self, shape: tuple[int, ...]) -> list[str]:
        """What is kept of that input: all layers in order of execution, where PyTorch just wrote it; then the maps."""
        start, end = f"{label(shape)}/", "/peak"
        return [key[len(start) : -len(end)] for key in self.arrays if key.startswith(start) and key.endswith(end)]

    def error(self, shape: tuple[int, ...], name: str, ours: Floats) -> float:
        """max|a-b| / max|b| over the values kept; infinite where the layer has another shape or is not finite."""
        key = f"{label(shape)}/{name}"
        if ours.shape != tuple(self.arrays[f"{key}/shape"]) or not np.isfinite(ours).all():
            return math.inf
        kept = ours.reshape(-1)[:: int(self.arrays[f"{key}/stride"])]
        return float(np.abs(kept - self.arrays[key]).max() / self.arrays[f"{key}/peak"])


def entries(shape: tuple[int, ...], x: Floats, maps: Mapping[str, Floats], limit: int | None) -> dict[str, Any]:
    """The arrays that keep one image batch's layers: all of each, or at most `limit` values."""
    arrays: dict[str, Any] = {f"{label(shape)}/digest": digest({"x": x})}
    for name, values in maps.items():
        key = f"{label(shape)}/{name}"
        stride = _stride(values.size, limit or values.size)
        arrays[key] = values.reshape(-1)[::stride]
        arrays[f"{key}/stride"] = stride
        arrays[f"{key}/shape"] = values.shape
        arrays[f"{key}/peak"] = np.abs(values).max()  # of the whole map, whatever was kept
    return arrays


def save(
    path: Path, variant: Variant, weights_digest: str, inputs: list[tuple[int, ...]], arrays: dict[str, Any]
) -> None:
    """Write one Reference, compressed."""
    arrays = arrays | {
        "variant": json.dumps(asdict(variant)),
        "seed": SEED,
        "weights_digest": weights_digest,
        "inputs": inputs,
    }
    np.savez_compressed(path, **arrays)


def load_all(folder: Path) -> Iterator[tuple[str, Reference]]:
    """(name, Reference) for every file of a folder, by name."""
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        variant = Variant(**json.loads(str(arrays["variant"])))
        yield path.stem, Reference(variant, int(arrays["seed"]), str(arrays["weights_digest"]), arrays)


def label(shape: tuple[int, ...]) -> str:
    """(1, 3, 224, 224) as 1x3x224x224."""
    return "x".join(map(str, shape))


def _stride(size: int, limit: int) -> int:
    """The smallest step that keeps at most `limit` values and shares no factor with the size: it meets every column."""
    stride = max(-(-size // limit), 1)
    while stride > 1 and math.gcd(stride, size) != 1:
        stride += 1
    return stride

"""Gradients of a random weighting of all maps: which tensors have one, and its values. Cases and layout; numpy only.

The file has for each case the names of what trains, in the order of the weights, and for each of them the gradient's
largest absolute value and a few of its values.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from resnetfea.network.variant import Variant
from rich_weights import rich_input

Floats = NDArray[np.float32]
SEED = 21
SHAPE = (2, 3, 96, 96)
SAMPLES = 6  # values kept of one gradient
TINY = Variant(stem_channels=8, res2_channels=16, width_per_group=8, pool="pad1")
CASES: dict[str, Variant] = {
    "frozen norms, freeze 0": replace(TINY, norm="frozen", freeze_at=0, pool="same"),
    "batch norms, freeze 0": replace(TINY, norm="batch", freeze_at=0),
    "batch norms, freeze 1": replace(TINY, norm="batch", freeze_at=1, stride_in="1x1"),
    "as the source, freeze 2": replace(TINY, conv_pad="same", pool="ceil"),
    "group norms, freeze 3": replace(TINY, norm="group", norm_groups=4, freeze_at=3, groups=2, width_per_group=4),
    "group norms, freeze 0": replace(TINY, norm="group", norm_groups=4, freeze_at=0, bn_eps=1e-3),
    "deform v2, freeze 4": replace(TINY, deform=("v2",) * 4, deform_groups=2, freeze_at=4, dilation=2),
    "deform v1, freeze 0": replace(TINY, deform=("none", "v1", "v1", "v1"), freeze_at=0, groups=2, width_per_group=4),
    "deform v2, freeze 0": replace(TINY, deform=("v1", "v2", "v2", "v2"), deform_groups=2, freeze_at=0, out=("c4",)),
    "freeze 5": replace(TINY, freeze_at=5),
}


class Gradient(NamedTuple):
    """One tensor's: max |g|, and every so many'th value of it."""

    name: str
    peak: float
    values: Floats


class Expected(NamedTuple):
    """What PyTorch found for one case."""

    variant: Variant
    digest: str
    gradients: tuple[Gradient, ...]


def loss(maps: Mapping[str, Any], of_numpy: Callable[[Floats], Any]) -> Any:
    """Every value of every map times a number of its own, so that none can hide; for any library's tensors."""
    parts = [(maps[name] * of_numpy(weights(name, maps[name].shape))).sum() for name in sorted(maps)]
    return sum(parts[1:], start=parts[0])


def weights(name: str, shape: tuple[int, ...]) -> Floats:
    """What each value of a map counts in the loss: -2 to 2, divided by their number's root."""
    return np.asarray(rich_input(tuple(shape), SEED + int(name[1])) / np.sqrt(np.prod(shape)), np.float32)


def sampled(gradient: Floats, most: int = SAMPLES) -> Floats:
    """At most so many values, spread over all of it."""
    flat = gradient.reshape(-1)
    return flat[:: -(-flat.size // most)]


def save(path: Path, found: Mapping[str, Expected]) -> None:
    """Write all cases, compressed."""
    arrays: dict[str, Any] = {}
    for case, (variant, digest, gradients) in found.items():
        arrays[f"{case}/variant"] = json.dumps(asdict(variant))
        arrays[f"{case}/digest"] = digest
        arrays[f"{case}/names"] = json.dumps([one.name for one in gradients])
        arrays[f"{case}/peaks"] = np.array([one.peak for one in gradients], np.float32)
        arrays[f"{case}/counts"] = np.array([len(one.values) for one in gradients], np.int32)
        arrays[f"{case}/values"] = np.concatenate([np.empty(0, np.float32), *(one.values for one in gradients)])
    np.savez_compressed(path, **arrays)


def load(path: Path) -> Iterator[tuple[str, Expected]]:
    """(case, what PyTorch found) for each."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    for case in (key.removesuffix("/names") for key in arrays if key.endswith("/names")):
        names, peaks = json.loads(str(arrays[f"{case}/names"])), arrays[f"{case}/peaks"].tolist()
        ends = np.cumsum(arrays[f"{case}/counts"])[:-1]
        values = np.split(arrays[f"{case}/values"], ends) if names else []
        gradients = tuple(Gradient(*one) for one in zip(names, peaks, values, strict=True))
        variant = Variant(**json.loads(str(arrays[f"{case}/variant"])))
        yield case, Expected(variant, str(arrays[f"{case}/digest"]), gradients)

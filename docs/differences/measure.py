"""Run every trap on the sample photos, beside the network that it differs from."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib import metadata
from itertools import groupby
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np

from differences.changes import Floats, Tensors, by_recipe
from differences.trap import NETWORKS, Network, Trap
from differences.traps import TRAPS
from resnetfea.engine.compiled import CompiledEngine
from resnetfea.network import mode
from resnetfea.network.build import loaded
from resnetfea.network.variant import LAYERS, Variant
from resnetfea.parity import compare, steps
from resnetfea.parity.verify import TOLERANCE
from resnetfea.weights import Weights, read
from rich_weights import rich_state

SEED = 20
# open_nsfw's channels throughout, with the stem halved too: so layer1.0's projection and its conv3 are of one shape
RANDOM = Variant(stem_channels=32, res2_channels=128, width_per_group=32, pool="pad1")
BATCH = 4  # photos; more of them hold a gigabyte
FIRST = 1  # of the photos in their order: the one that is looked at layer by layer
BN_EPS = 1e-5  # in training mode: PyTorch's
STRIDES = (4, 8, 16, 32)  # of c2..c5
After = Callable[[str, Floats], Floats]
Maps = dict[str, Floats]  # c2..c5 of one photo, (1, C, H, W)


def measure(samples: Path, told: Callable[[str], None]) -> dict[str, Any]:
    """All rows by key, as JSON holds them; `told` hears of the progress."""
    photos = sorted(path for path in samples.rglob("*") if path.suffix in (".jpg", ".png", ".webp"))
    rows: dict[str, Any] = {}
    for name, network in NETWORKS.items():
        right = Right(network, photos)
        for trap in TRAPS:
            if trap.network == name:
                rows[trap.key] = right.beside(trap)
                told(f"{trap.key}: {rows[trap.key]}")
    return {
        "photos": len(photos),
        "first_on": photos[FIRST].stem,
        "made_with": {package: metadata.version(package) for package in ("mindspore", "openvino", "pillow", "numpy")}
        | {"machine": platform.machine()},
        "rows": {trap.key: rows[trap.key] for trap in TRAPS},
    }


class Right:
    """A network that is right, and what it makes of the photos."""

    def __init__(self, network: Network, photos: Sequence[Path]) -> None:
        self.network, self.photos = network, photos
        self.weights = _weights(network)
        self.cell = loaded(self.weights, self.weights.variant)
        self.inputs = [network.prepare(photo, network.recipe) for photo in photos]
        self.maps = _maps(self.cell, self.inputs)
        self.layers = {name: _array(x) for name, x in _layers(self.cell, self.inputs[FIRST])}

    def beside(self, trap: Trap) -> dict[str, Any]:
        """How far the trap's network is from this one."""
        recipe = replace(self.network.recipe, **trap.recipe)
        prepare = trap.prepare or self.network.prepare
        inputs = [prepare(photo, recipe) for photo in self.photos] if trap.recipe or trap.prepare else self.inputs
        cell = self.cell
        if trap.variant or trap.tensors:
            tensors = trap.tensors(self.weights.tensors) if trap.tensors else self.weights.tensors
            changed = replace(self.weights, tensors=tensors)
            cell = loaded(changed, replace(self.weights.variant, **trap.variant))
        if trap.run == "compiled":
            engine = CompiledEngine(self.weights)
            maps = [engine.maps(x) for x in inputs]
            return self._row(maps, self._first(iter(maps[FIRST].items()), inputs[FIRST]))
        after = self._after(trap)
        maps = _maps(cell, inputs, after, batch=1 if trap.run == "alone" else BATCH)
        layers = ((name, _array(x)) for name, x in _layers(cell, inputs[FIRST], after))
        return self._row(maps, self._first(layers, inputs[FIRST]))

    def _after(self, trap: Trap) -> After | None:
        """What becomes of each layer's output."""
        if trap.run == "batch statistics":
            return _BatchStatistics(self.cell, self.inputs)
        rounding = trap.rounding
        return None if rounding is None else lambda _, x: rounding(x)

    def _first(self, layers: Iterator[tuple[str, Floats]], x: Floats) -> str | None:
        """The first to differ of one photo's input and layers, where it is beyond verify's tolerance."""
        if x.shape != self.inputs[FIRST].shape or not compare.row("", x, self.inputs[FIRST]).within(TOLERANCE):
            return "input"
        for name, ours in layers:
            if not compare.row(name, ours, self.layers[name]).within(TOLERANCE):
                return name
        return None

    def _row(self, maps: Sequence[Maps], first: str | None) -> dict[str, Any]:
        pairs = list(zip(maps, self.maps, strict=True))
        if self.network.photo_only:
            pairs = [self._within(photo, *pair) for photo, pair in zip(self.photos, pairs, strict=True)]
        found = {layer: [compare.row(layer, a[layer], b[layer]).max_rel for a, b in pairs] for layer in LAYERS}
        cosines = [_cosine(a["c5"].mean((0, 2, 3)), b["c5"].mean((0, 2, 3))) for a, b in pairs]
        worst, lowest = int(np.argmax(found["c5"])), int(np.argmin(cosines))
        return {
            "first": first,
            "median": {layer: _number(float(np.median(found[layer]))) for layer in LAYERS},
            "largest": {"c5": _number(found["c5"][worst]), "photo": self.photos[worst].stem},
            "cosine": {"median": round(float(np.median(cosines)), 6), "lowest": round(cosines[lowest], 6)}
            | {"photo": self.photos[lowest].stem},
        }

    def _within(self, photo: Path, ours: Maps, theirs: Maps) -> tuple[Maps, Maps]:
        """Both without what lies behind the photo."""
        height, width = by_recipe(photo, self.network.recipe).shape[2:]

        def cut(maps: Maps) -> Maps:
            ends = [(layer, -(-height // s), -(-width // s)) for layer, s in zip(LAYERS, STRIDES, strict=True)]
            return {layer: maps[layer][:, :, :bottom, :right] for layer, bottom, right in ends}

        return cut(ours), cut(theirs)


class _BatchStatistics:
    """Each photo's own mean and variance in every norm.

    open_nsfw's file holds no statistics: they are folded into its convolutions. What they were is estimated from what
    comes out of each norm on all photos, whose mean is the norm's shift and whose deviation is its scale.
    """

    def __init__(self, cell: Any, inputs: Sequence[Floats]) -> None:
        self.moments: dict[str, list[tuple[Floats, Floats]]] = {}
        _maps(cell, inputs, self._collect)
        self.known = {
            name: (mean, np.sqrt(np.maximum(squares - mean**2, 0)))
            for name, (mean, squares) in (
                (name, tuple(np.mean(parts, 0) for parts in zip(*moments, strict=True)))
                for name, moments in self.moments.items()
            )
        }

    def _collect(self, name: str, x: Floats) -> Floats:
        if _is_norm(name):
            for photo in x.astype(np.float64):
                moments = photo.mean((1, 2)), (photo**2).mean((1, 2))
                self.moments.setdefault(name, []).append(moments)
        return x

    def __call__(self, name: str, x: Floats) -> Floats:
        if not _is_norm(name):
            return x
        shift, scale = (part[:, None, None] for part in self.known[name])
        mean, variance = x.mean((2, 3), keepdims=True), x.var((2, 3), keepdims=True)
        normalised: Floats = ((x - mean) / np.sqrt(variance + BN_EPS) * scale + shift).astype(np.float32)
        return normalised


def _is_norm(name: str) -> bool:
    return name.endswith(("bn1", "bn2", "bn3", "downsample.1"))


def _weights(network: Network) -> Weights:
    weights = read("opennsfw")
    if network.real:
        return replace(weights, variant=replace(weights.variant, **network.variant))
    tensors: Tensors = rich_state(RANDOM, SEED)
    return replace(weights, path=Path(f"seed {SEED}"), tensors=tensors, variant=replace(RANDOM, **network.variant))


def _maps(cell: Any, inputs: Sequence[Floats], after: After | None = None, *, batch: int = BATCH) -> list[Maps]:
    """c2 to c5 of each photo, in their order."""
    maps: list[Maps] = []
    for _, same_size in groupby(inputs, key=lambda x: x.shape):
        group = list(same_size)
        for start in range(0, len(group), batch):
            x = np.concatenate(group[start : start + batch])
            found = {name: _array(y) for name, y in _layers(cell, x, after) if name in LAYERS}
            maps += [{layer: found[layer][[index]] for layer in LAYERS} for index in range(len(x))]
    return maps


def _layers(cell: Any, x: Floats, after: After | None = None) -> Iterator[tuple[str, ms.Tensor]]:
    """Every layer's output, in order of execution. What is computed goes on through `after`."""
    flowing = {"input": ms.Tensor(x)}
    for step in steps.plan(cell):
        with mode.eager():
            output = step.compute(*(flowing[name] for name in step.inputs))
        if after is not None:
            output = ms.Tensor(after(step.name, output.asnumpy()))
        if "." not in step.name.partition(".")[2]:  # the stem's layers and whole blocks: nothing before is needed now
            flowing.clear()
        flowing[step.name] = output
        yield step.name, output
        if step.also:
            yield step.also, output


def _array(x: ms.Tensor) -> Floats:
    array: Floats = x.asnumpy()
    return array


def _cosine(a: Floats, b: Floats) -> float:
    return float(compare.row("", a, b).cosine)


def _number(value: float) -> float | None:
    """Three digits; None for what is infinite: maps of two sizes."""
    return float(f"{value:.2e}") if np.isfinite(value) else None

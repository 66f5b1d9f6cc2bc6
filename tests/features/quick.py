"""Runs of extract with a network that takes no time: what is tested is what lies around it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from resnetfea.engine.cache import Packed
from resnetfea.engine.layers import Maps
from resnetfea.engine.precision import Precision, Quality
from resnetfea.features import engines
from resnetfea.features.extract import extract
from resnetfea.features.run import Summary
from resnetfea.weights import Weights, read

TINY = Path(__file__).parents[1] / "data" / "tiny.safetensors"
CHANNELS = 64  # of its c5


class Quick:
    """An engine that, as the compiled one does, takes some pictures more than it has given back."""

    precision: Precision = "fp32"
    quality: Quality | None = None

    def __init__(self, *, whole: bool, ahead: int = 3) -> None:
        self.whole, self.ahead = whole, ahead
        self.seen = 0

    def prepare(self) -> None:
        """Nothing to do."""

    def packed(self) -> list[Packed]:
        """Nothing."""
        return []

    def features(self, pictures: Iterable[NDArray[np.uint8]]) -> Iterator[Maps]:
        running: deque[NDArray[np.uint8]] = deque()
        for picture in pictures:
            self.seen += 1
            running.append(picture)
            if len(running) > self.ahead:
                yield self._one(running.popleft())
        while running:
            yield self._one(running.popleft())

    def _one(self, picture: NDArray[np.uint8]) -> Maps:
        row = np.resize(picture.mean(axis=(0, 1), dtype=np.float32), CHANNELS)
        return {"c5": np.tile(row[:, None, None], (1, 2, 3)) if self.whole else row}


class Runs:
    """extract, and what its network saw."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.networks: list[Quick] = []

    def __call__(self, source: Path, out: Path, **options: Any) -> Summary:
        self.networks.clear()
        return extract(source, out, weights=self.weights, layers=("c5",), **{"shard_size": 4, **options})

    @property
    def seen(self) -> int:
        """Pictures, in the last call."""
        return sum(network.seen for network in self.networks)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Runs:
    runs = Runs(read(TINY))

    def made(*_: Any, pool: str, **__: Any) -> Quick:
        runs.networks.append(Quick(whole=pool == "none"))
        return runs.networks[-1]

    monkeypatch.setattr(engines, "made", made)
    return runs


def draw(folder: Path, *names: str) -> None:
    """Small pictures, each of its own colour."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = tuple(np.frombuffer(name.encode().ljust(3)[-7:], np.uint8)[:3].tolist())
        Image.new("RGB", (8, 8), colour).save(path, "PNG")


def content(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}

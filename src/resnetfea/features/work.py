"""How a run's images become rows: network and decoding. All that another process needs to make the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import Literal

from resnetfea.engine.layers import Pool
from resnetfea.engine.precision import Calibration, Precision
from resnetfea.features import engines
from resnetfea.features.decoding import Decoders
from resnetfea.features.engines import EngineName, ReadyEngine
from resnetfea.features.images import Decode
from resnetfea.features.limits import Limits
from resnetfea.features.pipeline import results
from resnetfea.features.source import Named
from resnetfea.features.store import Failure, Row
from resnetfea.weights import Weights


@dataclass(frozen=True, kw_only=True)
class Work:
    """What the engine computes and how pictures are decoded; extract() has the fields' meaning."""

    weights: Weights
    layers: tuple[str, ...]
    pool: Pool
    engine: EngineName
    precision: Precision | Literal["auto"]
    photos: Calibration | None
    min_cosine: float
    batch: int
    decode: Decode
    limits: Limits
    workers: int
    threads: int | None = None  # of the engine; None for all cores

    def network(self) -> ReadyEngine:
        """The engine, ready to run; half a minute where it is not in the cache yet."""
        return engines.made(
            self.engine,
            self.weights,
            photos=self.photos,
            min_cosine=self.min_cosine,
            batch=self.batch,
            threads=self.threads,
            precision=self.precision,
            layers=self.layers,
            pool=self.pool,
        )

    def decoders(self) -> Decoders:
        """Processes that decode what this work needs; they start at once."""
        decoders = Decoders(self.workers, self.limits)
        decoders.prepare(self.weights.recipe, self.decode)
        return decoders

    def results(
        self, images: Iterable[Named], network: ReadyEngine, decoders: Decoders
    ) -> AbstractContextManager[Iterator[Row | Failure]]:
        """Rows and failures of the images, in their order. Leaving the block ends what is under way."""
        return closing(results(images, engine=network, decoders=decoders, ahead=2 * self.workers))

"""How a run's images become rows: network and decoding. All that another process needs to make the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from resnetfea.engine import cores
from resnetfea.engine.layers import Pool
from resnetfea.engine.precision import Calibration, Precision
from resnetfea.features import engines
from resnetfea.features.engines import EngineName, ReadyEngine
from resnetfea.features.images import Decode
from resnetfea.features.memory import keep_freed
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
    workers: int | None
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

    @contextmanager
    def results(self, network: ReadyEngine, images: Iterable[Named]) -> Iterator[Iterator[Row | Failure]]:
        """Rows and failures of the images, in their order, by decoding threads of their own.

        What waits in their queue is dropped when the run ends early, so that Ctrl-C is quick.
        """
        keep_freed()
        threads = self.workers or cores.usable()
        decoders = ThreadPoolExecutor(threads)
        try:
            yield results(
                images,
                recipe=self.weights.recipe,
                engine=network,
                decoders=decoders,
                ahead=2 * threads,
                mode=self.decode,
            )
        finally:
            decoders.shutdown(cancel_futures=True)

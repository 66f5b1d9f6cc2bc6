"""A worker of a cluster: computes whole shards, in a process of its own, on this machine or another. It knows no Ray.

It writes each shard into OUT under a name that nobody else takes, and leaves giving it its own name to the process that
holds OUT's lock: whatever a worker does that everybody takes for dead, no finished file changes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import metadata
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from resnetfea import __version__
from resnetfea.atomic import sync
from resnetfea.engine import cache, cores
from resnetfea.engine.precision import Calibration, telling_flags
from resnetfea.errors import ResnetFeaError
from resnetfea.features.decoding import Decoders
from resnetfea.features.engines import EngineName, ReadyEngine
from resnetfea.features.gone import watched
from resnetfea.features.plan import Job
from resnetfea.features.source import Named
from resnetfea.features.store import MANIFEST, Store
from resnetfea.features.work import Work

TOLD = 0.5  # seconds between two messages of how far a shard is
PACKAGES = (
    "numpy",
    "pillow",
    "pillow-heif",
    "pillow-jxl-plugin",
    "pyarrow",
)  # besides the engine's, what a row's bytes depend on


class Order(NamedTuple):
    """A shard to compute, and the images to go through."""

    job: Job
    images: list[Named]


class Done(NamedTuple):
    """A shard that lies in OUT, on the disk, under a name of its own."""

    job: Job
    partial: str


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """All that a worker needs. It is brought to each machine once.

    manifest: of OUT, by which a worker sees that it has the same folder before it.
    packed: of the cache, what makes the network without MindSpore.
    check: of the source.
    here: the folder that relative paths start from.
    """

    work: Work
    target: Store
    manifest: bytes
    packed: list[cache.Packed]
    check: Callable[[], None]
    here: str


def shipped(work: Work, network: ReadyEngine, target: Store, check: Callable[[], None]) -> Shipped:
    """Of a run whose manifest is in OUT."""
    photos = work.photos and Calibration(work.photos.identity, _unknown)
    return Shipped(
        work=replace(work, photos=photos),
        target=target,
        manifest=(target.folder / MANIFEST).read_bytes(),
        packed=network.packed(),
        check=check,
        here=os.getcwd(),
    )


def versions(engine: EngineName) -> dict[str, str]:
    """Of all that a row's bytes depend on."""
    found = {"resnetfea": __version__, "Python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for name in (engine, *PACKAGES):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


class Worker:
    """What a user can put right comes back as a value, so that it arrives as it is."""

    def __init__(self) -> None:
        self._some: Shipped
        self._work: Work
        self._network: ReadyEngine
        self._decoders: Decoders

    def about(self, engine: EngineName) -> tuple[dict[str, str], list[str]]:
        """Versions and kind of CPU, before anything is unpacked that another version may not understand."""
        return versions(engine), telling_flags()

    def begin(self, some: Shipped, threads: int) -> Exception | None:
        """Make the network.

        Args:
            some: the run's.
            threads: of the engine; and processes that decode.
        """
        try:
            with suppress(OSError):
                os.chdir(some.here)
            self._check_folder(some)
            threads = min(threads, cores.usable())
            self._some, self._work = some, replace(some.work, workers=threads, threads=threads)
            self._decoders = self._work.decoders()  # for all shards to come
            for packed in some.packed:
                cache.unpack(packed)
            self._network = self._work.network()
            self._network.prepare()
        except (ResnetFeaError, OSError) as error:
            return error
        return None

    def shards(self, orders: Sequence[Order]) -> Iterator[int | Done | Exception]:
        """Images done of the shard under way, now and then, and each shard that is done. Ends with the first error."""
        try:
            yield from self._shards(orders)
        except (ResnetFeaError, OSError) as error:
            yield error

    def _shards(self, orders: Sequence[Order]) -> Iterator[int | Done]:
        names = chain.from_iterable(order.images for order in orders)
        with self._work.results(names, self._network, self._decoders) as some:
            stream = watched(some, self._some.check)
            for job, _ in orders:
                yield from self._shard(job, stream)

    def _shard(self, job: Job, stream: Iterator[Any]) -> Iterator[int | Done]:
        target = self._some.target
        results = islice(stream, job.todo)
        partial = target.partial(job.shard)
        told = time.monotonic()
        try:
            with target.writing(partial) as put:
                for done, result in enumerate(target.mended(job.shard, results) if job.mend else results, 1):
                    put(result)
                    if time.monotonic() - told > TOLD and not job.mend:
                        yield done
                        told = time.monotonic()
            sync(partial)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        yield Done(job, partial.name)

    def _check_folder(self, some: Shipped) -> None:
        path: Path = some.target.folder / MANIFEST
        try:
            same = path.read_bytes() == some.manifest
        except OSError:
            same = False
        if not same:
            raise ResnetFeaError(
                f"{some.target.folder}: not the same folder there; OUT must be one that all nodes share"
            )


def _unknown() -> NoReturn:
    raise ResnetFeaError("this node's CPU computes int8 in another way than that of the node where the run began")

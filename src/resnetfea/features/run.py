"""One run of extract: what is left to do, doing it, and committing it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from resnetfea.engine.precision import INT8_FORMAT, Calibration, Quality
from resnetfea.errors import ResnetFeaError
from resnetfea.features import calibration_photos, engines, listing, manifest, plan, store
from resnetfea.features.cluster_ray import Session, joined
from resnetfea.features.decoding import Decoders
from resnetfea.features.engines import ReadyEngine
from resnetfea.features.folder import remove_run
from resnetfea.features.gone import watched
from resnetfea.features.plan import Job, News, Plan
from resnetfea.features.source import Source
from resnetfea.features.store import Failure, Row, Store
from resnetfea.features.work import Work

Progress = Callable[[int, int], None]  # told of images done, and images in all


class Summary(NamedTuple):
    """What a run did.

    images, failures, shards: all that OUT holds.
    done: images that this run saw.
    start: seconds until the network was ready; seconds: from then to the end.
    quality: what int8 lost on its calibration photos; None of other precisions, and where nothing was left to do.
    new: images that an update took in. vanished: images of OUT that the source lists no more; some: a few of them.
    """

    images: int
    failures: int
    shards: int
    done: int
    start: float
    seconds: float
    quality: Quality | None
    new: int
    vanished: int
    some: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One call of extract()."""

    source: Source
    work: Work
    calibration: str | Path | None
    target: Store
    shard_size: int | None
    retry_failed: bool
    progress: Progress
    cluster: str | None = None
    cluster_workers: int | None = None
    began: float = field(default_factory=time.monotonic)

    def anew(self, *, overwrite: bool) -> Summary:
        """From the beginning."""
        shard_size = self.shard_size or self.target.shard_images
        planned = plan.new(self.target.folder, self.source, shard_size)
        if not planned.images:
            kinds = " ".join(suffix.decode() for suffix in listing.SUFFIXES)
            raise ResnetFeaError(
                f"{self.source.where}: no images in it (looked for {kinds}, in sub-folders too; archives need a "
                "pattern: '*.tar')"
            )
        jobs = planned.jobs(self.target, anew=overwrite, retry=False)
        with self._decoders() as decoders:  # their processes start while the network is made
            work, network = replace(self.work, photos=self._photos(planned, decoders)), None
            if work.precision == "auto":
                network = work.network()
                work = replace(work, precision=network.precision)
            return self._go(work, planned, jobs, self._facts(work, shard_size), network, decoders, overwrite=overwrite)

    def again(self, before: dict[str, Any], news: News) -> Summary:
        """Where an earlier run stopped, whichever it was, as its manifest has it.

        int8 is what was measured then: no photo is looked at again, unless the cache has lost what came of it.
        """
        work = self.work
        if work.precision == "auto":
            work = replace(work, precision=before["precision"])
        with self._decoders() as decoders:
            if self.calibration is not None:
                work = replace(work, photos=self._photos(None, decoders))
            elif self._measures and (identity := before.get("calibration")):
                work = replace(work, photos=Calibration(identity, lambda: self._same(planned, decoders, identity)))
            facts = self._facts(work, self.shard_size or before.get("shard_size"))
            manifest.check_same(self.target.folder, before, facts)
            planned = plan.resumed(self.target.folder, before, self.source, self.target, news)
            facts |= {name: before[name] for name in manifest.OF_QUALITY if name in before}
            jobs = planned.jobs(self.target, anew=False, retry=self.retry_failed)
            planned.check(jobs, self.target)
            return self._go(work, planned, jobs, facts, None, decoders, overwrite=False)

    def _go(
        self,
        work: Work,
        planned: Plan,
        jobs: list[Job],
        facts: dict[str, Any],
        network: ReadyEngine | None,
        decoders: Decoders,
        *,
        overwrite: bool,
    ) -> Summary:
        """Do the jobs, and commit the run."""
        target, todo = self.target, sum(job.todo for job in jobs)
        ready = time.monotonic()
        lists = {"lists": planned.lists}
        if jobs:
            with self._joined() as session:
                network = network or work.network()  # before OUT is touched
                facts |= manifest.facts_of_quality(network.quality)
                if overwrite:
                    remove_run(target.folder)
                planned = planned.committed(target.folder)
                store.write_manifest(target.folder, {"complete": False, **facts, **lists})
                self._tell(planned, todo)
                compute = partial(self._here, decoders) if session is None else partial(self._there, session)
                ready = compute(work, network, planned, jobs)
        rows, failed = target.finish(len(planned.shards()), facts | lists)
        return Summary(
            images=rows,
            failures=failed,
            shards=len(planned.shards()),
            done=todo,
            start=ready - self.began,
            seconds=time.monotonic() - ready,
            quality=network.quality if network else None,
            new=planned.new,
            vanished=planned.vanished,
            some=planned.some,
        )

    def _here(self, decoders: Decoders, work: Work, network: ReadyEngine, planned: Plan, jobs: list[Job]) -> float:
        """Do the jobs in this process. Gives when the network was ready."""
        network.prepare()
        ready, left = time.monotonic(), sum(job.todo for job in jobs)
        names = chain.from_iterable(planned.names(jobs, self.target))
        # one stream for all shards, so that nothing stands still while one is finished
        with work.results(names, network, decoders) as some:
            stream = self._told(watched(some, self.source.check), planned, left)
            for job in jobs:
                self.target.write_shard(job.shard, _of(job, islice(stream, job.todo), self.target))
        return ready

    def _there(self, session: Session, work: Work, network: ReadyEngine, planned: Plan, jobs: list[Job]) -> float:
        """Do them on Ray. Gives when the first worker was ready."""
        from resnetfea.features.cluster import compute
        from resnetfea.features.cluster_worker import shipped

        left = sum(job.todo for job in jobs)
        some = shipped(work, network, self.target, self.source.check)
        names = planned.names(jobs, self.target)
        return compute(session, some, jobs, names, lambda done: self._tell(planned, left - done))

    @contextmanager
    def _joined(self) -> Iterator[Session | None]:
        """Ray, where the run is to be on one."""
        if self.cluster is None:
            yield None
            return
        with joined(self.cluster, self.cluster_workers) as session:
            yield session

    def _decoders(self) -> Decoders:
        """Those of this process, which start at once: none where all is decoded on a cluster."""
        work = self.work if self.cluster is None or self._measures else replace(self.work, workers=0)
        return work.decoders()

    def _told(self, some: Iterator[Row | Failure], planned: Plan, left: int) -> Iterator[Row | Failure]:
        """Passes results on, and tells of each."""
        for result in some:
            left -= 1
            self._tell(planned, left)
            yield result

    def _tell(self, planned: Plan, left: int) -> None:
        self.progress(planned.images - left, planned.images)

    @property
    def _measures(self) -> bool:
        return self.work.precision in ("int8", "auto")

    def _facts(self, work: Work, shard_size: int | None) -> dict[str, Any]:
        """What the run is made from, for its manifest."""
        return {
            "format": manifest.FORMAT,
            "source": self.source.where,
            **manifest.facts_of(work.weights),
            "layers": list(work.layers),
            "pool": work.pool,
            "precision": work.precision,
            "calibration": work.photos.identity if work.photos else None,
            "min_cosine": work.min_cosine if self._measures else None,
            "int8_format": INT8_FORMAT if self._measures else None,
            "decode": work.decode,
            "limits": asdict(work.limits),
            "engine": work.engine,
            "engine_version": engines.version(work.engine),
            "shard_size": shard_size,
        }

    def _photos(self, planned: Plan | None, decoders: Decoders) -> Calibration | None:
        """What int8 and auto are measured on: the user's, or some of the run's own."""
        if not self._measures:
            return None
        if self.calibration is not None:
            return calibration_photos.of_source(self.calibration, decoders)
        if planned is None or planned.inputs is None:
            return None
        listed = planned.inputs
        return calibration_photos.of_names(self.source, listed.names(), listed.count, decoders)

    def _same(self, planned: Plan, decoders: Decoders, identity: str) -> Sequence[NDArray[np.uint8]]:
        """Those that a run was measured on when it began."""
        found = self._photos(planned, decoders) if len(planned.lists) == 1 else None
        if found is None or found.identity != identity:
            raise ResnetFeaError(
                f"{self.target.folder}: what int8 was measured on is neither in the cache any more nor what SRC has "
                "now; give the same photos with --calibration, or use --overwrite to start anew"
            )
        return found.pictures()


def _of(job: Job, computed: Iterator[Row | Failure], target: Store) -> Iterator[Row | Failure]:
    """All results of a job's shard."""
    return target.mended(job.shard, computed) if job.mend else computed

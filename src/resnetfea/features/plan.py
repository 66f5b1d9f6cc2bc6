"""What of a run there is to do: which lists of images it has, how they are cut into shards, and what each still needs.

A run has one list when it begins, and one more for each update that found something new. Each list begins a shard of
its own, so that an update touches no finished one.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from resnetfea.atomic import sync
from resnetfea.errors import ResnetFeaError
from resnetfea.features import inputs
from resnetfea.features.bad_image import BadImage, Kind
from resnetfea.features.changes import Changes
from resnetfea.features.inputs import Inputs
from resnetfea.features.records import Lost, Member, unpacked
from resnetfea.features.source import Named, Source
from resnetfea.features.store import INPUTS, LISTED, NEW, Failure, Store

News = Literal["refuse", "leave", "take"]  # what becomes of images that have come into the source since


class Job(NamedTuple):
    """What is computed of one shard: all of it; or, to mend it, its failures again, while its rows stay.

    images: of the shard. todo: of them, those to go through.
    """

    shard: int
    images: int
    todo: int
    mend: bool


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run's lists, and the source's own, as it is now.

    lists: number of images and digest of each, as the manifest has them.
    inputs: the last of them; None where it is not known any more.
    now: what the source lists now.
    new: images that came in with this plan. vanished: images that the source lists no more, and some of them.
    """

    source: Source
    shard_size: int
    lists: list[dict[str, Any]]
    inputs: Inputs | None
    now: Inputs
    new: int = 0
    vanished: int = 0
    some: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        """In all lists."""
        return sum(one["images"] for one in self.lists)

    def shards(self) -> list[int]:
        """Images of each, in order."""
        return list(chain.from_iterable(map(self._cut, self.lists)))

    @property
    def listed_from(self) -> int:
        """The first shard whose images `inputs` lists: all before it must be finished to be known."""
        lists = self.lists if self.inputs is None else self.lists[:-1]
        return sum(1 for one in lists for _ in self._cut(one))

    def jobs(self, target: Store, *, anew: bool, retry: bool) -> list[Job]:
        """What is left to do.

        anew: all. retry: failures of finished shards too.
        """
        jobs = []
        for index, images in enumerate(self.shards()):
            if anew or not target.finished(index, images):
                jobs.append(Job(index, images, images, mend=False))
            elif retry and (failed := len(target.failed(index))):
                jobs.append(Job(index, images, failed, mend=True))
        return jobs

    def check(self, jobs: list[Job], target: Store) -> None:
        """Before anything is written: are the images of all jobs known?

        Raises:
            ResnetFeaError: a shard is lost, and they are not.
        """
        for job in jobs:
            if not job.mend and job.shard < self.listed_from:
                raise gone(target.shard(job.shard))

    def committed(self, folder: Path) -> Plan:
        """With the list that is gone through under its name in OUT: it is there before the manifest speaks of it."""
        if self.inputs is None or self.inputs.path.name == INPUTS:
            return self
        sync(self.inputs.path)
        os.replace(self.inputs.path, folder / INPUTS)
        sync(folder)
        moved = replace(self.inputs, path=folder / INPUTS)
        return replace(self, inputs=moved, now=moved if self.now is self.inputs else self.now)

    def names(self, jobs: Iterable[Job], target: Store) -> Iterator[list[Named]]:
        """The images that each job goes through, one job after another.

        Raises:
            ResnetFeaError: a shard is damaged, and which images it held can't be told any more.
        """
        jobs = list(jobs)
        current = self._current(jobs, target)
        listed = enumerate(self.inputs.parts(self.shard_size) if self.inputs else (), self.listed_from)
        for job in jobs:
            if job.mend:
                yield [self._again(failure, current) for failure in target.failed(job.shard).values()]
                continue
            found = next((names for index, names in listed if index == job.shard), None)
            if found is None:
                raise gone(target.shard(job.shard))
            yield [Named(self.source.shown(name), self.source.content(name)) for name in found]

    def _current(self, jobs: list[Job], target: Store) -> dict[str, bytes]:
        """The source's name, now, of each failure that is tried again: an archive may have been written anew."""
        failed = {failure.path for job in jobs if job.mend for failure in target.failed(job.shard).values()}
        if not failed:
            return {}
        shown = self.source.shown
        return {path: name for name in self.now.names() if (path := shown(name)) in failed}

    def _again(self, failure: Failure, current: dict[str, bytes]) -> Named:
        """What is tried again: what the source has now under this path."""
        if failure.path in current:
            return Named(failure.path, self.source.content(current[failure.path]))
        if failure.path.endswith(".tar"):  # an archive is listed only where it is damaged
            return Named(failure.path, partial(_bad, cast(Kind, failure.kind), failure.reason))
        return Named(failure.path, partial(_bad, "missing", "no such file"))

    def _cut(self, one: dict[str, Any]) -> Iterator[int]:
        for begin in range(0, one["images"], self.shard_size):
            yield min(self.shard_size, one["images"] - begin)


def new(folder: Path, source: Source, shard_size: int) -> Plan:
    """Of a run that begins. Its images may be none."""
    now = inputs.written(source.names(), folder / LISTED)
    return Plan(source=source, shard_size=shard_size, lists=[_told(now, now)], inputs=now, now=now)


def resumed(folder: Path, before: dict[str, Any], source: Source, target: Store, news: News) -> Plan:
    """Of a run that is there already, begun or complete.

    Args:
        folder: OUT.
        before: its manifest.
        source: where its images are from.
        target: its shards.
        news: what becomes of images that the source did not list then.

    Raises:
        ResnetFeaError: news are to be refused, and there are some; or a list or an archive is not what it was.
    """
    lists, now = before["lists"], inputs.written(source.names(), folder / LISTED)
    kept = None if before["complete"] else inputs.found(folder / INPUTS)
    if kept is not None and kept.sha256 != lists[-1]["sha256"]:  # damaged
        kept = None
    unchanged = now.sha256 == lists[-1]["listed_sha256"]
    if kept is None and unchanged and len(lists) == 1:
        kept = now
    plan = Plan(source=source, shard_size=before["shard_size"], lists=lists, inputs=kept, now=now)
    if unchanged and news != "take":  # who takes is told what has vanished before, too
        return plan
    if kept is not None and _moved(filter(_tied if source.fixed else _member, kept.names()), now, folder):
        raise _changed(folder, "it is not what it was when the run began; use --overwrite to start anew")
    listed = ((source.shown(name).encode(), name) for name in now.names())
    changes = Changes(_known(plan, target), listed, folder)
    fresh = inputs.written(changes, folder / NEW)
    if news == "refuse" and fresh.count:
        raise _changed(folder, f"{fresh.count} that it did not list then; use --update to take them in as well")
    if news == "refuse" and source.fixed and changes.vanished:
        raise _changed(folder, f"{changes.vanished} less than it listed then; use --overwrite to start anew")
    plan = replace(plan, vanished=changes.vanished, some=tuple(path.decode() for path in changes.some))
    if news == "take" and fresh.count:
        return replace(plan, lists=[*lists, _told(fresh, now)], inputs=fresh, new=fresh.count)
    return plan


def gone(shard: Path) -> ResnetFeaError:
    return ResnetFeaError(
        f"{shard}: missing or damaged, and which images it held cannot be told any more; use --overwrite to start anew"
    )


def _known(plan: Plan, target: Store) -> Iterator[bytes]:
    """Paths of all images of the lists."""
    for index, images in enumerate(plan.shards()[: plan.listed_from]):
        if not target.finished(index, images):
            raise gone(target.shard(index))
        yield from (path.encode() for path in target.paths(index))
    if plan.inputs is not None:
        yield from (plan.source.shown(name).encode() for name in plan.inputs.names())


def _moved(names: Iterable[bytes], now: Inputs, folder: Path) -> bool:
    """Whether some of the names are listed no more: a list or an archive was written anew, and they mean nothing."""
    changes = Changes(names, ((name, name) for name in now.names()), folder)
    deque(changes, maxlen=0)
    return changes.vanished > 0


def _member(name: bytes) -> bool:
    """Whether a name says where in an archive bytes are."""
    return isinstance(unpacked(name), Member)


def _tied(name: bytes) -> bool:
    """Whether a name stands for something; what was lost of an archive may be whole by now."""
    return not isinstance(unpacked(name), Lost)


def _told(listed: Inputs, now: Inputs) -> dict[str, Any]:
    """A list, as the manifest has it: itself, and all that the source listed then."""
    return {"images": listed.count, "sha256": listed.sha256, "listed_sha256": now.sha256}


def _changed(folder: Path, how: str) -> ResnetFeaError:
    return ResnetFeaError(f"{folder}: cannot be resumed, these differ from the run that began it: inputs: {how}")


def _bad(kind: Kind, reason: str) -> bytes:
    raise BadImage(kind, reason)

"""What of a run there is to do: which lists of images it has, how they are cut into shards, and what each still needs.

A run has one list when it begins, and one more for each update that found something new. Each list begins a shard of
its own, so that an update touches no finished one.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

from resnetfea.atomic import sync
from resnetfea.errors import ResnetFeaError
from resnetfea.features import inputs
from resnetfea.features.bad_image import BadImage
from resnetfea.features.changes import Changes
from resnetfea.features.inputs import Inputs
from resnetfea.features.records import unpacked
from resnetfea.features.source import Content, Named, Source
from resnetfea.features.store import INPUTS, LISTED, NEW, Store

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
        first = len(self.shards()) - sum(1 for _ in self._cut(self.lists[-1]))
        listed = enumerate(self.inputs.parts(self.shard_size) if self.inputs else (), first)
        for job in jobs:
            if job.mend:
                paths = [failure.path for failure in target.failed(job.shard).values()]
                yield [Named(path, self._content(current.get(path))) for path in paths]
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

    def _content(self, name: bytes | None) -> Content:
        return _vanished if name is None else self.source.content(name)

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
    plan = Plan(source=source, shard_size=before["shard_size"], lists=lists, inputs=kept, now=now)
    if now.sha256 == lists[-1]["listed_sha256"] and news != "take":  # who asks is told what has vanished before, too
        return plan if kept or len(lists) > 1 else replace(plan, inputs=now)
    if kept is not None and _moved(kept.names() if source.fixed else filter(unpacked, kept.names()), now):
        raise _changed(folder, "it is not what it was when the run began; use --overwrite to start anew")
    changes = Changes(_known(plan, target), ((source.shown(name).encode(), name) for name in now.names()))
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
        f"{shard}: missing or damaged, and which images it held cannot be told any more, since the source has changed; "
        "use --overwrite to start anew"
    )


def _known(plan: Plan, target: Store) -> Iterator[bytes]:
    """Paths of all images of the lists."""
    under_way = 0 if plan.inputs is None else sum(1 for _ in plan._cut(plan.lists[-1]))
    shards = plan.shards()
    for index, images in enumerate(shards[: len(shards) - under_way]):
        if not target.finished(index, images):
            raise gone(target.shard(index))
        yield from (path.encode() for path in target.paths(index))
    if plan.inputs is not None:
        yield from (plan.source.shown(name).encode() for name in plan.inputs.names())


def _moved(names: Iterable[bytes], now: Inputs) -> bool:
    """Whether some of the names are listed no more: a list or an archive was written anew, and they mean nothing."""
    changes = Changes(names, ((name, name) for name in now.names()))
    deque(changes, maxlen=0)
    return changes.vanished > 0


def _told(listed: Inputs, now: Inputs) -> dict[str, Any]:
    """A list, as the manifest has it: itself, and all that the source listed then."""
    return {"images": listed.count, "sha256": listed.sha256, "listed_sha256": now.sha256}


def _changed(folder: Path, how: str) -> ResnetFeaError:
    return ResnetFeaError(f"{folder}: cannot be resumed, these differ from the run that began it: inputs: {how}")


def _vanished() -> bytes:
    raise BadImage("missing", "no such file")

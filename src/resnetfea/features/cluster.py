"""A run's shards on Ray: workers on this machine, or on all nodes of a cluster, each computing whole shards.

A worker gets some shards' names of images and gives files; this process, which holds OUT's lock, gives the files their
names. So the shard is at once the unit of work and of commit, and what a plain run, a resumed one and one of any number
of workers leave is the same. (Ray Data would cut and order blocks of its own, and write files before a run is sure of
them.) A worker that dies costs the shards that it had not handed over, which the next one computes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import ray
from ray.exceptions import (
    ActorUnschedulableError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    WorkerCrashedError,
)

from resnetfea.atomic import committed
from resnetfea.errors import ResnetFeaError
from resnetfea.features.cluster_ray import Session
from resnetfea.features.cluster_staff import LOOK, Member, Staff, where
from resnetfea.features.cluster_worker import Done, Order, Shipped
from resnetfea.features.plan import Job
from resnetfea.features.source import Named
from resnetfea.features.store import Store

LOST = (
    ActorUnschedulableError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    WorkerCrashedError,
)  # all of which say that a worker is no more
DEATHS = 3  # of workers with the same shard, before it is no accident
AHEAD = 8  # shards at most that a worker gets at a time: between two lots its pipeline runs empty


def compute(
    session: Session,
    shipped: Shipped,
    jobs: Sequence[Job],
    names: Iterator[list[Named]],
    progress: Callable[[int], None],
) -> float:
    """Do the jobs, whose images `names` gives, one job after another. Gives when the first worker was ready.

    Raises:
        ResnetFeaError: a worker can't do its work and no other could, or workers keep dying.
        OSError: OUT can't be written.
    """
    staff = Staff(session, shipped)
    try:
        _Shards(staff, shipped.target, map(Order, jobs, names), len(jobs), progress).run()
        return staff.began
    finally:
        staff.stop()


@dataclass(eq=False)
class _Shards:
    """What there is to do, and who does it.

    Args:
        staff: the workers.
        target: OUT.
        orders: shards that nobody has begun.
        count: of those that are not committed.
        progress: told of images done in this run.
    """

    staff: Staff
    target: Store
    orders: Iterator[Order]
    count: int
    progress: Callable[[int], None]
    _again: deque[Order] = field(default_factory=deque)  # of workers that died
    _waiting: dict[Any, Member] = field(default_factory=dict)  # what Ray will answer, and who
    _deaths: dict[int, int] = field(default_factory=dict)  # by shard
    _committed: int = 0  # images

    def run(self) -> None:
        while self.count:
            self._waiting |= self.staff.hired(self.count)
            for member in self.staff.members:
                if member.ready and not member.orders:
                    self._give(member)
            for one in ray.wait(list(self._waiting), timeout=LOOK)[0] if self._waiting else []:
                self._answered(one, self._waiting[one])
            self.progress(self._committed + sum(member.done for member in self.staff.members))

    def _give(self, member: Member) -> None:
        """The next shards. One that was with a worker that died goes alone, so that it is known whose fault it is."""
        if self._again:
            some = [self._again.popleft()]
        else:
            many = max(1, min(AHEAD, self.count // (2 * len(self.staff.members))))  # few at the end: all end together
            some = list(islice(self.orders, many))
        if some:
            member.orders = deque(some)
            told = member.actor.shards.options(num_returns="streaming").remote(some)
            self._waiting[told] = member

    def _answered(self, one: Any, member: Member) -> None:
        """What a worker says: about itself, that it is ready, how far it is, or nothing any more."""
        try:
            said = ray.get(one if isinstance(one, ray.ObjectRef) else next(one))
        except StopIteration:
            del self._waiting[one]
            return
        except LOST as error:
            self._lost(member, error)
            return
        if isinstance(said, Exception):
            raise ResnetFeaError(f"{where(member)}: {said}") if isinstance(said, ResnetFeaError) else said
        if isinstance(one, ray.ObjectRef):
            del self._waiting[one]
            if (asked := self.staff.welcome(said, member)) is not None:
                self._waiting[asked] = member
        elif isinstance(said, Done):
            self._commit(said, member)
        else:
            member.done = said

    def _commit(self, done: Done, member: Member) -> None:
        """Give a shard its name."""
        target, job = self.target, done.job
        try:
            with committed(target.shard(job.shard), target.folder / done.partial):
                pass
        except FileNotFoundError as error:
            raise ResnetFeaError(
                f"{target.folder}: what {where(member)} wrote there is not here; OUT must be one folder for all nodes"
            ) from error
        member.orders.popleft()
        member.done = 0
        self.count -= 1
        self._committed += job.todo

    def _lost(self, member: Member, error: Exception) -> None:
        """A worker has died: its shards are somebody else's, first of all."""
        self.staff.lost(member, error)
        self._waiting = {one: other for one, other in self._waiting.items() if other is not member}
        for order in member.orders:
            shard = order.job.shard
            self._deaths[shard] = self._deaths.get(shard, 0) + 1
            if self._deaths[shard] == DEATHS:
                raise ResnetFeaError(
                    f"{self.target.shard(shard)}: {DEATHS} workers died while they computed it, as they do where "
                    "memory is short; what is finished is kept, and --resume goes on"
                )
        self._again.extendleft(reversed(member.orders))

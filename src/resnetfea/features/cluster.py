"""A run's shards on Ray: workers on this machine, or on all nodes of a cluster, each computing whole shards.

A worker gets some shards' names of images and gives files; this process, which holds OUT's lock, gives the files their
names. So the shard is at once the unit of work and of commit, and what a plain run, a resumed one and one of any number
of workers leave is the same. (Ray Data would cut and order blocks of its own, and write files before a run is sure of
them.) A worker that dies costs the shards that it had not handed over, which the next one computes.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
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
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from resnetfea.atomic import committed
from resnetfea.errors import ResnetFeaError
from resnetfea.features.cluster_ray import Session
from resnetfea.features.cluster_worker import Done, Order, Shipped, Worker, versions
from resnetfea.features.plan import Job
from resnetfea.features.source import Named

LOST = (
    ActorUnschedulableError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    WorkerCrashedError,
)  # all of which say that a worker is no more
DEATHS = 3  # of workers with the same shard, or of a node's workers at their start, before it is no accident
AHEAD = 8  # shards at most that a worker gets at a time: between two lots its pipeline runs empty
LOOK = 5.0  # seconds between two looks for nodes that came or went

log = logging.getLogger("resnetfea")


@dataclass(eq=False)
class Member:
    """A worker, and what it has to do. done: images of the shard under way."""

    node: str
    actor: Any
    threads: int
    ready: bool = False
    orders: deque[Order] = field(default_factory=deque)
    done: int = 0


@dataclass(kw_only=True, eq=False)
class Crew:
    """The workers of a run, and the shards that are theirs to do.

    Args:
        shipped: what each gets.
        workers: how many; None for one on each node.
        threads: of each; None for its share of the node's CPUs.
        orders: shards that nobody has begun. count: of them.
        progress: told of images done in this run.
    """

    shipped: Shipped
    workers: int | None
    threads: int | None
    orders: Iterator[Order]
    count: int
    progress: Callable[[int], None]
    _again: deque[Order] = field(default_factory=deque)  # of workers that died
    _members: list[Member] = field(default_factory=list)
    _waiting: dict[Any, Member] = field(default_factory=dict)  # what Ray will answer, and who
    _deaths: dict[int, int] = field(default_factory=dict)  # by shard
    _false_starts: dict[str, int] = field(default_factory=dict)  # by node
    _committed: int = 0  # images
    _looked: float = 0
    began: float = 0  # time.monotonic() when the first worker was ready

    def run(self) -> None:
        """Until all shards are done.

        Raises:
            ResnetFeaError: a worker can't do its work and no other could, or workers keep dying.
            OSError: OUT can't be written.
        """
        self._shared = ray.put(self.shipped)  # once to each node, whoever asks for it there
        while self.count:
            self._look()
            for member in self._members:
                if member.ready and not member.orders:
                    self._give(member)
            for one in ray.wait(list(self._waiting), timeout=LOOK)[0] if self._waiting else []:
                self._answered(one, self._waiting[one])
            self.progress(self._committed + sum(member.done for member in self._members))

    def stop(self) -> None:
        """End the workers; those of a cluster would go on for a moment."""
        for member in self._members:
            ray.kill(member.actor)

    def _look(self) -> None:
        """Have a worker wherever one belongs: the first time, and where a node or a worker has come or gone."""
        wanted = min(self.workers, self.count) if self.workers else None
        if time.monotonic() - self._looked < LOOK and len(self._members) >= (wanted or 1):
            return
        self._looked = time.monotonic()
        nodes = {
            node["NodeID"]: int(node["Resources"]["CPU"])
            for node in _nodes()
            if node["Alive"]
            and node["Resources"].get("CPU", 0) >= 1
            and self._false_starts.get(node["NodeID"], 0) < DEATHS
        }
        if not nodes:
            raise ResnetFeaError("--cluster: no node with a CPU is left that a worker can start on")
        each = -(-wanted // len(nodes)) if wanted else 1
        for node, cpus in nodes.items():
            here = sum(member.node == node for member in self._members)
            for _ in range(here, each):
                if len(self._members) < (wanted or min(len(nodes), self.count)):
                    self._hire(node, max(1, cpus // each))

    def _hire(self, node: str, cpus: int) -> None:
        options = {
            "num_cpus": cpus,
            "max_restarts": 0,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False),
        }
        member = Member(node, ray.remote(Worker).options(**options).remote(), self.threads or cpus)
        self._members.append(member)
        self._waiting[member.actor.versions.remote(self.shipped.work.engine)] = member

    def _give(self, member: Member) -> None:
        """The next shards. One that was with a worker that died goes alone, so that it is known whose fault it is."""
        if self._again:
            some = [self._again.popleft()]
        else:
            many = max(1, min(AHEAD, self.count // (2 * len(self._members))))  # few at the end: all end together
            some = list(islice(self.orders, many))
        if some:
            member.orders = deque(some)
            told = member.actor.shards.options(num_returns="streaming").remote(some)
            self._waiting[told] = member

    def _answered(self, one: Any, member: Member) -> None:
        """What a worker says: its versions, that it has begun, how far it is, or nothing any more."""
        try:
            said = ray.get(one if isinstance(one, ray.ObjectRef) else next(one))
        except StopIteration:
            del self._waiting[one]
            return
        except LOST:
            self._lost(member)
            return
        if isinstance(said, Exception):
            raise _named(said, member)
        if isinstance(one, ray.ObjectRef):
            del self._waiting[one]
            if said is None:
                member.ready = True
                self.began = self.began or time.monotonic()
                self._false_starts.pop(member.node, None)
                return
            self._check(said, member)
            self._waiting[member.actor.begin.remote(self._shared, member.threads)] = member
        elif isinstance(said, Done):
            self._commit(said, member)
        else:
            member.done = said

    def _commit(self, done: Done, member: Member) -> None:
        """Give a shard its name."""
        target, job = self.shipped.target, done.job
        try:
            with committed(target.shard(job.shard), target.folder / done.partial):
                pass
        except FileNotFoundError as error:
            raise ResnetFeaError(
                f"{target.folder}: what {_where(member)} wrote there is not here; OUT must be one folder for all nodes"
            ) from error
        member.orders.popleft()
        member.done = 0
        self.count -= 1
        self._committed += job.todo

    def _lost(self, member: Member) -> None:
        """A worker has died: its shards are somebody else's, first of all."""
        with suppress(Exception):  # it may only be out of reach
            ray.kill(member.actor)
        self._members.remove(member)
        self._waiting = {one: other for one, other in self._waiting.items() if other is not member}
        if not member.ready:
            self._false_starts[member.node] = self._false_starts.get(member.node, 0) + 1
        if member.orders:
            log.warning("a worker on %s died; its shards are done again", _where(member))
        for order in member.orders:
            shard = order.job.shard
            self._deaths[shard] = self._deaths.get(shard, 0) + 1
            if self._deaths[shard] == DEATHS:
                raise ResnetFeaError(
                    f"{self.shipped.target.shard(shard)}: {DEATHS} workers died while they computed it, as they do "
                    "where memory is short; what is finished is kept, and --resume goes on"
                )
        self._again.extendleft(reversed(member.orders))

    def _check(self, found: dict[str, str], member: Member) -> None:
        here = versions(self.shipped.work.engine)
        differing = [
            f"{name} {found.get(name, 'missing')} and not {here.get(name, 'missing')}"
            for name in here.keys() | found.keys()
            if found.get(name) != here.get(name)
        ]
        if differing:
            raise ResnetFeaError(
                f"--cluster: {_where(member)} has {', '.join(sorted(differing))}; rows would differ, install the same"
            )


def _named(error: Exception, member: Member) -> Exception:
    """A worker's error, with where it arose."""
    return ResnetFeaError(f"{_where(member)}: {error}") if isinstance(error, ResnetFeaError) else error


def _where(member: Member) -> str:
    """A node, as people know it."""
    names = {node["NodeID"]: node["NodeManagerHostname"] for node in _nodes()}
    return f"node {names.get(member.node, member.node)}"


def _nodes() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return found


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
    crew = Crew(
        shipped=shipped,
        workers=session.workers,
        threads=session.threads,
        orders=map(Order, jobs, names),
        count=len(jobs),
        progress=progress,
    )
    try:
        crew.run()
        return crew.began
    finally:
        crew.stop()

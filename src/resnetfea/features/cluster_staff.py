"""The workers of a run on Ray: one wherever one belongs, of the right versions; and what becomes of those that die."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from resnetfea.engine.precision import telling_flags
from resnetfea.errors import ResnetFeaError
from resnetfea.features.cluster_ray import Session
from resnetfea.features.cluster_worker import Order, Shipped, Worker, versions

FALSE_STARTS = 3  # of a node's workers, before it is no accident
PATIENCE = 60  # seconds without a worker, after which the run says what it waits for
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


@dataclass(eq=False)
class Staff:
    """The workers.

    Args:
        session: how many there are to be.
        shipped: what each gets.
        began: time.monotonic() when the first was ready.
    """

    session: Session
    shipped: Shipped
    members: list[Member] = field(default_factory=list)
    began: float = 0
    _false_starts: dict[str, int] = field(default_factory=dict)  # by node
    _reason: str = ""  # why the last that could not start could not
    _other_cpus: set[str] = field(default_factory=set)  # nodes
    _looked: float = 0

    def __post_init__(self) -> None:
        self._shared = ray.put(self.shipped)  # once to each node, whoever asks for it there
        self._patient = time.monotonic() + PATIENCE

    def hired(self, shards: int) -> dict[Any, Member]:
        """A worker wherever one belongs: the first time, and where a node or a worker has come or gone.

        Gives what each new one was asked, whose answer goes to `welcome`.

        Args:
            shards: that are left to do.

        Raises:
            ResnetFeaError: there is no node for one.
        """
        if not self.began and time.monotonic() > self._patient:
            log.info("no worker has started in %d s: are all CPUs of the cluster in use?", PATIENCE)
            self._patient = math.inf
        wanted = min(self.session.workers, shards) if self.session.workers else None
        if time.monotonic() - self._looked < LOOK and len(self.members) >= (wanted or 1):
            return {}
        self._looked = time.monotonic()
        nodes = {
            node["NodeID"]: int(node["Resources"]["CPU"])
            for node in _nodes()
            if node["Alive"]
            and node["Resources"].get("CPU", 0) >= 1
            and self._false_starts.get(node["NodeID"], 0) < FALSE_STARTS
        }
        if not nodes:
            raise ResnetFeaError(
                "--cluster: no node with a CPU is left that a worker can start on, as where resnetfea is not installed"
                + (self._reason and f" ({self._reason})")
            )
        asked = {}
        each = -(-wanted // len(nodes)) if wanted else 1
        for node, cpus in nodes.items():
            here = sum(member.node == node for member in self.members)
            for _ in range(here, each):
                if len(self.members) < (wanted or min(len(nodes), shards)):
                    member = self._hire(node, max(1, cpus // each))
                    asked[member.actor.about.remote(self.shipped.work.engine)] = member
        return asked

    def welcome(self, said: Any, member: Member) -> Any:
        """Take a new worker's answer, and give the next that it is asked; None where it is ready for shards.

        Raises:
            ResnetFeaError: it can't be, and no other could.
        """
        if said is None:
            member.ready = True
            self.began = self.began or time.monotonic()
            self._false_starts.pop(member.node, None)
            return None
        told, cpu = said
        self._check(told, member)
        if cpu != telling_flags() and member.node not in self._other_cpus:
            self._other_cpus.add(member.node)
            log.warning("%s has another kind of CPU; its rows differ in their last bits", where(member))
        return member.actor.begin.remote(self._shared, member.threads)

    def lost(self, member: Member, error: Exception) -> None:
        """One has died."""
        with suppress(Exception):  # it may only be out of reach
            ray.kill(member.actor)
        self.members.remove(member)
        if member.ready:
            if member.orders:
                log.warning("a worker on %s died; its shards are done again", where(member))
            return
        self._false_starts[member.node] = self._false_starts.get(member.node, 0) + 1
        self._reason = (str(error).strip() or repr(error)).splitlines()[-1].strip()
        if self._false_starts[member.node] == FALSE_STARTS:
            log.warning("%s is left out: no worker starts there (%s)", where(member), self._reason)

    def stop(self) -> None:
        """End all; those of a cluster would go on for a moment."""
        for member in self.members:
            with suppress(Exception):  # Ray may be what has gone
                ray.kill(member.actor)

    def _hire(self, node: str, cpus: int) -> Member:
        options = {
            "num_cpus": cpus,
            "max_restarts": 0,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False),
        }
        member = Member(node, ray.remote(Worker).options(**options).remote(), self.session.threads or cpus)
        self.members.append(member)
        return member

    def _check(self, found: dict[str, str], member: Member) -> None:
        here = versions(self.shipped.work.engine)
        differing = [
            f"{name} {found.get(name, 'missing')} and not {here.get(name, 'missing')}"
            for name in here.keys() | found.keys()
            if found.get(name) != here.get(name)
        ]
        if differing:
            raise ResnetFeaError(
                f"--cluster: {where(member)} has {', '.join(sorted(differing))}; rows would differ, install the same"
            )


def where(member: Member) -> str:
    """A worker's node, as people know it."""
    names = {node["NodeID"]: node["NodeManagerHostname"] for node in _nodes()}
    return f"node {names.get(member.node, member.node)}"


def _nodes() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return found

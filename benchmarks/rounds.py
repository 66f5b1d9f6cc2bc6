"""Everybody in turn, several times over, and the medians of the ratios within each turn.

A machine's speed drifts and has neighbours. Two runs side by side in time have met the same ones; their ratio is worth
more than any time, and the median of some ratios more than one.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.process import Done

SAID = re.compile(r"([\d.]+) a second, after ([\d.]+) s to start")


@dataclass(frozen=True, kw_only=True)
class Timed:
    """One run. rate: images a second between the network's being ready and the end."""

    wall: float
    cpu: float
    rate: float


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Of some rounds."""

    median: float
    low: float
    high: float


Round = dict[str, Timed]


def played(
    runs: Mapping[str, Callable[[], Timed]], rounds: int, told: Callable[[str], None] = lambda line: None
) -> list[Round]:
    """`rounds` times everybody, each time beginning with another one."""
    keys = list(runs)
    done = []
    for index in range(rounds):
        first = index % len(keys)
        one: Round = {}
        for key in keys[first:] + keys[:first]:
            one[key] = runs[key]()
            told(f"round {index + 1} of {rounds}: {key}: {one[key].rate:.1f} images/s, {one[key].wall:.1f} s in all")
        done.append(one)
    return done


def whole(rounds: Sequence[Round], key: str, base: str) -> Spread:
    """How many times as fast as `base` the whole process is, from its start to its end."""
    return spread([one[base].wall / one[key].wall for one in rounds])


def steady(rounds: Sequence[Round], key: str, base: str) -> Spread:
    """The same without the start-up."""
    return spread([one[key].rate / one[base].rate for one in rounds])


def spread(values: Sequence[float]) -> Spread:
    """Median, least and most."""
    return Spread(median=statistics.median(values), low=min(values), high=max(values))


def by_peer(done: Done) -> Timed:
    """A peer's run, which ends in a line of JSON."""
    return _timed(done, float(json.loads(done.out.splitlines()[-1])["images_per_second"]))


def by_extract(done: Done) -> Timed:
    """`resnetfea extract`'s, which prints a sentence."""
    said = SAID.search(done.out)
    if said is None:
        sys.exit(f"resnetfea extract does not say its speed as it used to, benchmarks/rounds.py: {done.out!r}")
    return _timed(done, float(said[1]))


def raw(rounds: Sequence[Round]) -> list[dict[str, Any]]:
    """For JSON."""
    return [{key: asdict(timed) for key, timed in one.items()} for one in rounds]


def _timed(done: Done, rate: float) -> Timed:
    return Timed(wall=done.wall, cpu=done.cpu, rate=rate)

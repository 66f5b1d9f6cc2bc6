"""Images per second from end to end, of every engine and precision and of a peer, in alternation on this machine."""

from __future__ import annotations

import json
import logging
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from resnetfea.bench import photos
from resnetfea.bench.contender import PEER, Contender, contenders
from resnetfea.engine import doctor
from resnetfea.engine.export import SIDE, export
from resnetfea.errors import ResnetFeaError
from resnetfea.weights import Weights

ROUNDS = 5
FIRST = 8  # files of the first turn, which tells how many a turn takes
PATIENCE = 5  # seconds that a process has to end when it is told to
MILLION, HOUR = 1e6, 3600

log = logging.getLogger("resnetfea")


class Turn(NamedTuple):
    """What a contender did when it was its turn."""

    images: int
    seconds: float


def bench(
    weights: Weights,
    spec: str,
    source: str | None = None,
    *,
    seconds: float = 10,
    price_per_hour: float | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Photos decoded, resized, through the network, pooled; nothing is written. Every contender runs in turn.

    Args:
        weights: what resnetfea.read gave for `spec`, a file, URL or known name.
        source: folder, .txt list or image; None for drawn photos.
        seconds: of each contender, in five turns.
        price_per_hour: of this machine, in any currency.
        progress: called with files done and files in all.

    Returns:
        machine (cpu, cpu_isa, cores), photos (source, count, mean_kilobytes), weights, layers, price_per_hour, rows
        (engine, precision, images_per_second: the median turn's, slowest and fastest turn, times_onnxruntime: the
        median of the turns' ratios to the peer's or None, hours_per_million, cost_per_million or None), not_run
        (engine, precision, reason).

    Raises:
        ResnetFeaError: there are no images, nothing runs, or a contender failed on its way.
    """
    with tempfile.TemporaryDirectory(prefix="resnetfea.") as temporary, ExitStack() as running:
        folder = Path(temporary)
        paths = photos.own(source) if source else photos.drawn(folder)
        described = photos.described(paths, source)
        able, unable = contenders(weights, SIDE)
        graph = folder / "network.onnx"
        if any(one.engine == PEER for one in able):
            export(weights, graph)
        told = {
            "weights": spec,
            "identity": weights.identity,
            "graph": str(graph),
            "paths": list(map(os.fsdecode, paths)),
        }
        started: dict[Contender, _Process] = {}
        for one in able:
            log.info("starting %s %s", *one)
            process = running.enter_context(_Process({**told, "contender": one}))
            if error := process.answer().get("error"):
                unable[one] = error
            else:
                started[one] = process
        turns = _in_turns(started, seconds / ROUNDS, progress)
    rows = [_row(one, list_of, turns.get(Contender(PEER, "fp32")), price_per_hour) for one, list_of in turns.items()]
    if not rows:
        raise ResnetFeaError("nothing runs here: " + "; ".join(f"{one.engine}: {why}" for one, why in unable.items()))
    facts = doctor.facts()
    return {
        "machine": {name: facts[name] for name in ("cpu", "cpu_isa", "cores")},
        "photos": described,
        "weights": spec,
        "layers": list(weights.variant.out),
        "price_per_hour": price_per_hour,
        "rows": rows,
        "not_run": [{**one._asdict(), "reason": reason} for one, reason in unable.items()],
    }


class _Process:
    """A contender's process (turns.py)."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._told, self._name = told, " ".join(told["contender"])

    def __enter__(self) -> _Process:
        command = [sys.executable, "-P", "-m", "resnetfea.bench.turns"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._say(json.dumps(self._told))
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()  # one that makes something in the cache takes away what is half made
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with suppress(BrokenPipeError):  # what was said last was not read any more
                    pipe.close()

    def turn(self, files: int) -> Turn:
        """So many files, now.

        Raises:
            ResnetFeaError: it failed, or none of them is an image.
        """
        self._say(str(files))
        done = self.answer()
        if "error" in done:
            raise ResnetFeaError(f"{self._name}: {done['error']}")
        if not done["images"]:
            raise ResnetFeaError("none of these photos can be decoded; `resnetfea extract` says why")
        return Turn(done["images"], done["seconds"])

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            return {"error": f"its process ended with {self._process.wait()}"}
        found: dict[str, Any] = json.loads(line)
        return found

    def _say(self, line: str) -> None:
        assert self._process.stdin
        with suppress(BrokenPipeError):  # it is gone; the missing answer says so
            print(line, file=self._process.stdin, flush=True)


def _in_turns(
    started: dict[Contender, _Process], seconds: float, progress: Callable[[int, int], None]
) -> dict[Contender, list[Turn]]:
    """What is else under way on the machine meets all alike."""
    files = {}
    for one, process in started.items():
        first = process.turn(FIRST)
        files[one] = max(FIRST, math.ceil(FIRST * seconds / first.seconds))
    turns: dict[Contender, list[Turn]] = {one: [] for one in started}
    done, total = 0, ROUNDS * sum(files.values())
    for _ in range(ROUNDS):
        for one, process in started.items():
            progress(done, total)
            turns[one].append(process.turn(files[one]))
            done += files[one]
    progress(done, total)
    return turns


def _row(
    contender: Contender, turns: Sequence[Turn], peer: Sequence[Turn] | None, price_per_hour: float | None
) -> dict[str, Any]:
    rates = [turn.images / turn.seconds for turn in turns]
    hours = MILLION / median(rates) / HOUR
    of_peer = [rate / (other.images / other.seconds) for rate, other in zip(rates, peer, strict=True)] if peer else None
    return {
        **contender._asdict(),
        "images_per_second": median(rates),
        "slowest": min(rates),
        "fastest": max(rates),
        "times_onnxruntime": median(of_peer) if of_peer else None,
        "hours_per_million": hours,
        "cost_per_million": None if price_per_hour is None else hours * price_per_hour,
    }

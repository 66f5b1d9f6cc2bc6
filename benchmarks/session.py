"""One measurement, from its materials to its numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import counting, machine, materials, memory, rounds, startup
from benchmarks.process import NotOffered, ours, run, theirs
from benchmarks.quality import Judge, features
from benchmarks.rows import AGREE, BASE, Peer, Row, good, missing, peers, rows
from resnetfea.cpu_guard import cpu_flags

DISTINCT = {"web": 128, "phone": 32}  # photos at most; a longer run takes them again
INSIDE = {"web": 64, "phone": 32}  # images of the profile


class Session:
    """Materials, contestants, and what they did.

    Args:
        build: folder for all that is made.
        counts: images of a run of each kind of photo.
        only: part of the names of the rows and peers that take part; torch always does.
        told: gets a line for each step.
    """

    def __init__(self, build: Path, counts: Mapping[str, int], *, only: str, told: Callable[[str], None]) -> None:
        self.build, self.counts, self.told = build, counts, told
        self.flags = cpu_flags()
        told("photos and weights")
        self.weights = materials.weights(build / "resnet50.safetensors")
        photos = {kind: materials.photos(kind, min(count, DISTINCT[kind]), build) for kind, count in counts.items()}
        self.photos = photos
        self.sizes = {kind: [path.stat().st_size for path in paths] for kind, paths in photos.items()}

        def lists(name: str, images: Mapping[str, int]) -> dict[str, Path]:
            return {
                kind: materials.listed(paths, images[kind], build / f"{kind}{name}.txt")
                for kind, paths in photos.items()
            }

        self.lists = lists("", counts)
        self.inside = lists("-inside", {kind: min(count, INSIDE[kind]) for kind, count in counts.items()})
        self.judge = Judge(lists("-distinct", {kind: len(paths) for kind, paths in photos.items()}), build)
        self.rows = [row for row in rows(self.flags) if only in row.key]
        self.peers = [peer for peer in peers() if only in peer.key or peer.name == BASE]
        model = build / "resnet50.onnx"
        if not model.exists():
            with materials.whole(model) as partly:
                run(theirs("benchmarks.peers.torch_dataloader", "-", self.weights, "-", "--export", partly))
        self.missing: dict[str, str] = {}  # who does not take part, and why
        self.agrees: dict[str, float] = {}  # how far who does is from the torch script, relative to the largest number

    def warmed(self) -> None:
        """Everybody once: fills caches, finds who can't, and compares their numbers. It does not count."""
        for one in sorted(self._all(), key=lambda one: not one.key.endswith(BASE)):  # torch comes first
            self._warm(one)

    def checked(self) -> list[str]:
        """What is wrong with the numbers of rows and peers; no time counts here."""
        self.peers = [peer for peer in self.peers if peer.precision != "int8"]  # quantising takes half a minute
        self.warmed()
        wrong = [f"{key}: {far:.1e} off torch's numbers" for key, far in self.agrees.items() if far > AGREE]
        for row in self.rows:
            if row.key not in self.missing:
                quality = self.judge.of_row(row)
                self.told(f"{row.key}: {quality}")
                if not good(row, quality):
                    wrong.append(f"{row.key}: {quality}")
            else:
                self.told(f"{row.key}: {self.missing[row.key]}")
        return wrong

    def measured(self, times: int) -> dict[str, Any]:
        """All numbers, ratios and raw times, for JSON."""
        self.warmed()
        self.told("limits of this machine")
        found = machine.described(self.flags)
        seconds = startup.measured(self.lists["web"], self.weights, self.build / "out" / "startup")
        peaks = memory.measured(self.photos["web"], self.weights, self.build)
        played: list[rounds.Round] = [{} for _ in range(times)]
        for kind in self.counts:  # a kind's peers and rows are near each other in time
            part = rounds.played(self._contestants(kind), times, self.told)
            played = [one | other for one, other in zip(played, part, strict=True)]
        return {
            "machine": found,
            "multiply_adds": counting.multiply_adds(materials.VARIANT),
            "rounds": times,
            "startup": {name: {"seconds": took, "goal": startup.GOALS[name]} for name, took in seconds.items()},
            "memory": peaks,
            "counts": {kind: self._count(kind) for kind in self.counts},
            "rows": [self._of_row(row, played, found) for row in self.rows],
            "peers": [self._of_peer(peer, played) for peer in self.peers],
            "raw": rounds.raw(played),
        }

    def _contestants(self, kind: str) -> dict[str, Callable[[], rounds.Timed]]:
        some = [one for one in self._all() if one.photos == kind and one.key not in self.missing]
        return {one.key: partial(self._run, one) for one in some}

    def _all(self) -> list[Row | Peer]:
        return [*self.peers, *self.rows]

    def _of_row(self, row: Row, played: list[rounds.Round], found: Mapping[str, Any]) -> dict[str, Any]:
        what = {**asdict(row), "key": row.key, "missing": self.missing.get(row.key, "")}
        if what["missing"]:
            return what
        self.told(f"{row.key}: quality")
        quality, agrees = self.judge.of_row(row), self.agrees.get(row.key)
        self.told(f"{row.key}: inside")
        arguments = (self.inside[row.photos], self.weights, self.build / "inside", row.precision, row.decode)
        inside = json.loads(run(ours("benchmarks.inside", *arguments)).out)
        base, by_hand = f"{row.photos} {BASE}", f"{row.photos} {row.by_hand}"
        ratios = self._ratios(row.key, base, played)
        parts = inside["parts"]  # CPU seconds of an image, as what follows
        arithmetic = counting.multiply_adds(materials.VARIANT) / found["peak"][row.precision]["gmacs"] / 1e9
        return {
            **what,
            **ratios,
            "reached": row.goal is None or ratios["whole"]["median"] >= row.goal,
            "quality": quality,
            "agrees": agrees,
            "good": good(row, quality) and (agrees or 0) <= AGREE,
            "to_hand": asdict(rounds.whole(played, row.key, by_hand)) if by_hand in played[0] else None,
            "within": inside["within"],
            "parts": parts,
            "of_peak": arithmetic / parts["network"],
            "of_jpeg": parts["jpeg"] / (parts["read"] + parts["jpeg"] + parts["beside"]),
            # had it taken the CPU time of these two alone; so neighbours slow both sides of the comparison
            "limit": ratios["steady"]["median"] * sum(parts.values()) / (arithmetic + parts["jpeg"]),
        }

    def _of_peer(self, peer: Peer, played: list[rounds.Round]) -> dict[str, Any]:
        what = {**asdict(peer), "key": peer.key, "missing": self.missing.get(peer.key, "")}
        if what["missing"]:
            return what
        self.told(f"{peer.key}: quality")
        return {
            **what,
            **self._ratios(peer.key, f"{peer.photos} {BASE}", played),
            "quality": self.judge.of_peer(peer),
            "agrees": self.agrees.get(peer.key),
        }

    def _ratios(self, key: str, base: str, played: list[rounds.Round]) -> dict[str, Any]:
        return {
            "whole": asdict(rounds.whole(played, key, base)),
            "steady": asdict(rounds.steady(played, key, base)),
        }

    def _warm(self, one: Row | Peer) -> None:
        """Run it once; note why it can't, or how far its numbers are from torch's where they should be the same."""
        why = missing(one.precision, self.flags)
        if not why:
            self.told(f"{one.key}: once, to warm up")
            try:
                self._run(one)
            except NotOffered:
                why = "not offered"
        if why:
            self.missing[one.key] = why
        elif one.exact:
            base = np.load(self._out(f"{one.photos} {BASE}") / "c5.npy")
            own = features(self._out(one.key))["c5"] if isinstance(one, Row) else np.load(self._out(one.key) / "c5.npy")
            self.agrees[one.key] = float(np.abs(own - base).max() / np.abs(base).max())

    def _run(self, one: Row | Peer) -> rounds.Timed:
        photos, out = self.lists[one.photos], self._out(one.key)
        if isinstance(one, Row):
            flags = ("--overwrite", "--weights", self.weights, "--layers", "c5", *one.flags)
            return rounds.by_extract(run(ours("resnetfea", "extract", photos, "-o", out, *flags)))
        out.mkdir(parents=True, exist_ok=True)
        more = ("--cache", self.build / "hand") if one.module == "openvino_by_hand" else ()
        command = (photos, self.build / one.model, out / "c5.npy", *one.flags, *more)
        return rounds.by_peer(run(theirs(f"benchmarks.peers.{one.module}", *command)))

    def _out(self, key: str) -> Path:
        return self.build / "out" / key.replace(" ", "-")

    def _count(self, kind: str) -> dict[str, int]:
        """For the page; sizes in kB."""
        sizes = [round(size / 1000) for size in self.sizes[kind]]
        return {"images": self.counts[kind], "distinct": len(sizes), "low": min(sizes), "high": max(sizes)}

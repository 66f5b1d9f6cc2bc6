"""A run over a million images without decoding and network: what all the rest costs, and how long --resume takes.

python -m benchmarks.measure_run FOLDER [--images N]

FOLDER is an empty place on the disk in question. Images are empty files; what decodes them and the network are
stand-ins that give the same numbers at once, so the run's own cost shows: listing, pipeline, Parquet, manifest. Then
the command itself resumes the finished run, and takes in a thousand further files, which are failures. Each in a
process of its own.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure_scale import touched
from benchmarks.process import Done, ours, run
from resnetfea import read
from resnetfea.engine.layers import Maps, channels
from resnetfea.features import engines, work
from resnetfea.features.extract import extract
from resnetfea.features.images import Picture
from resnetfea.features.limits import Limits

WEIGHTS, LAYER = "opennsfw", "c5"
NEW = 1_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--without", type=Path, help=argparse.SUPPRESS)  # what a process of its own does
    given = parser.parse_args()
    if given.without:
        without(given.folder, given.without)
        return
    source, out = given.folder / "photos", given.folder / "out"
    try:
        touched(source, 1)
        command(source, out)  # compiles the network, which --update makes
        print("| step | images | seconds | memory, MB |\n|---|---:|---:|---:|")
        for images in (given.images // 10, given.images):
            shutil.rmtree(out, ignore_errors=True)
            touched(source, images)
            told = json.loads(run(ours("benchmarks.measure_run", source, "--without", out)).out)
            told_of(f"new run, {1e3 * told['cpu'] / images:.3f} ms of CPU an image", images, told["wall"], told["peak"])
            told_by(f"--resume of it, {sum(1 for _ in out.glob('features-*'))} files", images, command(source, out))
        for index in range(NEW):
            (source / f"new-{index:04}.jpg").touch()
        told_by(f"--update, {NEW} new", images, command(source, out, "--update"))
        told_by("--resume of that", images, command(source, out))
    finally:
        for folder in (source, out):
            shutil.rmtree(folder, ignore_errors=True)


def command(source: Path, out: Path, *flags: str) -> Done:
    """The command in a process of its own; failures are meant."""
    asked = ["extract", str(source), "-o", str(out), "--weights", WEIGHTS, "--layers", LAYER, "--resume", *flags]
    program = f"import sys; from resnetfea.cli import app; app({asked!r}, standalone_mode=False)"
    return run([sys.executable, "-c", program])


def told_by(what: str, images: int, done: Done) -> None:
    told_of(what, images, done.wall, done.peak)


def told_of(what: str, images: int, seconds: float, peak: int) -> None:
    print(f"| {what} | {images:,} | {seconds:.1f} | {peak / 1e6:.0f} |", flush=True)


def without(source: Path, out: Path) -> None:
    """The run with stand-ins: JSON on stdout."""
    weights = read(WEIGHTS)
    engines.made = lambda *_, **__: Instant(channels(weights)[LAYER])  # type: ignore[assignment]
    setattr(work, "Decoders", InstantDecoders)  # noqa: B010
    wall, cpu = time.perf_counter(), time.process_time()
    extract(source, out, weights=weights, layers=(LAYER,))
    facts = {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "peak": 1024 * int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0]),
    }
    json.dump(facts, sys.stdout)


class Instant:
    """A network that knows its answer. An engines.ReadyEngine."""

    precision, quality = "fp32", None

    def __init__(self, width: int) -> None:
        self.row = np.linspace(0, 1, width, dtype=np.float32)

    def prepare(self) -> None:
        """Nothing to do."""

    def features(self, pictures: Iterable[NDArray[np.uint8]]) -> Iterator[Maps]:
        return ({LAYER: self.row} for _ in pictures)


class InstantDecoders:
    """Decoders that have one picture for all files. In place of decoding.Decoders."""

    def __init__(self, processes: int, limits: Limits) -> None:
        self.limits = limits
        self.picture = Picture(8, 8, np.zeros((8, 8, 3), np.uint8))

    def prepare(self, *_: Any) -> None:
        """Nothing to do."""

    def submit(self, _: Any) -> Future[Picture]:
        done: Future[Picture] = Future()
        done.set_result(self.picture)
        return done

    def __enter__(self) -> InstantDecoders:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to do."""


if __name__ == "__main__":
    main()

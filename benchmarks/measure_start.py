"""Where the seconds of a short, warm `extract` go, by parts: wall and CPU milliseconds, medians of fresh processes.

    PYTHONPATH=src:tests python -m benchmarks.measure_start [--precision int8] [--weights W] [--images 8] [--times 7]

CPU time is of all threads, and the steadier of the two on a machine that others use.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import materials
from benchmarks.process import environment
from benchmarks.start_marks import BEGAN, MARKS
from resnetfea.engine.precision import PRECISIONS

BUILD = Path("build/bench")
PARTS = ("Python", "imports", "weights", "network", "ready", "first image", "all images", "end")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument("--weights", help="instead of a full-width network of random weights")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--times", type=int, default=7)
    options = parser.parse_args()
    photos = materials.listed(materials.photos("web", 64, BUILD), options.images, BUILD / "start.txt")
    weights = options.weights or materials.weights(BUILD / "resnet50.safetensors")
    arguments = ["extract", photos, "-o", BUILD / "out" / "start", "--overwrite", "--weights", weights]
    arguments += ["--layers", "c5", "--precision", options.precision]
    runs = [run(list(map(str, arguments))) for _ in range(1 + options.times)][1:]  # the first fills the cache
    print(f"{'until':14}{'wall':>6}{'CPU':>6}")
    for index, part in enumerate(PARTS):
        wall, cpu = (statistics.median(1e3 * one[index][which] for one in runs) for which in (0, 1))
        print(f"{part:14}{wall:6.0f}{cpu:6.0f}")


def run(arguments: list[str]) -> list[tuple[float, float]]:
    """Wall and CPU seconds of each part."""
    marks = BUILD / "start.json"
    variables = environment(sys.executable) | {BEGAN: repr(time.perf_counter()), MARKS: str(marks)}
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.start_marks", *arguments],
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    ended = time.perf_counter() - float(variables[BEGAN])
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"resnetfea {' '.join(arguments)}: ended with {process.returncode}")
    times = [*json.loads(marks.read_text()), (ended, used.ru_utime + used.ru_stime)]
    return [(end[0] - start[0], end[1] - start[1]) for start, end in zip([(0, 0), *times], times, strict=False)]


if __name__ == "__main__":
    main()

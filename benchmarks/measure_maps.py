"""Ways to write whole feature maps, measured beside each other and beside the bare disk; docs/maps.md has the outcome.

python -m benchmarks.measure_maps FOLDER [--weights W] [--images N] [--rounds N]

FOLDER is an empty place on the disk in question. The maps are those of the sample photos. zarr is no part of the
product's environment; where it is missing its rows are left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.ways_of_maps import Maps, Way, all_ways
from resnetfea import CompiledEngine, read
from resnetfea.engine.layers import normalised
from resnetfea.features.images import decode
from resnetfea.features.source import file

SAMPLES = Path(__file__).parents[1] / "samples"


class Result(NamedTuple):
    wall: float
    cpu: float
    size: int
    files: int
    one: float  # seconds to read one layer of one image, not in the page cache


def main(folder: Path, weights: str, images: int, rounds: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    of_photos = list(maps_of_samples(weights))
    some = [of_photos[index % len(of_photos)] for index in range(images)]
    total = sum(array.nbytes for maps in some for array in maps.values())
    print(f"{images} images, {total / images / 1e6:.2f} MB each; zeros: {zeros(some)}\n")
    shapes = {layer: array.shape for layer, array in some[0].items()}
    ways = all_ways(shapes)
    results: dict[str, list[Result]] = {way.name: [] for way in ways}
    for _ in range(rounds):  # in alternation: the machine's other work falls on all alike
        for way in ways:
            results[way.name].append(measured(way, folder / "out", some))
    disk = [one.wall for one in results["the disk"]]
    print(
        "| way | speed / the disk's | CPU ms an image | size | files | read c5 of one image, ms | in memory | sizes |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for way in ways:
        found = results[way.name]
        ratio = statistics.median(d / one.wall for d, one in zip(disk, found, strict=True))
        cpu = statistics.median(one.cpu for one in found) / images * 1000
        one = statistics.median(result.one for result in found) * 1000
        size, files = found[0].size / total, found[0].files
        print(f"| {way.name} | {ratio:.2f} | {cpu:.1f} | {size:.2f} | {files} | {one:.1f} | {way.held} | {way.sizes} |")
    print(f"\nthe disk: {statistics.median(total / wall for wall in disk) / 1e6:.0f} MB a second")


def measured(way: Way, out: Path, some: list[Maps]) -> Result:
    """Write, sync, read, check, remove."""
    wall, cpu = time.perf_counter(), time.process_time()
    way.write(out, some)
    files = [path for path in out.rglob("*") if path.is_file()]
    for path in files:
        sync(path)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    size = sum(path.stat().st_size for path in files)
    reads = []
    for index in range(0, len(some), max(1, len(some) // 8)):
        for path in files:
            forget(path)
        began = time.perf_counter()
        c5 = way.read(out, index, "c5")
        reads.append(time.perf_counter() - began)
        assert c5.tobytes() == some[index]["c5"].tobytes(), way.name
    shutil.rmtree(out)
    return Result(wall, cpu, size, len(files), statistics.median(reads))


def maps_of_samples(weights: str) -> Iterator[Maps]:
    found = read(weights)
    engine = CompiledEngine(found)
    for path in sorted(path for path in SAMPLES.rglob("*") if path.suffix in (".jpg", ".png", ".webp")):
        x = normalised(decode(file(path), found.recipe).pixels, found.recipe)[None]
        yield {layer: np.ascontiguousarray(maps[0]) for layer, maps in engine.maps(x).items()}


def zeros(some: list[Maps]) -> str:
    return ", ".join(f"{layer} {np.mean([np.mean(maps[layer] == 0) for maps in some]):.0%}" for layer in some[0])


def sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def forget(path: Path) -> None:
    """Out of the page cache."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", default="opennsfw")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    main(**vars(parser.parse_args()))

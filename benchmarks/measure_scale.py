"""Does memory grow with the number of images? Listing of folders and archives, up to ten million.

python -m benchmarks.measure_scale FOLDER [--files N] [--names N]

FOLDER is an empty place on the disk in question; about 2 GB are written there and removed again. Each line is a fresh
process that lists a source and writes the run's list of it, as `extract` does before the first image.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.process import ours, run
from resnetfea.features import globs, inputs, listing, walking
from resnetfea.features.local import Local
from resnetfea.features.source import Source

FILES, NAMES = 1_000_000, 10_000_000
PER_FOLDER = 1_000  # in the nested tree
STRIDE = 7_368_787  # a prime: numbers come in no order, as scandir gives names


class Listed(NamedTuple):
    """seconds: of listing alone; peak: bytes of the process's memory; spool: bytes of the run's list."""

    what: str
    images: int
    seconds: float
    peak: int
    spool: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=FILES, help="most that are really written")
    parser.add_argument("--names", type=int, default=NAMES, help="most that are only told to the walk")
    parser.add_argument("--list", dest="source", help=argparse.SUPPRESS)  # what a process of its own does
    given = parser.parse_args()
    if given.source:
        list_once(given.source, given.folder)
        return
    print("| source | images | seconds | memory, MB | list, MB |\n|---|---:|---:|---:|---:|")
    for row in listings(given.folder, given.files, given.names):
        print(f"| {row.what} | {row.images:,} | {row.seconds:.1f} | {row.peak / 1e6:.0f} | {row.spool / 1e6:.0f} |")


def listings(folder: Path, files: int = FILES, names: int = NAMES) -> Iterator[Listed]:
    """Each kind of source at a hundredth, a tenth and all of its images."""
    kinds: dict[str, Callable[[Path, int], None]] = {"one folder": _flat, "nested folders": touched, ".tar": _tar}
    for what, write in kinds.items():
        for count in (files // 100, files // 10, files):
            source = folder / ("source.tar" if write is _tar else "source")
            try:
                write(source, count)
                yield _measured(what, folder, source)
            finally:
                source.unlink() if source.is_file() else shutil.rmtree(source, ignore_errors=True)
    for count in (names // 100, names // 10, names):
        yield _measured("one folder, simulated: names from a generator", folder, count)


def _measured(what: str, folder: Path, source: Path | int) -> Listed:
    told = json.loads(run(ours("benchmarks.measure_scale", folder, "--list", source)).out)
    return Listed(what, **told)


def list_once(source: str, scratch: Path) -> None:
    """In a process of its own: JSON on stdout. A number as the source stands for so many simulated names."""
    began = time.perf_counter()
    found = _simulated(int(source), scratch) if source.isdigit() else listing.images(source, scratch)
    listed = inputs.written(found.names(), scratch / ".inputs")
    facts = {
        "images": listed.count,
        "seconds": time.perf_counter() - began,
        "peak": 1024 * int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0]),
        "spool": listed.path.stat().st_size,
    }
    listed.path.unlink()
    json.dump(facts, sys.stdout)


def _simulated(count: int, scratch: Path) -> Source:
    walked = partial(walking.walk, _Names(b"", count), globs.ALL, listing.SUFFIXES, scratch)
    return listing.Files("", Local(b""), walked)


class _Names(Local):
    """A folder that says it holds so many files."""

    def __init__(self, base: bytes, count: int) -> None:
        super().__init__(base)
        object.__setattr__(self, "count", count)

    def entries(self, folder: bytes) -> Iterator[bytes]:
        count: int = self.count  # type: ignore[attr-defined]
        return (_name(index * STRIDE % count) for index in range(count))


def _name(index: int) -> bytes:
    return b"photo-of-some-length-%09d.jpg" % index


def _flat(folder: Path, count: int) -> None:
    folder.mkdir()
    _touch(folder, range(count))


def touched(folder: Path, count: int) -> None:
    """A thousand empty files a folder, where they are not there yet."""
    for first in range(0, count, PER_FOLDER):
        below = folder / f"{first // PER_FOLDER // 100:04}" / f"{first // PER_FOLDER % 100:02}"
        below.mkdir(parents=True, exist_ok=True)
        _touch(below, range(first, min(first + PER_FOLDER, count)))


def _touch(folder: Path, indices: range) -> None:
    handle = os.open(folder, os.O_RDONLY)
    for index in indices:
        os.close(os.open(_name(index), os.O_CREAT | os.O_WRONLY, dir_fd=handle))
    os.close(handle)


def _tar(path: Path, count: int) -> None:
    """Members of one block, so that headers are as near to each other as they can be."""
    with path.open("wb") as file:
        for index in range(count):
            member = tarfile.TarInfo(_name(index).decode())
            member.size = tarfile.BLOCKSIZE
            file.write(member.tobuf(tarfile.USTAR_FORMAT))
            file.write(bytes(tarfile.BLOCKSIZE))
        file.write(bytes(2 * tarfile.BLOCKSIZE))


if __name__ == "__main__":
    main()

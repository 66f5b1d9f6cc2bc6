"""Does memory grow with the number of images? The same run, over few and over many."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks import materials
from benchmarks.process import ours, run

COUNTS = (64, 1024)  # images; 1024 fill a row group of a shard, more of them begin anew
LIMIT = 1e9  # bytes, at fp32


def measured(photos: Sequence[Path], weights: Path, build: Path) -> dict[str, int]:
    """Peak of resident memory in bytes, of the run's processes together, by the number of images."""
    found = {}
    for count in COUNTS:
        source = materials.listed(list(photos), count, build / f"memory-{count}.txt")
        options = ("--overwrite", "--weights", weights, "--layers", "c5")
        command = ours("resnetfea", "extract", source, "-o", build / "out" / "memory", *options)
        found[str(count)] = run(command, watched=True).peak
    return found

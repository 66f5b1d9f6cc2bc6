"""Fuzz extract with damaged pictures: each gives a row or a failure, once, in its place, and nothing else happens.

Usage: python tests/fuzz/images.py [--images 2000] [--seed 0] [--keep build/fuzz-images]

All pictures are drawn from the seed. They go through `resnetfea extract` itself, CHUNK at a time, with a narrow
network. What ends a decoder, or takes too long or too much for it, is kept in the folder: it is contained, and worth a
look. So is a chunk of which extract makes something wrong; then the exit code is 1.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow.parquet as pq

from benchmarks.tree import Watch
from fuzz.mutate import mutated
from fuzz.pictures import pictures, with_right_checksums
from resnetfea.features.bad_image import Kind
from resnetfea.features.decoder_process import BESIDE, BYTES_A_PIXEL
from resnetfea.features.images import LARGE_PIXELS
from resnetfea.features.limits import Limits

WEIGHTS = Path(__file__).parents[1] / "data/tiny.safetensors"
CHUNK = 2000
WORKERS = 2
SECONDS = 10.0  # an image; an undamaged one of this size takes milliseconds
LONGEST = 600.0  # seconds a chunk; it takes some 20
CONTAINED = ("crash", "too slow", "memory")
# bytes of all processes: what the network's takes, and what each decoder may have, one of them for a large picture
MEMORY = (1 << 30) + WORKERS * (BESIDE + BYTES_A_PIXEL * LARGE_PIXELS) + BYTES_A_PIXEL * Limits.pixels


class Wrong(Exception):
    """What extract did and must not."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz-images"))
    options = parser.parse_args()
    seeds = pictures()
    counts: Counter[str] = Counter()
    peak, began = 0, time.monotonic()
    with tempfile.TemporaryDirectory(prefix="resnetfea.") as temporary:
        for first in range(0, options.images, CHUNK):
            folder, out = Path(temporary) / "damaged", Path(temporary) / "out"
            folder.mkdir()
            indices = range(first, min(first + CHUNK, options.images))
            names = [_write(folder, seeds, options.seed, index) for index in indices]
            try:
                memory = _run(folder, out)
                peak = max(peak, memory)
                failures = _checked(names, out)
            except Wrong as wrong:
                kept = options.keep / f"chunk-{options.seed}-{first}"
                shutil.copytree(folder, kept, dirs_exist_ok=True)
                print(f"images {first} to {indices[-1]} of seed {options.seed}: {wrong}; kept as {kept}", flush=True)
                return 1
            counts.update(failures.values())
            counts["row"] += len(names) - len(failures)
            for name in (name for name, kind in failures.items() if kind in CONTAINED):
                options.keep.mkdir(parents=True, exist_ok=True)
                kept = shutil.copy(
                    folder / name, options.keep / f"{failures[name].replace(' ', '-')}-{options.seed}-{name}"
                )
                print(f"{failures[name]}: {kept}", flush=True)
            shutil.rmtree(folder)
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
    took = time.monotonic() - began
    print(f"{options.images} images of seed {options.seed} in {took:.0f} s, at most {peak / 1e6:.0f} MB: {kinds}")
    return 0


def _write(folder: Path, seeds: dict[str, bytes], seed: int, index: int) -> str:
    """One damaged picture. Gives its name."""
    rng = random.Random(f"{seed} {index}")
    name = rng.choice(sorted(seeds))
    others = [data for other, data in seeds.items() if other.partition("-")[0] == name.partition("-")[0]]
    data = mutated([seeds[name]] if rng.random() < 0.8 else others, rng)
    if rng.random() < 0.5:
        data = with_right_checksums(data)
    file = f"{index:07}-{name}.{name.partition('-')[0]}"
    (folder / file).write_bytes(data)
    return file


def _run(folder: Path, out: Path) -> int:
    """The most memory that it took, of all its processes together, in bytes."""
    command = [sys.executable, "-m", "resnetfea", "extract", folder, "-o", out, "--overwrite", "--weights", WEIGHTS]
    command += ["--layers", "c5", "--workers", WORKERS, "--max-seconds", SECONDS]
    process = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    watch = Watch(process.pid)
    try:
        _, said = process.communicate(timeout=LONGEST)
    except subprocess.TimeoutExpired as error:
        raise Wrong(f"not ready after {LONGEST:.0f} s") from error
    finally:
        process.kill()
        process.wait()
        peak = watch.stop()
    said = "\n".join(line for line in said.splitlines() if not line.startswith("compiling "))
    if process.returncode not in (0, 3) or "Traceback" in said or len(said.splitlines()) > 1:
        raise Wrong(f"exit code {process.returncode}, {said[-2000:]}")
    if peak > MEMORY:
        raise Wrong(f"{peak / 1e6:.0f} MB of memory")
    return peak


def _checked(names: list[str], out: Path) -> dict[str, str]:
    """Kinds of the failures, by name."""
    rows = pq.read_table(sorted(out.glob("features-*.parquet")))
    failures = pq.read_table(out / "failures.parquet")
    good, bad = rows["path"].to_pylist(), failures["path"].to_pylist()
    if sorted([*good, *bad]) != names or good != sorted(good) or bad != sorted(bad):
        raise Wrong("rows and failures are not what was given, each once and in order")
    features = rows["c5"].combine_chunks().flatten().to_numpy().reshape(len(good), -1)
    if not np.isfinite(features).all() or not features.any(axis=1).all():
        raise Wrong("a row of nothing")
    kinds = failures["kind"].to_pylist()
    if not set(kinds) <= set(get_args(Kind)) or not all(failures["reason"].to_pylist()):
        raise Wrong("a failure without a kind or a reason")
    return dict(zip(bad, kinds, strict=True))


if __name__ == "__main__":
    sys.exit(main())

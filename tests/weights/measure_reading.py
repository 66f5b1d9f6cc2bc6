"""How long a full-width ResNet-50 takes to be read beyond reading the file, and how much memory, for each container.

Usage: PYTHONPATH=tests python tests/weights/measure_reading.py [CONTAINER ...]     (make measure-reading)

Issue 4's bounds: under 1 second, and at most three times the file's size. A process of its own reads each file three
times; the best time counts, for machines are noisy. Exit code 1 beyond the bounds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetfea.network.variant import Variant
from resnetfea.weights.ecosystems import KERAS
from rich_weights import rich_state
from weights.making import WRITERS as CONTAINERS
from weights.making import Arrays, h5_of
from weights.making_pickles import python2_pickle
from weights.onnx_making import STYLES, model

SECONDS, TIMES = 1.0, 3.0
CHILD = """
import json, sys, time
from pathlib import Path
from resnetfea.weights import read
import resnetfea.weights.onnx_file, safetensors  # libraries that are loaded once count as no file's
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024
path, before, best = Path(sys.argv[1]), peak(), 1e9
for _ in range(3):
    start = time.perf_counter(); path.read_bytes(); plain = time.perf_counter() - start
    start = time.perf_counter(); found = read(path); best = min(best, time.perf_counter() - start - plain)
    del found
print(json.dumps({"seconds": best, "memory": peak() - before}))
"""


def writers() -> dict[str, Callable[[Arrays], bytes]]:
    """Containers that nothing but Python is needed to write."""
    return {
        **CONTAINERS,
        "pickle": lambda arrays: python2_pickle(arrays, key=b"model"),
        "h5 of Keras": keras_of,
        "onnx": lambda arrays: model(STYLES["plain"], dict(arrays)).SerializeToString(),
    }


def keras_of(arrays: Arrays) -> bytes:
    """Kernels (k, k, in, out), and a bias for each of them."""
    stored: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        stored[KERAS.theirs(name)] = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array
        if array.ndim == 4:
            stored[KERAS.theirs(name.replace(".weight", ".bias"))] = np.ones(len(array), np.float32)
    return h5_of(stored)


def main(names: list[str]) -> int:
    """One line for each container."""
    state, failed = rich_state(Variant(), 0), False
    for name, write in writers().items():
        if names and name not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "weights"
            path.write_bytes(write(state))
            size = path.stat().st_size
            done = subprocess.run([sys.executable, "-c", CHILD, path], capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        good = found["seconds"] < SECONDS and found["memory"] <= TIMES * size
        failed |= not good
        print(
            f"{name:13} {size / 1e6:6.1f} MB: {found['seconds']:5.2f} s beyond reading it, "
            f"{found['memory'] / size:4.2f} times its size in memory{'' if good else '   BEYOND THE BOUNDS'}"
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

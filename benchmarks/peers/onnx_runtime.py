"""The same network, exported from PyTorch, through ONNX Runtime.

    python -m benchmarks.peers.onnx_runtime PHOTOS.txt MODEL.onnx OUT.npy

Batches of 8, decoded by processes beside it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks.peers.photos import arguments, listed, normalised, report

BATCH = 8


def main() -> None:
    options = arguments(__doc__).parse_args()
    cores = len(os.sched_getaffinity(0))
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = cores
    session = onnxruntime.InferenceSession(options.model, settings, providers=["CPUExecutionProvider"])
    rows = []
    with ProcessPoolExecutor(cores) as pool:
        ready = time.perf_counter()
        for batch in batches(pool.map(normalised, listed(options.photos), chunksize=BATCH // 2)):
            rows.append(session.run(["c5"], {"x": batch})[0].mean((2, 3)))
        report(options.out, np.concatenate(rows), ready)


def batches(pictures: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """Up to 8 at a time."""
    source = iter(pictures)
    while some := list(islice(source, BATCH)):
        yield np.stack(some)


if __name__ == "__main__":
    main()

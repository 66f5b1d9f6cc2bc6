"""How fast MindSpore's convolutions are beside plain matrix multiplication, the most that this machine can do.

It runs in a process of its own (`python -m resnetfea.engine.convolution_speed`), which MindSpore's memory leaves again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from resnetfea.engine import cores
from resnetfea.errors import ResnetFeaError

SECONDS, LEAST = 1.0, 3  # of each kind, and so many runs at least where one takes long
SIDE, WIDE, NARROW = 14, 1024, 256  # a bottleneck of layer3, where a third of a ResNet-50's work lies
ORDER = 1024  # of the matrices
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def measure() -> dict[str, Any]:
    """matmul_gflops (NumPy's, float32), mindspore_gflops (three convolutions of layer3), and the second's share.

    Raises:
        ResnetFeaError: MindSpore is not there or failed.
    """
    command = [sys.executable, "-P", "-m", "resnetfea.engine.convolution_speed"]
    threads = dict.fromkeys(THREADS, str(cores.usable()))  # NumPy's, which MindSpore takes by itself
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | threads)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        raise ResnetFeaError(f"MindSpore could not be measured: {last}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _main() -> None:
    import mindspore as ms
    from mindspore import nn

    from resnetfea.network import mode
    from resnetfea.network.resnet import _conv

    draw = np.random.default_rng(0)
    left, right = draw.standard_normal((2, ORDER, ORDER)).astype(np.float32)
    convolutions = nn.SequentialCell(
        [_conv(WIDE, NARROW, 1), _conv(NARROW, NARROW, 3, padding=1), _conv(NARROW, WIDE, 1)]
    )
    x = ms.Tensor(draw.standard_normal((1, WIDE, SIDE, SIDE)).astype(np.float32))
    multiplications = SIDE * SIDE * (2 * WIDE * NARROW + 9 * NARROW * NARROW)
    with mode.graph():
        mindspore = 2 * multiplications / _seconds(lambda: convolutions(x).asnumpy())
    matmul = 2 * ORDER**3 / _seconds(lambda: left @ right)
    rates = {"matmul_gflops": matmul / 1e9, "mindspore_gflops": mindspore / 1e9, "mindspore_share": mindspore / matmul}
    print(json.dumps({name: float(f"{rate:.3g}") for name, rate in rates.items()}))


def _seconds(run: Callable[[], object]) -> float:
    """The fastest of many runs: what else is under way on the machine only makes them longer."""
    run()  # compiles
    times: list[float] = []
    while len(times) < LEAST or sum(times) < SECONDS:
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


if __name__ == "__main__":
    _main()

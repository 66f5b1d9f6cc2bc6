"""The machine's fastest matrix multiplication on all cores, in each precision:  python -m benchmarks.peak.

Runs in .venv-bench. A convolution can't beat it by more than Winograd's trick, which neither library uses here.
Prints JSON: multiply-adds of one core in a second of its time, in units of 1e9, and what gave them. All cores work
meanwhile, as clocks fall then; CPU time counts, for the machine may have other work.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import openvino as ov
import torch
from openvino import opset13 as ops

WINDOWS, SECONDS = 5, 0.3  # the best of so many windows of so long; one product is too short for the clock
SIDES = (256, 512, 1024)  # of the matrices: small ones stay in the caches, large ones hide what surrounds them
CHAIN = 8  # products in a row, as a network has them
HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}


def main() -> None:
    found: dict[str, tuple[float, str]] = {}
    for precision in HINTS:
        tries = {"OpenVINO": max(by_openvino(precision, side) for side in SIDES)}
        if precision != "int8":
            tries["torch"] = max(by_torch(precision, 2 * side) for side in SIDES)
        best = max(tries, key=lambda name: tries[name])
        found[precision] = (tries[best], best)
    print(json.dumps({name: {"gmacs": speed, "by": by} for name, (speed, by) in found.items()}))


def by_torch(precision: str, side: int) -> float:
    """`a @ b` on all cores."""
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    a, b = (torch.randn(side, side).to(kind) for _ in range(2))
    return _fastest(lambda: a @ b, side**3)


def by_openvino(precision: str, side: int) -> float:
    """A chain of products, requests side by side on all cores."""
    model = chain(side, quantised=precision == "int8")
    settings = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": HINTS[precision]}
    compiled = ov.Core().compile_model(model, "CPU", settings)
    requests = [compiled.create_infer_request() for _ in range(compiled.get_property("NUM_STREAMS"))]
    x = np.random.default_rng(0).normal(0, 1, (side, side)).astype(np.float32)
    for request in requests:
        request.infer([x])

    def once() -> None:
        for request in requests:
            request.start_async()
        for request in requests:
            request.wait()

    return _fastest(once, len(requests) * CHAIN * side**3)


def chain(side: int, *, quantised: bool) -> ov.Model:
    """x @ w @ w ...; quantised as NNCF does it: 8 bits for what goes in, 8 bits for the weights."""
    rng = np.random.default_rng(0)
    x = value = ops.parameter([side, side], np.float32)
    low, high = (np.float32(bound) for bound in (-4, 4))
    for _ in range(CHAIN):
        weight: Any = ops.constant(rng.normal(0, side**-0.5, (side, side)).astype(np.float32))
        if quantised:
            value = ops.fake_quantize(value, low, high, low, high, 256)
            span = np.float32(4 * side**-0.5)
            weight = ops.fake_quantize(weight, -span, span, -span, span, 255)
        value = ops.matmul(value, weight, False, True)
    return ov.Model([value], [x])


def _fastest(once: Callable[[], Any], multiply_adds: int) -> float:
    """The best of some windows, for caches have neighbours."""
    once()
    best = 0.0
    for _ in range(WINDOWS):
        began, ends, times = time.process_time(), time.perf_counter() + SECONDS, 0
        while time.perf_counter() < ends:
            once()
            times += 1
        best = max(best, times * multiply_adds / (time.process_time() - began) / 1e9)
    return best


if __name__ == "__main__":
    main()

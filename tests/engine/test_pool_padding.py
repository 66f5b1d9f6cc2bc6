"""The pool's own padding gives the bits that zeros in front of it gave; and other paddings are left alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from data import tiny
from engine.graphs import kinds, outputs
from resnetfea import read
from resnetfea.engine.export import export
from resnetfea.engine.pool_padding import into_the_pool
from weights.test_variants import carded

FRONT = {"pad1": 1, "ceil": 0}  # one behind, both (network/pooling.py)


def pooled(
    *,
    front: int = 1,
    value: float = 0.0,
    mode: str = "constant",
    relu: bool = True,
    channels: int = 0,
    rounding: str = "floor",
) -> ov.Model:
    """x (N, C, H, W), a ReLU, a padding by an operation of its own, and a pool without one."""
    x = ops.parameter([-1, -1, -1, -1], np.float32, name="x")
    inside: Any = ops.relu(x) if relu else ops.abs(x)
    begin, end = np.array([0, channels, front, front]), np.array([0, 0, 1, 1])
    padded = ops.pad(inside, begin, end, mode, ops.constant(np.float32(value)) if mode == "constant" else None)
    return ov.Model([ops.max_pool(padded, [2, 2], [1, 1], [0, 0], [0, 0], [3, 3], rounding).output(0)], [x], "pool")


@pytest.mark.parametrize("size", [(8, 8), (7, 7), (9, 14), (2, 3)], ids=str)
@pytest.mark.parametrize("pool", FRONT)
def test_it_becomes_part_of_the_pool_and_no_bit_changes(pool: str, size: tuple[int, int]) -> None:
    x = np.random.default_rng(0).normal(-1, 1, (2, 3, *size)).astype(np.float32)  # most are cut to zero
    graph = pooled(front=FRONT[pool])
    (before,) = outputs(graph, x)
    into_the_pool(graph)
    assert "Pad" not in kinds(graph)
    (after,) = outputs(graph, x)
    assert after.shape == before.shape
    assert np.array_equal(after, before)


@pytest.mark.parametrize(
    "other",
    [
        {"value": 1.0},
        {"value": -1.0},
        {"mode": "edge"},
        {"mode": "reflect"},
        {"relu": False},
        {"channels": 1},
    ],
    ids=str,
)
def test_other_paddings_are_left_alone(other: dict[str, Any]) -> None:
    x = np.random.default_rng(0).normal(0, 1, (2, 3, 8, 9)).astype(np.float32)
    graph = pooled(**other)
    (before,) = outputs(graph, x)
    into_the_pool(graph)
    assert kinds(graph).count("Pad") == 1
    assert np.array_equal(outputs(graph, x)[0], before)


def test_a_padding_that_is_computed_is_left_alone() -> None:
    x, edges = ops.parameter([1, 1, 8, 8], np.float32), ops.parameter([4], np.int64)
    padded = ops.pad(ops.relu(x), edges, edges, "constant", ops.constant(np.float32(0)))
    graph = ov.Model([ops.max_pool(padded, [2, 2], [1, 1], [0, 0], [0, 0], [3, 3]).output(0)], [x, edges], "pool")
    into_the_pool(graph)
    assert "Pad" in kinds(graph)


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["pad1", "ceil", "same"])
def test_of_an_exported_network(pool: Any, tmp_path: Path) -> None:
    carded(replace(tiny.TINY, pool=pool, out=("c2",)), tmp_path / "w")
    export(read(tmp_path / "w"), tmp_path / "w.onnx")
    exported = ov.Core().read_model(tmp_path / "w.onnx")
    exported.reshape([-1, 3, -1, -1])
    changed = exported.clone()
    into_the_pool(changed)
    assert "Pad" not in kinds(changed)
    assert ("Pad" in kinds(exported)) == (pool in FRONT)  # where MindSpore learns to export it, this can go
    for size in ((64, 64), (65, 83)):
        x = np.random.default_rng(1).normal(0, 1, (2, 3, *size)).astype(np.float32)
        assert np.array_equal(outputs(changed, x)[0], outputs(exported, x)[0])

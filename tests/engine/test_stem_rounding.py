"""bf16 by the definition, and weights whose errors add up to nothing."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.graphs import bottleneck, images, kinds, outputs
from resnetfea.engine.quantize import convolutions, fold_norms, name_of
from resnetfea.engine.stem_rounding import handed_on, nearest_bf16, round_stem

LEAST, BITS = -133, 8  # exponent of bf16's smallest number; digits with the hidden one
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


def by_definition(value: float) -> float:
    """The nearest multiple of the step that numbers of this size have, the even one of two; in exact arithmetic."""
    step = math.ldexp(1.0, max(math.frexp(value)[1] - BITS, LEAST))
    nearest = math.copysign(
        round(value / step) * step, value
    )  # a power of two divides exactly, and round() takes evens
    return nearest if abs(nearest) < 2.0**128 else math.copysign(math.inf, value)


@given(st.lists(FINITE, min_size=1, max_size=50))
def test_nearest_is_as_bf16_is_defined(values: list[float]) -> None:
    found = nearest_bf16(np.array(values, np.float32))
    wanted = np.array([by_definition(value) for value in values], np.float32)
    assert np.array_equal(found.view(np.uint32), wanted.view(np.uint32))  # the sign of zero, too


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (0.0, 0.0),
        (1.0, 1.0),
        (1 + 2**-8, 1.0),  # in the middle: to the even one, below
        (1 + 3 * 2**-8, 1 + 2**-6),  # and above
        (1 + 2**-8 + 2**-20, 1 + 2**-7),
        (-(1 + 2**-8), -1.0),
        (255.6, 256.0),  # into the next power of two
        (3.4e38, math.inf),
        (3.3e38, 3.3e38 // 2**120 * 2**120),
        (2.0**-133, 2.0**-133),
        (2.0**-135, 0.0),
    ],
)
def test_nearest_of_some_numbers(value: float, wanted: float) -> None:
    assert by_definition(value) == wanted  # or the reference above proves nothing
    assert nearest_bf16(np.array([value], np.float32))[0] == wanted


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from((1, 2, 3, 7)),
    st.sampled_from((1e-30, 1e-3, 0.1, 1.0, 300.0)),
    st.sampled_from((0.0, 0.03, 1.0)),
)
def test_running_sums_stay_within_a_step(seed: int, side: int, size: float, roughness: float) -> None:
    """Of the whole way through the kernel, for smooth and for rough kernels."""
    draw = np.random.default_rng(seed)
    smooth = draw.normal(0, size, (4, 3, 1, 1)) * np.ones((4, 3, side, side))
    weight = (smooth + draw.normal(0, size * roughness, smooth.shape)).astype(np.float32)
    rounded = handed_on(weight)
    assert rounded.dtype == np.float32
    assert rounded.shape == weight.shape
    assert np.array_equal(nearest_bf16(rounded), rounded)
    largest = np.abs(weight).max((2, 3))
    step = np.ldexp(1.0, np.frexp(largest)[1] - BITS)  # of the kernel's largest weight
    drift = np.cumsum(on_the_way(rounded) - on_the_way(weight), axis=-1)
    assert (np.abs(drift).max(-1) <= step * 1.0001).all()
    assert (np.abs(rounded - weight).max((2, 3)) <= step * 1.5001).all()  # nor is any weight far off


def test_each_to_its_nearest_would_drift() -> None:
    """What it is for: without handing on, a smooth kernel's errors add up to dozens of steps."""
    weight = np.full((1, 3, 7, 7), 1 + 0.4 * 2**-7, np.float32)
    assert abs((nearest_bf16(weight) - weight).sum((2, 3))).max() > 19 * 2**-7
    assert abs((handed_on(weight) - weight).sum((2, 3))).max() <= 2**-8


def test_the_way_goes_from_a_weight_to_one_beside_it() -> None:
    """Only neighbours see nearly the same pixels. All of this kernel is a quarter of a step above a bf16 number."""
    raised = handed_on(np.full((1, 1, 7, 7), 1 + 2**-9, np.float32))[0, 0] > 1
    places = [place for place in way(7) if raised[place]]
    assert [way(7).index(place) for place in places] == list(range(2, 49, 4))
    assert all(abs(a[0] - b[0]) + abs(a[1] - b[1]) == 1 for a, b in pairwise(way(7)))


def test_only_the_stem_is_rounded() -> None:
    graph = bottleneck()
    fold_norms(graph)
    before = weights_of(graph)
    round_stem(graph)
    after = weights_of(graph)
    assert list(before) == list(after)
    assert {name for name in before if not np.array_equal(before[name], after[name])} == {"conv1"}
    assert np.array_equal(after["conv1"], handed_on(before["conv1"]))
    again = kinds(graph)
    round_stem(graph)
    assert (kinds(graph), np.array_equal(weights_of(graph)["conv1"], after["conv1"])) == (again, True)
    assert np.isfinite(outputs(graph, images())[0]).all()


def weights_of(graph: object) -> dict[str, NDArray[np.float32]]:
    return {name_of(one): np.array(one.input_value(1).get_node().data) for one in convolutions(graph)}


def way(side: int) -> list[tuple[int, int]]:
    return [(y, x) for y in range(side) for x in (range(side) if y % 2 == 0 else range(side - 1, -1, -1))]


def on_the_way(weight: NDArray[np.float32]) -> NDArray[np.float64]:
    """(C, 3, k, k) to (C, 3, k * k), in the order of the way."""
    return np.stack([weight[:, :, y, x].astype(np.float64) for y, x in way(weight.shape[-1])], axis=-1)

"""The stem's pool: its two kinds of padding are one and the same, down to the bit, and right at every border."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops
from numpy.typing import NDArray

from resnetfea.network import mode
from resnetfea.network.pooling import max_pool

pytestmark = pytest.mark.slow
SIZES = [(1, 1), (1, 4), (2, 3), (5, 5), (6, 7), (8, 8)]


def by_definition(x: NDArray[np.float32], pool: str) -> NDArray[np.float32]:
    """The largest pixel of every window, of those that are there."""
    height, width = x.shape[2:]

    def windows(size: int) -> list[slice]:
        front = 1 if pool == "pad1" else 0
        count = (size + 2 - 3) // 2 + 1 if pool == "pad1" else max(-(-(size - 3) // 2), 0) + 1
        return [slice(max(2 * index - front, 0), 2 * index - front + 3) for index in range(count)]

    rows = [[x[:, :, row, column].max((2, 3)) for column in windows(width)] for row in windows(height)]
    return np.stack([np.stack(row, 2) for row in rows], 2)


@pytest.mark.parametrize("pool", ["pad1", "ceil"])
@pytest.mark.parametrize("exportable", [True, False])
def test_each_window_gives_its_largest_pixel(pool: str, exportable: bool) -> None:
    cell = max_pool(pool, exportable=exportable)
    for size in SIZES if pool == "pad1" else SIZES[2:]:
        x = np.maximum(np.random.default_rng(0).standard_normal((2, 3, *size)), 0).astype(np.float32)
        with mode.eager():
            ours = cell(ms.Tensor(x)).asnumpy()
        assert np.array_equal(ours, by_definition(x, pool)), size


def test_infinite_and_missing_numbers_stay_what_they_are() -> None:
    x = np.zeros((1, 1, 6, 6), np.float32)
    x[0, 0, 0, 0], x[0, 0, 5, 5] = np.inf, np.nan
    with mode.eager():
        ours, exported = (max_pool("pad1", exportable=which)(ms.Tensor(x)).asnumpy() for which in (False, True))
    assert np.array_equal(ours, exported, equal_nan=True)
    assert ours[0, 0, 0, 0] == np.inf


def test_the_gradient_goes_to_the_winner_once() -> None:
    """The repeated pixel is the same pixel: what its copy wins comes back to it, and nothing twice."""
    x = ms.Tensor(np.arange(1, 26, dtype=np.float32).reshape(1, 1, 5, 5))
    with mode.eager():
        given = [ms.grad(Total(max_pool("pad1", exportable=which)))(x).asnumpy() for which in (True, False)]
    assert np.array_equal(*given)


class Total(nn.Cell):  # type: ignore[misc]
    """The sum of a cell's output."""

    def __init__(self, inner: nn.Cell) -> None:
        super().__init__()
        self.inner = inner

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """Any shape to a scalar."""
        return ops.reduce_sum(self.inner(x))

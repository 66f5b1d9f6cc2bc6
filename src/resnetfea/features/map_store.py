"""Whole maps in Parquet: a row group an image, so that memory holds one image's maps, and one image is read alone.

A layer's column is a struct of `shape` (C, H, W) and `data`, the float32 numbers as little-endian bytes in that order:
maps of any size in one file. A list of floats would cost three times the CPU, a file an image a million inodes
(docs/maps.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from resnetfea.features.store import Failure, Row, Store

SHAPE, DATA = pa.list_(pa.int32(), 3), pa.binary()
LARGEST = 2_000_000_000  # bytes of one map: Parquet counts a page's in 31 bits


class MapStore(Store):
    """As Store, with rows whose features are maps (C, H, W)."""

    shard_images = 64  # 0.4 GB at 224x224 and full width; what a kill loses is computed again in seconds
    group_rows = 1

    @contextmanager
    def writing(self, path: Path) -> Iterator[Callable[[Row | Failure], None]]:
        """As Store's. An image with a map that no value of Parquet can hold becomes a failure."""
        with super().writing(path) as put:
            yield lambda result: put(_storable(result))

    def _type(self, layer: str) -> pa.DataType:
        return pa.struct([("shape", SHAPE), ("data", DATA)])

    def _features(self, column: pa.Array) -> list[NDArray[np.float32]]:
        shapes, data = column.field("shape").to_pylist(), column.field("data")
        return [
            np.frombuffer(whole.as_buffer(), "<f4").reshape(shape)  # (C, H, W)
            for shape, whole in zip(shapes, data, strict=True)
        ]

    def _column(self, rows: list[Row], layer: str) -> pa.Array:
        (row,) = rows
        whole = np.ascontiguousarray(row.features[layer], "<f4")  # (C, H, W)
        return pa.StructArray.from_arrays([pa.array([whole.shape], SHAPE), _bytes(whole)], names=["shape", "data"])


def _storable(result: Row | Failure) -> Row | Failure:
    if isinstance(result, Row) and any(whole.nbytes > LARGEST for whole in result.features.values()):
        return Failure(result.path, "too large", f"its maps are too large ({result.width}x{result.height})")
    return result


def _bytes(array: NDArray[np.float32]) -> pa.Array:
    """One value that holds the array's bytes, without a copy."""
    ends = np.array([0, array.nbytes], np.int32)
    return pa.Array.from_buffers(DATA, 1, [None, pa.py_buffer(ends), pa.py_buffer(array)])

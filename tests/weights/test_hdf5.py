"""HDF5 in each of the builds that are read: the same as h5py says."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import h5py
import numpy as np
import pytest

from resnetfea.weights import hdf5
from weights.making import Fill, h5
from weights.making import h5_dataset as of

FOUR = np.arange(4, dtype="<f4")
NAMES = frozenset({"name", "dtype"})


def many(count: int, name: str) -> Fill:
    return lambda file: [file.create_dataset(name.format(i), data=FOUR + i) for i in range(count)]


def types(file: Any) -> None:
    for kind in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"):
        file[kind] = FOUR.astype(kind)


def attributes(file: Any) -> None:
    file["a"] = FOUR
    file["a"].attrs.update({f"x{i}": i for i in range(99)})


GOOD: dict[str, tuple[Fill, dict[str, Any]]] = {
    "one leaf of names": (many(8, "a{}/0"), {}),
    "a tree of names": (many(600, "a{}/0"), {}),
    "names in Chinese": (of(FOUR, name="核"), {}),
    "links in a header": (many(8, "a{}"), {"libver": "latest"}),
    "links in their order": (many(3, "{}a"), {"track_order": True}),
    "the format of HDF5 1.8": (many(3, "a/{}"), {"libver": "v108"}),
    "one number": (of(np.float32(7)), {}),
    "no numbers": (of(np.zeros((0, 3), "f4")), {}),
    "types": (types, {}),
    "many attributes": (attributes, {}),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_h5py_says(name: str) -> None:
    fill, how = GOOD[name]
    data = h5(fill, **how)
    found = hdf5.read(data, NAMES).arrays
    theirs: dict[str, Any] = {}
    with h5py.File(BytesIO(data)) as file:
        file.visititems(lambda path, one: theirs.update({path: one[()]} if isinstance(one, h5py.Dataset) else {}))
    assert found.keys() == theirs.keys() != set()
    for path, array in theirs.items():
        assert (found[path].dtype, found[path].shape) == (array.dtype, array.shape)
        assert found[path].tobytes() == array.tobytes()


def test_compact_numbers_lie_in_the_header() -> None:
    def fill(file: Any) -> None:
        how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        how.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((4,))
        h5py.h5d.create(file.id, b"a", h5py.h5t.IEEE_F32LE, space, how).write(h5py.h5s.ALL, h5py.h5s.ALL, FOUR)

    assert hdf5.read(h5(fill), NAMES).arrays["a"].tobytes() == FOUR.tobytes()


def test_bfloat16_as_keras_stores_it() -> None:
    """Opaque bytes, with an attribute beside."""
    upper = (FOUR.view("u4") >> 16).astype("u2")

    def fill(file: Any) -> None:
        file.create_dataset("a", data=upper.view("V2")).attrs["dtype"] = "bfloat16"

    assert hdf5.read(h5(fill), NAMES).arrays["a"].tobytes() == FOUR.tobytes()


def test_texts() -> None:
    def fill(file: Any) -> None:
        file.create_group("a").attrs["name"] = "conv1_核"  # of any length, in a heap
        file.create_group("b").attrs["name"] = np.bytes_(b"conv1")  # of fixed length
        file.create_group("c").attrs["other"] = [1, 2]

    assert hdf5.read(h5(fill), NAMES).texts == {"a": {"name": "conv1_核"}, "b": {"name": "conv1"}}

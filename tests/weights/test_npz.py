"""What np.savez and np.savez_compressed write comes out bit-equal, in any order of bytes and of indices."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from data import tiny
from resnetfea.errors import ResnetFeaError
from resnetfea.weights import look, npz_file, read
from weights.making import npy_of_header, npz_of, zipped
from weights.test_properties import MUTATIONS, mutated, only_ours
from weights.test_reading import assert_equal

KINDS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
DTYPES = st.sampled_from([np.dtype(order + kind) for kind in KINDS for order in "<>"] + [np.dtype("?")])
ARRAYS = npst.arrays(DTYPES, npst.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4))
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)
few = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
SAVERS: dict[str, Callable[..., None]] = {"savez": np.savez, "savez_compressed": np.savez_compressed}


def saved(saver: str, arrays: dict[str, NDArray[Any]]) -> bytes:
    stream = BytesIO()
    SAVERS[saver](stream, **arrays)
    return stream.getvalue()


@pytest.mark.parametrize("saver", SAVERS)
def test_bit_equal(saver: str, tmp_path: Path) -> None:
    (tmp_path / "w.npz").write_bytes(saved(saver, tiny.weights()))
    found = read(tmp_path / "w.npz")
    assert (found.container, found.ecosystem, found.count) == ("npz", "torchvision", 265)
    assert_equal(found.tensors, tiny.weights())


@pytest.mark.parametrize("saver", SAVERS)
@few
@given(st.dictionaries(NAMES, ARRAYS, min_size=1, max_size=4), st.booleans())
def test_any_plain_array(saver: str, arrays: dict[str, NDArray[Any]], fortran: bool) -> None:
    arrays = {name: np.asfortranarray(array) if fortran else array for name, array in arrays.items()}
    stream = BytesIO()
    SAVERS[saver](stream, **{f"a/{name}": array for name, array in arrays.items()})  # names of savez' own arguments
    found = npz_file.read(stream.getvalue()).tensors
    assert found.keys() == {f"a/{name}" for name in arrays}
    for name, array in arrays.items():
        assert found[f"a/{name}"].shape == array.shape
        assert found[f"a/{name}"].tobytes() == array.astype(array.dtype.newbyteorder("<")).tobytes()


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }    \n",
        b"{'shape': (2, 3), 'fortran_order': False, 'descr': '<f4'}\n",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L)}",
        b"{'descr':'<f4','fortran_order':False,'shape':(2,3)}\n",
    ],
)
@pytest.mark.parametrize("version", [b"\1\0", b"\2\0", b"\3\0"])
def test_headers_of_other_writers(header: bytes, version: bytes) -> None:
    numbers = np.arange(6, dtype="<f4").reshape(2, 3)
    data = zipped([("x.npy", npy_of_header(header, version) + numbers.tobytes())])
    np.testing.assert_array_equal(npz_file.read(data).tensors["x"], numbers)


def test_half_precision_kept_as_float32_compresses_well_and_is_read(tmp_path: Path) -> None:
    """Its lower mantissa bits are zero: the file is less than half as large as its numbers."""
    halves = {name: array.astype(np.float16).astype(np.float32) for name, array in tiny.weights().items()}
    wide = {"queue": np.zeros((64, 4096), np.float32)}
    data = saved("savez_compressed", halves | wide)
    assert len(data) < sum(array.nbytes for array in wide.values())
    (tmp_path / "w.npz").write_bytes(saved("savez_compressed", halves))
    assert_equal(read(tmp_path / "w.npz").tensors, halves)


def test_a_stream_that_cannot_seek_puts_sizes_behind_each_entry() -> None:
    class Pipe(BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise OSError

        def seek(self, *_: int) -> int:
            raise OSError

    pipe = Pipe()
    np.savez(pipe, x=np.arange(3.0), y=np.ones(2))
    assert b"PK\x07\x08" in pipe.getvalue()  # a data descriptor
    np.testing.assert_array_equal(npz_file.read(pipe.getvalue()).tensors["x"], np.arange(3.0))


@pytest.mark.parametrize("saver", SAVERS)
def test_mutated(saver: str) -> None:
    original, rng = saved(saver, dict(list(tiny.weights().items())[:6])), random.Random(5)
    assert only_ours(lambda: npz_file.read(original))
    for _ in range(MUTATIONS * 4):
        changed = mutated(original, rng)
        only_ours(lambda changed=changed: npz_file.read(changed))  # type: ignore[misc]


@pytest.mark.parametrize("saver", SAVERS)
def test_cut_short_anywhere(saver: str) -> None:
    original = saved(saver, {"conv1.weight": np.arange(12, dtype="<f4"), "bn1.bias": np.ones(3, "<f4")})
    for end in range(len(original)):
        with pytest.raises(ResnetFeaError):
            npz_file.read(original[:end])


def test_one_changed_bit_in_a_number_is_seen(tmp_path: Path) -> None:
    data = bytearray(npz_of(tiny.weights()))
    data[data.index(tiny.weights()["conv1.weight"].tobytes())] ^= 1
    (tmp_path / "w.npz").write_bytes(data)
    with pytest.raises(ResnetFeaError, match=re.escape("checksum of conv1.weight.npy")):
        look(tmp_path / "w.npz")

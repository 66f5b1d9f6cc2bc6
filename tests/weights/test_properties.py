"""Whatever the bytes are, a reader gives weights or ResnetFeaError, never anything else."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from resnetfea.errors import ResnetFeaError
from resnetfea.weights import ckpt_file, h5_file, look, onnx_file, safetensors_file, torch_file
from resnetfea.weights.arrays import BFLOAT16, as_float32, from_bytes
from resnetfea.weights.pickle_machine import Machine, Source
from resnetfea.weights.torch_file import CALLS, STORAGES
from weights.making import DATA, ckpt_of

pytestmark = pytest.mark.slow
MUTATIONS = 150  # of each file
SIMPLE = st.sampled_from([np.dtype(kind) for kind in ("<f4", "<f2", "<f8", "<i8", "<i4", "u1")])
ARRAYS = npst.arrays(SIMPLE, npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
few = settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def only_ours(read: Callable[[], object]) -> bool:
    """Whether it was read; any exception but ResnetFeaError fails the test."""
    try:
        read()
    except ResnetFeaError:
        return False
    return True


def machine() -> Machine:
    return Machine(CALLS, frozenset(STORAGES), lambda identity: identity)


def data_pkl() -> bytes:
    with zipfile.ZipFile(DATA / "tiny.pth") as archive:
        return archive.read("tiny/data.pkl")


@few
@given(st.binary(max_size=300))
def test_pickle_of_random_bytes(data: bytes) -> None:
    only_ours(lambda: machine().run(Source(data)))


OPCODES = b"()]}abcdeghijlNKMJGXqrsut0123QR\x80\x81\x82\x85\x86\x87\x88\x89\x8a\x8b\x8c\x93\x94\x95."


@few
@given(st.lists(st.sampled_from(OPCODES), max_size=60))
def test_pickle_of_random_opcodes(opcodes: list[int]) -> None:
    only_ours(lambda: machine().run(Source(bytes(opcodes) + b".")))


@pytest.mark.filterwarnings("ignore:invalid escape:DeprecationWarning")  # codecs, of a mutated STRING
def test_pickle_mutated() -> None:
    original, rng = data_pkl(), random.Random(1)
    assert only_ours(lambda: torch_machine().run(Source(original)))
    short = original[:2000] + b"u."  # the whole one takes 20 ms
    for _ in range(MUTATIONS * 4):
        changed = mutated(short, rng)
        only_ours(lambda changed=changed: torch_machine().run(Source(changed)))  # type: ignore[misc]


def torch_machine() -> Machine:
    return torch_file._machine({})


READERS: dict[str, Callable[[bytes], Any]] = {
    "tiny.pth": torch_file.read_zip,
    "tiny-legacy.pth": torch_file.read_legacy,
    "tiny.safetensors": safetensors_file.read,
    "tiny-mindcv.ckpt": ckpt_file.read,
    "tiny-keras-legacy.h5": h5_file.read,
    "tiny-keras3.weights.h5": h5_file.read,
    "tiny-bn.onnx": onnx_file.read,
    "tiny-folded.onnx": onnx_file.read,
    "tiny-tf2onnx-transposed.onnx": onnx_file.read,
}


@pytest.mark.parametrize("file", READERS)
def test_reader_of_mutated_files(file: str) -> None:
    original, rng = (DATA / file).read_bytes(), random.Random(2)
    for _ in range(MUTATIONS):
        changed = mutated(original, rng)
        only_ours(lambda changed=changed: READERS[file](changed))  # type: ignore[misc]


@pytest.mark.parametrize("file", READERS)
def test_look_at_mutated_structure(file: str, tmp_path: Path) -> None:
    """Where names and sizes are: most of a file is numbers, any of which is as good as another."""
    original, rng, path = (DATA / file).read_bytes(), random.Random(3), tmp_path / "mutated"
    places = structure_of(file, original)
    for _ in range(MUTATIONS // 3):
        changed = bytearray(original)
        for _ in range(rng.randint(1, 3)):
            changed[rng.choice(places)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        path.write_bytes(changed)
        only_ours(lambda: look(path))


def structure_of(file: str, data: bytes) -> range:
    if file == "tiny.pth":
        return range(data.index(b"PK\1\2"), len(data))  # the zip's directory
    if file.endswith(".onnx"):
        return range(data.index(b"Conv") - 200, min(data.index(b"Conv") + 4000, len(data)))
    return range(0, 4000)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """A byte changed, a piece cut out, doubled or overwritten; one to three times."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at, size = rng.randrange(len(changed)), rng.randint(1, 16)
        match rng.randrange(5):
            case 0 | 1:
                changed[at] = rng.randrange(256)
            case 2:
                del changed[at : at + size]
            case 3:
                changed[at:at] = changed[at : at + size]
            case 4:
                changed[at : at + size] = rng.choice((b"\0", b"\xff")) * size
        changed = changed or bytearray(b"\0")
    return bytes(changed)


@few
@given(st.dictionaries(st.text(min_size=1, max_size=8), ARRAYS, min_size=1, max_size=4))
def test_ckpt_round_trip(state: dict[str, NDArray[Any]]) -> None:
    found = ckpt_file.read(ckpt_of(state)).tensors
    assert found.keys() == state.keys()
    for name, array in state.items():
        assert found[name].shape == array.shape
        assert found[name].dtype == array.dtype
        assert found[name].tobytes() == array.tobytes()


@few
@given(ARRAYS)
def test_bytes_round_trip(array: NDArray[Any]) -> None:
    found = from_bytes(array.dtype.str[1:], array.shape, array.tobytes())
    assert found.tobytes() == array.tobytes()
    with pytest.raises(ResnetFeaError):
        from_bytes(array.dtype.str[1:], array.shape, array.tobytes() + b"\0")


@few
@given(st.integers(0, 0xFFFF))
def test_bfloat16_is_the_upper_half(bits: int) -> None:
    found = as_float32(from_bytes(BFLOAT16, (1,), bits.to_bytes(2, "little")))
    assert found.tobytes() == (bits << 16).to_bytes(4, "little")


def test_every_float16_is_exact() -> None:
    every = np.arange(1 << 16, dtype="<u2").view("<f2")
    wide = as_float32(every)
    kept = wide.astype(np.float16)
    finite = np.isfinite(every)
    assert (kept[finite].view(np.uint16) == every[finite].view(np.uint16)).all()
    assert np.isnan(wide).sum() == np.isnan(every).sum()


@few
@given(st.floats(width=64))
def test_float64_is_exact_or_refused(value: float) -> None:
    array = np.array([value])
    with np.errstate(over="ignore"):
        exact = np.isnan(value) or float(np.float32(value)) == value
    if exact:
        np.testing.assert_array_equal(as_float32(array).astype(np.float64), array)
    else:
        with pytest.raises(ResnetFeaError, match="float32 cannot hold"):
            as_float32(array)


@pytest.mark.parametrize("dtype", ["i8", "i4", "u1", "?", "c8"])
def test_only_floats_are_weights(dtype: str) -> None:
    with pytest.raises(ResnetFeaError, match="not floating-point"):
        as_float32(np.zeros(3, dtype))

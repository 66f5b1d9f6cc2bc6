"""A file that lacks something is refused with its name and the tensor's; look() still says what is there."""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from data import tiny
from resnetfea.errors import ResnetFeaError
from resnetfea.weights import look, read
from weights.making import DATA, WRITERS, Arrays

VICTIM = "layer2.0.conv2.weight"
State = dict[str, NDArray[Any]]


def missing(state: State) -> None:
    del state[VICTIM]


def renamed(state: State) -> None:
    state["layer2.0.conv9.weight"] = state.pop(VICTIM)


def misshapen(state: State) -> None:
    state[VICTIM] = state[VICTIM].reshape(-1, 1, 3, 3)


def integers(state: State) -> None:
    state[VICTIM] = state[VICTIM].astype(np.int32)


def unknown(state: State) -> None:
    state["mystery"] = np.zeros(3, np.float32)


def inexact(state: State) -> None:
    state[VICTIM] = state[VICTIM].astype(np.float64) + 1e-12


DAMAGES: list[tuple[Callable[[State], None], str]] = [  # what happens, and a name that the error must have
    (missing, VICTIM),
    (renamed, VICTIM),
    (renamed, "layer2.0.conv9.weight"),
    (misshapen, VICTIM),
    (integers, VICTIM),
    (unknown, "mystery"),
    (inexact, VICTIM),
]


@pytest.fixture(params=WRITERS)
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Arrays], Path]:
    def to_file(state: Arrays) -> Path:
        path = tmp_path / f"weights.{request.param}"
        path.write_bytes(WRITERS[request.param](state))
        return path

    return to_file


def test_undamaged(write: Callable[[Arrays], Path]) -> None:
    """The writers of these tests are right, so that what follows is refused for its damage only."""
    found = read(write(tiny.weights()))
    assert all(np.array_equal(found.tensors[name], array) for name, array in tiny.weights().items())


@pytest.mark.parametrize(("damage", "name"), DAMAGES, ids=lambda part: getattr(part, "__name__", part))
def test_one_tensor_wrong(write: Callable[[Arrays], Path], damage: Callable[[State], None], name: str) -> None:
    state: State = dict(tiny.weights())
    damage(state)
    path = write(state)
    with pytest.raises(ResnetFeaError) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert name in str(caught.value)
    found = look(path)
    assert found.missing == ((VICTIM,) if VICTIM not in state else ())
    assert found.count == len(state)
    assert found.variant.width_per_group == 2


FILES = sorted(
    path.name for path in DATA.glob("tiny*") if path.suffix in (".pth", ".safetensors", ".ckpt", ".h5", ".onnx")
)


@pytest.mark.parametrize("part", [0.001, 0.2, 0.5, 0.9, 0.999, 1.0])
@pytest.mark.parametrize("file", FILES)
def test_cut_short(file: str, part: float, tmp_path: Path) -> None:
    data = (DATA / file).read_bytes()
    path = tmp_path / file
    path.write_bytes(data[: min(int(len(data) * part), len(data) - 1)])
    with pytest.raises(ResnetFeaError, match=str(path)):
        read(path)


@pytest.mark.parametrize("file", [file for file in FILES if not file.endswith(".onnx")])
def test_more_behind_the_end(file: str, tmp_path: Path) -> None:
    path = tmp_path / file
    path.write_bytes((DATA / file).read_bytes() + b"\x00more")
    with pytest.raises(ResnetFeaError, match=str(path)):
        look(path)


def test_ckpt_checksum(tmp_path: Path) -> None:
    """mindspore.save_checkpoint(crc_check=True) puts it behind the message."""
    data, path = (DATA / "tiny-mindcv.ckpt").read_bytes(), tmp_path / "checked.ckpt"
    path.write_bytes(data + b"crc_num" + binascii.crc32(data).to_bytes(10, "big"))
    assert len(read(path).tensors) == 265
    path.write_bytes(data + b"crc_num" + (binascii.crc32(data) ^ 1).to_bytes(10, "big"))
    with pytest.raises(ResnetFeaError, match="checksum"):
        look(path)


def onnx_file(path: Path, change: Callable[[TensorProto], TensorProto | None]) -> str:
    """tiny-bn.onnx with one convolution's weight changed; its name in the file."""
    model = onnx.load(DATA / "tiny-bn.onnx")
    victim = tiny.weights()[VICTIM].tobytes()
    place = next(i for i, t in enumerate(model.graph.initializer) if numpy_helper.to_array(t).tobytes() == victim)
    tensor = model.graph.initializer.pop(place)
    changed = change(tensor)
    if changed is not None:
        model.graph.initializer.append(changed)
    path.write_bytes(model.SerializeToString())
    return str(tensor.name)


def test_onnx_tensor_missing(tmp_path: Path) -> None:
    path = tmp_path / "w.onnx"
    name = onnx_file(path, lambda tensor: None)
    with pytest.raises(ResnetFeaError, match="not stored") as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert name in str(caught.value)


def test_onnx_tensor_misshapen(tmp_path: Path) -> None:
    path = tmp_path / "w.onnx"
    onnx_file(path, lambda t: helper.make_tensor(t.name, 1, [8, 2, 3, 3], bytes(8 * 2 * 9 * 4), raw=True))
    with pytest.raises(ResnetFeaError, match=f"{path}.*{VICTIM}"):
        read(path)
    assert look(path).problems


def test_onnx_tensor_of_integers(tmp_path: Path) -> None:
    path = tmp_path / "w.onnx"
    onnx_file(path, lambda t: helper.make_tensor(t.name, TensorProto.INT32, t.dims, t.raw_data, raw=True))
    with pytest.raises(ResnetFeaError, match=f"{path}.*{VICTIM} holds int32"):
        read(path)


def test_onnx_tensor_shorter_than_its_shape(tmp_path: Path) -> None:
    path = tmp_path / "w.onnx"
    name = onnx_file(path, lambda t: TensorProto(name=t.name, data_type=1, dims=t.dims, raw_data=t.raw_data[:-4]))
    with pytest.raises(ResnetFeaError, match="bytes are there") as caught:
        look(path)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("layer2.1.conv2.weight", np.nan, "not finite"),
        ("bn1.bias", np.inf, "not finite"),
        ("layer4.0.bn3.running_var", -1.0, "negative variances"),
    ],
)
def test_numbers_that_no_network_can_have(name: str, value: float, reason: str, tmp_path: Path) -> None:
    state = tiny.weights()
    state[name].reshape(-1)[0] = value
    save_file(state, tmp_path / "weights.safetensors")
    with pytest.raises(ResnetFeaError, match=rf"weights\.safetensors.*{re.escape(name)} .*{reason}"):
        read(tmp_path / "weights.safetensors")


def test_a_known_name_is_not_taken_from_it_by_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "opennsfw").write_text("not weights")
    monkeypatch.chdir(tmp_path)
    assert read("opennsfw").recipe_of == "open_nsfw"
    with pytest.raises(ResnetFeaError, match="cannot be read as weights"):
        read("./opennsfw")


def test_quantised_weights_are_one_sentence(tmp_path: Path) -> None:
    state = {name: array.astype(np.int32) for name, array in tiny.weights().items()}
    save_file(state, tmp_path / "w")
    with pytest.raises(ResnetFeaError, match=r"conv1\.weight holds int32, not floating-point numbers; so do 264 more$"):
        read(tmp_path / "w")

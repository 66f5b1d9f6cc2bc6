"""Keras' files, in each layout that some version writes, come out bit-equal: kernels turned, biases folded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from data import tiny
from resnetfea.errors import ResnetFeaError
from resnetfea.weights import look, read
from resnetfea.weights.h5_file import read as read_raw
from weights.making import DATA, h5, h5_of

LEGACY, MODEL, KERAS_3 = (DATA / f"tiny-keras{name}.h5" for name in ("-legacy", "-model", "3.weights"))
Array = NDArray[np.float32]
Named = dict[str, Array]  # by layer/variable


def truth() -> Named:
    """What write_keras_files.py put into them, as they must be read: BN(y + b) is BN(y) with a mean lowered by b."""
    expected = tiny.weights()
    for conv, norm in tiny.convolutions():
        expected[f"{norm}.running_mean"] = expected[f"{norm}.running_mean"] - tiny.biases()[conv]
    return expected


def assert_truth(path: Path, beside: set[str]) -> None:
    found = read(path)
    assert (found.container, found.ecosystem) == ("h5", "keras")
    assert set(found.unused) == beside
    assert list(found.tensors) == list(truth())
    for name, array in truth().items():
        assert found.tensors[name].dtype == np.float32
        assert found.tensors[name].tobytes() == np.ascontiguousarray(array).tobytes(), name


HEAD = {"predictions/kernel", "predictions/bias"}
SGD = {"optimizer_weights/sgd/iteration", "optimizer_weights/sgd/learning_rate"}


@pytest.mark.parametrize(
    ("path", "beside"),
    [(LEGACY, HEAD), (MODEL, HEAD | SGD), (KERAS_3, HEAD | {"optimizer/vars/0", "optimizer/vars/1"})],
    ids=lambda part: getattr(part, "name", ""),
)
def test_what_keras_wrote(path: Path, beside: set[str]) -> None:
    assert_truth(path, beside)
    weight, bias = tiny.classifier()
    assert np.array_equal(read(path).fc["fc.weight"], weight)
    assert np.array_equal(read(path).fc["fc.bias"], bias)


def named() -> Named:
    """All variables of the tiny model, by layer/variable."""
    return dict(read_raw(LEGACY.read_bytes()).tensors)


def stored(names: Callable[[str], str]) -> Callable[[Any], None]:
    """The tiny model, each variable at the path that `names` says."""

    def fill(file: Any) -> None:
        for name, array in named().items():
            file[names(name)] = array

    return fill


LAYOUTS: dict[str, Callable[[str], str]] = {  # layer/variable to its path
    "Keras 2": lambda name: f"{layer(name)}/{name}:0",
    "Keras 2, the session's second model": lambda name: f"{layer(name)}/{layer(name)}_1/{name.split('/')[1]}:0",
    "Keras 3.0": lambda name: name,
    "Keras 2, whole": lambda name: f"model_weights/{layer(name)}/{name}:0",
    "a model in a model": lambda name: f"model_weights/resnet50/{name}",
    "a model in a model in a model": lambda name: f"outer/resnet50/{name}:0",
}


def layer(name: str) -> str:
    return name.split("/")[0]


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_other_versions(layout: str, tmp_path: Path) -> None:
    (tmp_path / "w.h5").write_bytes(h5(stored(LAYOUTS[layout])))
    assert_truth(tmp_path / "w.h5", HEAD)


def test_keras_2_saves_what_its_optimiser_has(tmp_path: Path) -> None:
    momentum = "optimizer_weights/SGD/conv1_conv/kernel/momentum:0"

    def fill(file: Any) -> None:
        stored(LAYOUTS["Keras 2, whole"])(file)
        file[momentum] = np.zeros((7, 7, 3, 4), "f4")

    (tmp_path / "w.h5").write_bytes(h5(fill))
    assert_truth(tmp_path / "w.h5", {*HEAD, momentum})


def nameless(change: Callable[[Any], None] = lambda file: None) -> bytes:
    """tiny-keras3.weights.h5 as Keras 3.0 to 3.5 write it: no layer says its name."""
    stream = BytesIO(KERAS_3.read_bytes())
    with h5py.File(stream, "r+") as file:
        file.visititems(lambda _, one: one.attrs.clear())
        change(file)
    return stream.getvalue()


DENSE = {"layers/dense/vars/0", "layers/dense/vars/1", "optimizer/vars/0", "optimizer/vars/1"}


def test_layers_without_names_are_known_by_their_order(tmp_path: Path) -> None:
    (tmp_path / "w.h5").write_bytes(nameless())
    assert_truth(tmp_path / "w.h5", DENSE)


def test_a_model_in_a_model_without_names(tmp_path: Path) -> None:
    def change(file: Any) -> None:
        file.move("layers", "inner")
        file.move("inner", "layers/functional/layers")
        file["layers/dense/vars/0"] = np.zeros((5, 3), "f4")

    (tmp_path / "w.h5").write_bytes(nameless(change))
    inner = {f"layers/functional/layers/dense/vars/{index}" for index in (0, 1)}
    assert_truth(tmp_path / "w.h5", inner | {"layers/dense/vars/0", "optimizer/vars/0", "optimizer/vars/1"})


def test_order_is_taken_for_a_whole_resnet_only(tmp_path: Path) -> None:
    def change(file: Any) -> None:
        del file["layers/conv2d_52"]

    (tmp_path / "w.h5").write_bytes(nameless(change))
    with pytest.raises(ResnetFeaError, match=r"52 of the kind conv2d are not those of a ResNet"):
        look(tmp_path / "w.h5")


def test_order_that_is_not_keras_own_is_refused_by_shapes(tmp_path: Path) -> None:
    def change(file: Any) -> None:
        for place, other in (("conv2d_1", "conv2d_2"), ("batch_normalization_9", "batch_normalization_10")):
            file.move(f"layers/{place}", "layers/x")
            file.move(f"layers/{other}", f"layers/{place}")
            file.move("layers/x", f"layers/{other}")

    (tmp_path / "w.h5").write_bytes(nameless(change))
    with pytest.raises(ResnetFeaError, match="conv2_block1_1_conv/kernel is"):
        read(tmp_path / "w.h5")


def test_a_layer_with_more_variables_than_its_kind_has(tmp_path: Path) -> None:
    stream = BytesIO(KERAS_3.read_bytes())
    with h5py.File(stream, "r+") as file:
        file["layers/conv2d/vars/2"] = np.zeros(4, "f4")
    (tmp_path / "w.h5").write_bytes(stream.getvalue())
    with pytest.raises(ResnetFeaError, match=r"unknown \(1\): layers/conv2d/vars/2"):
        read(tmp_path / "w.h5")


def test_two_models_in_one_file(tmp_path: Path) -> None:
    def fill(file: Any) -> None:
        stored(lambda name: f"a/{name}")(file)
        stored(lambda name: f"b/{name}")(file)

    (tmp_path / "w.h5").write_bytes(h5(fill))
    with pytest.raises(ResnetFeaError, match="two models"):
        look(tmp_path / "w.h5")


def test_compressed_files_say_what_to_do(tmp_path: Path) -> None:
    def fill(file: Any) -> None:
        for name, array in named().items():
            file.create_dataset(name, data=array, compression="gzip")

    (tmp_path / "w.h5").write_bytes(h5(fill))
    with pytest.raises(ResnetFeaError, match=r"w\.h5: .*with compression; save it again with Keras"):
        look(tmp_path / "w.h5")


VICTIM = "conv3_block1_2_conv/kernel"
CANONICAL = "layer2.0.conv2.weight"


def remove(variables: Named) -> None:
    del variables[VICTIM]


def rename(variables: Named) -> None:
    variables["conv3_block1_9_conv/kernel"] = variables.pop(VICTIM)


def reshape(variables: Named) -> None:
    variables[VICTIM] = variables[VICTIM].reshape(3, 3, -1, 1)


def transpose(variables: Named) -> None:
    """The kernel of another framework."""
    variables[VICTIM] = variables[VICTIM].transpose(3, 2, 0, 1)


def lose_bias(variables: Named) -> None:
    del variables["conv3_block1_2_conv/bias"]


def count_bias(variables: Named) -> None:
    variables["conv3_block1_2_conv/bias"] = np.arange(4, dtype=np.int32)


def lose_bias_in_nan(variables: Named) -> None:
    variables["conv3_block1_2_conv/bias"] = np.full(4, np.nan, np.float32)


def enlarge_bias(variables: Named) -> None:
    variables["conv3_block1_2_conv/bias"] = np.zeros(99, np.float32)


DAMAGES: list[tuple[Callable[[Named], None], str]] = [
    (remove, rf"missing \(1\): {re.escape(CANONICAL)}"),
    (rename, rf"missing \(1\): {re.escape(CANONICAL)}.*unknown \(1\): conv3_block1_9_conv/kernel"),
    (reshape, re.escape(VICTIM)),
    (transpose, re.escape(VICTIM)),
    (lose_bias, r"missing \(1\): layer2\.0\.conv2\.bias"),
    (enlarge_bias, "conv3_block1_2_conv/bias"),
    (count_bias, "conv3_block1_2_conv/bias holds int32"),
    (lose_bias_in_nan, "conv3_block1_2_conv/bias holds numbers that are not finite$"),
]


@pytest.mark.parametrize(("damage", "reason"), DAMAGES, ids=[damage.__name__ for damage, _ in DAMAGES])
def test_one_variable_wrong(damage: Callable[[Named], None], reason: str, tmp_path: Path) -> None:
    variables = named()
    damage(variables)
    path = tmp_path / "w.h5"
    path.write_bytes(h5_of(variables))
    with pytest.raises(ResnetFeaError, match=reason) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_names_are_those_of_keras_own_loader() -> None:
    """Each layer's weight_names, which Keras goes by, are the paths below its group."""
    with h5py.File(LEGACY) as file:
        listed = {
            f"{group}/{name}" for group in layer_names(file) for name in map(as_text, file[group].attrs["weight_names"])
        }
    assert {f"{layer(name)}/{name}" for name in named()} == listed


def layer_names(file: Any) -> Iterator[str]:
    yield from map(as_text, file.attrs["layer_names"])


def as_text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value

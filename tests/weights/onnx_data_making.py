"""The tiny ONNX model with its numbers in other files, and what is done to such models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import external_data_helper

from data import tiny
from resnetfea.weights import read
from weights.onnx_making import Style, model

BIG = "layer4.0.conv2.weight"


def write(folder: Path, location: str = "w.data", *, many: bool = False, align: int = 1) -> Path:
    """The tiny model with all its numbers elsewhere, spans one behind the other."""
    written = model(Style())
    position = 0
    for index, tensor in enumerate(written.graph.initializer):
        name = f"{location}{index}" if many else location
        position = -(-position // align) * align
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("r+b" if place.exists() else "wb") as file:
            file.seek(0 if many else position)
            file.write(tensor.raw_data)
        external_data_helper.set_external_data(tensor, name, 0 if many else position, len(tensor.raw_data))
        position += len(tensor.raw_data)
        tensor.ClearField("raw_data")
    path = folder / "w.onnx"
    path.write_bytes(written.SerializeToString())
    return path


def change(path: Path, edit: Callable[[dict[str, str]], object]) -> None:
    """Where BIG lies, edited."""
    written = onnx.load(path, load_external_data=False)
    tensor = next(tensor for tensor in written.graph.initializer if tensor.name == BIG)
    entries = {entry.key: entry.value for entry in tensor.external_data}
    edit(entries)
    del tensor.external_data[:]
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    path.write_bytes(written.SerializeToString())


def whole(path: Path) -> bool:
    found = read(path).tensors
    return all(np.array_equal(found[name], array) for name, array in tiny.weights().items())

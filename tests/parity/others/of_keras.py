"""keras.applications' ResNets on the torch backend, in each of Keras' own formats; every convolution has a bias."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import h5py
import keras
import numpy as np
import torch
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

from data.write_keras_files import keras_name
from parity.others.case import SEED, SMALL, Case, Model
from parity.others.torch_models import PARTS, drawn, order_of_resnet
from parity.references import Floats
from resnetfea.network.variant import Variant
from rich_weights import rich_input

LIBRARY = "keras"


def resnet(name: str, form: str, folder: Path) -> Model:
    """With its classifier of 1000 for the file; without, of any size, for the maps."""
    depth = int(name.removeprefix("ResNet"))
    whole = getattr(keras.applications, name)(weights=None)
    fill(whole, Variant(depth=depth))
    bare = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(None, None, 3))
    bare.set_weights(whole.get_weights()[:-2])
    last = [f"conv{stage}_block{blocks}_out" for stage, blocks in enumerate(Variant(depth=depth).layer_nums, start=2)]
    maps = keras.Model(bare.input, [bare.get_layer(name).output for name in last])

    def run(x: Floats) -> dict[str, Floats]:
        with torch.inference_mode():
            found = [value.numpy() for value in maps(x.transpose(0, 2, 3, 1), training=False)]
        return {
            f"c{index}": np.ascontiguousarray(one.transpose(0, 3, 1, 2)) for index, one in enumerate(found, start=2)
        }

    return Model(saved(whole, folder / form), run)


def saved(model: keras.Model, file: Path) -> Path:
    """As its name says; Keras 3 still writes what Keras 2 wrote as save_weights("notop.h5"), by another name."""
    if file.name.endswith(".weights.h5"):
        model.save_weights(file)
    elif file.name == "model.h5":
        model.save(file)
    else:
        with h5py.File(file, "w") as open_file:
            save_weights_to_hdf5_group(open_file, model)
    return file


def fill(model: keras.Model, variant: Variant) -> None:
    """By the names of its layers; a bias is up to half of its channel's deviation."""
    state = drawn(variant)
    for index, (conv, norm) in enumerate(order_of_resnet(variant)):
        deviation = np.sqrt(state[f"{norm}.running_var"])
        bias = rich_input(deviation.shape, SEED + index) * np.float32(0.25) * deviation
        kernel = state[f"{conv}.weight"].transpose(2, 3, 1, 0)  # (out, in, k, k) to (k, k, in, out)
        model.get_layer(keras_name(conv, "conv")).set_weights([kernel, bias])
        model.get_layer(keras_name(norm, "bn")).set_weights([state[f"{norm}.{part}"] for part in PARTS])


CASES = (
    Case(name="ResNet50", build=partial(resnet, "ResNet50", "resnet50.weights.h5")),
    Case(name="ResNet50-model", build=partial(resnet, "ResNet50", "model.h5"), inputs=SMALL),
    Case(name="ResNet50-keras2", build=partial(resnet, "ResNet50", "weights.h5"), inputs=SMALL),
    Case(name="ResNet152", build=partial(resnet, "ResNet152", "resnet152.weights.h5"), inputs=SMALL),
)

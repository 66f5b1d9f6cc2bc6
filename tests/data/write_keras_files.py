"""Write the files of this folder that Keras makes, and what Keras itself computes from them. Runs on Keras with torch.

Usage: PYTHONPATH=src:tests python tests/data/write_keras_files.py
"""

from __future__ import annotations

import os
import re

os.environ["KERAS_BACKEND"] = "torch"

import h5py
import keras
import numpy as np
from keras import layers
from keras.src.applications.resnet import stack_residual_blocks_v1
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

from data.tiny import CLASSES, HERE, INPUT, SEED, TINY, biases, classifier, convolutions, weights
from rich_weights import digest, rich_input

MAPS = {"c2": "conv2_block3_out", "c3": "conv3_block4_out", "c4": "conv4_block6_out", "c5": "conv5_block3_out"}


def main() -> None:
    """Each file, then its size."""
    model = filled(resnet())
    with h5py.File(HERE / "tiny-keras-legacy.h5", "w") as file:  # as Model.save_weights("w.h5") did until Keras 3
        save_weights_to_hdf5_group(file, model)
    model.compile(keras.optimizers.SGD())  # its two numbers are saved with the model
    model.save(HERE / "tiny-keras-model.h5")
    model.save_weights(HERE / "tiny-keras3.weights.h5")
    write_expected(model)
    for path in sorted(HERE.glob("tiny-keras*")):
        print(f"{path.stat().st_size:8} {path.name}")


def resnet() -> keras.Model:
    """keras.applications.ResNet50 with another width: the same functions and names in the same order.

    It takes no width itself. What stands here in the place of its ResNet() is stem and head, layer by layer.
    """
    image = layers.Input((None, None, 3))
    x = layers.ZeroPadding2D(3, name="conv1_pad")(image)
    x = layers.Conv2D(TINY.stem_channels, 7, strides=2, name="conv1_conv")(x)
    x = layers.BatchNormalization(axis=3, epsilon=1.001e-5, name="conv1_bn")(x)
    x = layers.Activation("relu", name="conv1_relu")(x)
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for stage, blocks in enumerate(TINY.layer_nums):
        filters, stride = TINY.width_per_group * 2**stage, 2 if stage else 1
        x = stack_residual_blocks_v1(x, filters, blocks, stride1=stride, name=f"conv{stage + 2}")
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = layers.Dense(CLASSES, activation="softmax", name="predictions")(x)
    return keras.Model(image, x, name="resnet50")


def filled(model: keras.Model) -> keras.Model:
    """The tiny weights in it, and biases."""
    state, bias = weights(), biases()
    for conv, norm in convolutions():
        kernel = state[f"{conv}.weight"].transpose(2, 3, 1, 0)  # (out, in, k, k) to (k, k, in, out)
        model.get_layer(keras_name(conv, "conv")).set_weights([kernel, bias[conv]])
        parts = ("weight", "bias", "running_mean", "running_var")
        model.get_layer(keras_name(norm, "bn")).set_weights([state[f"{norm}.{part}"] for part in parts])
    weight, shift = classifier()
    model.get_layer("predictions").set_weights([weight.T, shift])
    return model


def keras_name(name: str, ending: str) -> str:
    """A convolution's or a norm's name in keras.applications."""
    block = re.fullmatch(r"layer(\d)\.(\d+)\.(?:(?:conv|bn)(\d)|downsample\.\d)", name)
    if block is None:
        return f"conv1_{ending}"
    return f"conv{int(block[1]) + 1}_block{int(block[2]) + 1}_{block[3] or 0}_{ending}"


def write_expected(model: keras.Model) -> None:
    """c2 to c5 as (N, C, H, W), by Keras."""
    x = rich_input(INPUT, SEED)
    maps = keras.Model(model.input, [model.get_layer(name).output for name in MAPS.values()])
    outputs = maps.predict(x.transpose(0, 2, 3, 1), verbose=0)
    expected = {name: output.transpose(0, 3, 1, 2) for name, output in zip(MAPS, outputs, strict=True)}
    np.savez_compressed(HERE / "tiny-keras-expected.npz", digest=digest({"x": x}), **expected)


if __name__ == "__main__":
    main()

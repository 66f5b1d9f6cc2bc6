"""Write the ONNX files that TensorFlow's exporter makes of a Keras ResNet-50. Runs with tensorflow and tf2onnx.

Usage: PYTHONPATH=src:tests python tests/data/write_tensorflow_files.py
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx
from keras import layers

from data.tiny import HERE, INPUT, SEED, TINY, weights
from rich_weights import digest, rich_input

EPS = 1.001e-5  # keras.applications.ResNet50's


def main() -> None:
    """The same network twice: as tf2onnx writes it, and with none of its optimisers, so full of transposes."""
    model = network()
    signature = (tf.TensorSpec((1, *INPUT[2:], 3), tf.float32, name="input"),)
    tf2onnx.convert.from_keras(model, signature, opset=13, output_path=str(HERE / "tiny-tf2onnx.onnx"))
    path = HERE / "tiny-tf2onnx-transposed.onnx"
    tf2onnx.convert.from_keras(model, signature, opset=13, optimizers=OrderedDict(), output_path=str(path))
    for name in ("tiny-tf2onnx", "tiny-tf2onnx-transposed"):
        write_answer(name)


def write_answer(name: str) -> None:
    """What ONNX Runtime makes of one seeded input, (N, C, H, W) as everything here."""
    path, x = HERE / f"{name}.onnx", rich_input(INPUT, SEED)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    maps = session.run(None, {"input": np.ascontiguousarray(x.transpose(0, 2, 3, 1))})
    expected: dict[str, Any] = {
        f"c{i}": np.ascontiguousarray(one.transpose(0, 3, 1, 2)) for i, one in enumerate(maps, 2)
    }
    np.savez_compressed(HERE / f"{name}-expected.npz", digest=digest({"x": x}), **expected)
    transposes = sum(node.op_type == "Transpose" for node in onnx.load(path).graph.node)
    print(f"{path.stat().st_size:8} {name}, {transposes} transposes")


def network() -> keras.Model:
    """keras.applications.ResNet50's forward pass (stride in the 1x1, biases, padding as layers), as narrow as TINY."""
    image = layers.Input((*INPUT[2:], 3), batch_size=1)
    x = convolution(layers.ZeroPadding2D(3)(image), "conv1", "bn1", stride=2, padding="valid")
    x = layers.ZeroPadding2D(1)(layers.Activation("relu")(x))
    x = layers.MaxPooling2D(3, strides=2)(x)
    maps = []
    for stage, blocks in enumerate(TINY.layer_nums, start=1):
        for index in range(blocks):
            x = block(x, f"layer{stage}.{index}", stride=2 if stage > 1 and index == 0 else 1)
        maps.append(x)
    return keras.Model(image, maps)


def block(x: Any, name: str, stride: int) -> Any:
    shortcut = x
    if name.endswith(".0"):
        shortcut = convolution(x, f"{name}.downsample.0", f"{name}.downsample.1", stride)
    x = layers.Activation("relu")(convolution(x, f"{name}.conv1", f"{name}.bn1", stride))
    x = layers.Activation("relu")(convolution(x, f"{name}.conv2", f"{name}.bn2"))
    x = convolution(x, f"{name}.conv3", f"{name}.bn3")
    return layers.Activation("relu")(layers.Add()([shortcut, x]))


def convolution(x: Any, conv: str, norm: str, stride: int = 1, padding: str = "same") -> Any:
    """A convolution with bias, and its norm. The biases are drawn here: torch's ResNet has none."""
    state = weights()
    kernel = state[f"{conv}.weight"].transpose(2, 3, 1, 0)
    layer = layers.Conv2D(kernel.shape[3], kernel.shape[0], strides=stride, padding=padding)
    normalise = layers.BatchNormalization(epsilon=EPS)
    x = normalise(layer(x))
    seed = int.from_bytes(hashlib.sha256(conv.encode()).digest()[:4], "little")
    layer.set_weights([kernel, rich_input((kernel.shape[3],), seed) / 16])
    normalise.set_weights([state[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")])
    return x


if __name__ == "__main__":
    main()

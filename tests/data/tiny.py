"""The tiny ResNet-50 that every file of this folder holds: 265 tensors, all of them narrow. numpy only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resnetfea.network.variant import Variant
from rich_weights import State, rich_input, rich_state

HERE = Path(__file__).resolve().parent
SEED = 7
CLASSES = 5
INPUT = (1, 3, 64, 64)

TINY = Variant(stem_channels=4, res2_channels=8, width_per_group=2)
TINY_BN = replace(TINY, pool="pad1")  # what tiny-bn.onnx computes
TINY_FOLDED = replace(TINY, pool="pad1", stride_in="1x1")  # what tiny-folded.onnx computes, its eps folded away


def weights() -> State:
    """The backbone by torchvision's names. The same for all three variants: they differ in no shape."""
    return rich_state(TINY, SEED)


def classifier() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weight and bias of a head that readers have to leave out."""
    return rich_input((CLASSES, TINY.out_channels[3]), SEED + 1), rich_input((CLASSES,), SEED + 2)


def biases() -> State:
    """A bias for each convolution, by its name, as Keras has them: up to half of its channels' deviation."""
    state = weights()
    found: State = {}
    for index, (conv, norm) in enumerate(convolutions()):
        deviation = np.sqrt(state[f"{norm}.running_var"])
        found[conv] = rich_input(deviation.shape, SEED + 3 + index) * np.float32(0.25) * deviation
    return found


def convolutions() -> list[tuple[str, str]]:
    """Each convolution's name with its norm's."""
    norms = [name.removesuffix(".running_var") for name in weights() if name.endswith(".running_var")]
    return [(norm.replace("bn", "conv").replace("downsample.1", "downsample.0"), norm) for norm in norms]

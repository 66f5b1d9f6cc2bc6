"""What goes wrong with a port's tensors on their way: each gives a function that changes a state. numpy only."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rich_weights import State

Edit = Callable[[State], None]
PARTS = ("weight", "bias", "running_mean", "running_var")
SEED = 5
FILL = np.float32(0.01)  # the source document's weight_init_ones, which is what its port has before it loads


def copied(norm: str, other: str, *parts: str) -> Edit:
    """A norm has numbers of another one: all four, or those of these names."""

    def edit(state: State) -> None:
        for part in parts or PARTS:
            state[f"{norm}.{part}"] = state[f"{other}.{part}"].copy()

    return edit


def exchanged(*pairs: tuple[str, str]) -> Edit:
    """Two layers have each other's numbers."""

    def edit(state: State) -> None:
        for one, other in pairs:
            for part in ("weight", *PARTS[1:]):
                if f"{one}.{part}" in state:
                    first, second = f"{one}.{part}", f"{other}.{part}"
                    state[first], state[second] = state[second], state[first]

    return edit


def affine_lost(stage: str) -> Edit:
    """Norms made with affine=False: no scale, no shift."""
    return lambda state: _of_norms(state, stage, {"weight": 1, "bias": 0})


def at_identity(stage: str) -> Edit:
    """Norms as they are made: their four tensors were not found in the file."""
    return lambda state: _of_norms(state, stage, {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1})


def not_loaded(stage: str) -> Edit:
    """As torchvision makes it (0.29.2, models/resnet.py): kaiming_normal_ by fan_out, norms at identity."""

    def edit(state: State) -> None:
        for name in _convolutions(state, stage):
            _redraw(state, name)
        at_identity(stage)(state)

    return edit


def not_loaded_constant(stage: str) -> Edit:
    """As the source document's cell makes it."""

    def edit(state: State) -> None:
        for name in _convolutions(state, stage):
            state[name] = np.full_like(state[name], FILL)
        at_identity(stage)(state)

    return edit


def redrawn(conv: str) -> Edit:
    """One convolution was not loaded."""
    return lambda state: _redraw(state, f"{conv}.weight")


def turned(conv: str) -> Edit:
    """Height and width of its kernels exchanged."""
    return lambda state: _moved(state, conv, lambda kernel: kernel.swapaxes(2, 3))


def transposed(conv: str) -> Edit:
    """Inputs and outputs exchanged, where there are as many of both."""
    return lambda state: _moved(state, conv, lambda kernel: kernel.swapaxes(0, 1))


def hwio_as_oihw(conv: str) -> Edit:
    """TensorFlow's bytes in PyTorch's shape: reshaped where they should have been transposed."""
    return lambda state: _moved(state, conv, lambda kernel: kernel.transpose(2, 3, 1, 0).reshape(kernel.shape))


def _of_norms(state: State, stage: str, values: dict[str, float]) -> None:
    for name in state:
        part = name.rpartition(".")[2]
        if name.startswith(f"{stage}.") and re.search(r"\.(bn\d|downsample\.1)\.", name) and part in values:
            state[name] = np.full_like(state[name], values[part])


def _convolutions(state: State, stage: str) -> list[str]:
    return [name for name in state if name.startswith(f"{stage}.") and state[name].ndim == 4]


def _redraw(state: State, name: str) -> None:
    outputs, _, *window = shape = state[name].shape
    rng = np.random.default_rng([SEED, *name.encode()])
    state[name] = (rng.standard_normal(shape) * math.sqrt(2 / (outputs * math.prod(window)))).astype(np.float32)


def _moved(state: State, conv: str, move: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
    moved = np.ascontiguousarray(move(state[f"{conv}.weight"]))
    assert moved.shape == state[f"{conv}.weight"].shape, conv
    state[f"{conv}.weight"] = moved

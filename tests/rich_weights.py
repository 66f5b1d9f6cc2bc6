"""ResNet weights whose statistics are rich enough that every mistake shows, drawn from a seed.

Weights of an untrained network (gamma 1, mean 0, variance 1) hide a wrong eps, a swapped mean and beta or a norm left
out. Here no two of them look alike. Needs numpy only, so that the PyTorch and the MindSpore environment can both draw
them; tests compare `digest` to know that they drew the same.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from resnetfea.network.variant import Variant

State = dict[str, NDArray[np.float32]]

GAMMA = 1.0
GAMMA_OF_BN3 = 0.3  # the branch adds little to its shortcut, so that 16 blocks (or 50) do not overflow


def rich_state(variant: Variant, seed: int) -> State:
    """All tensors of one backbone, float32, by torchvision's names: 265 of them for depth 50."""
    rng = np.random.default_rng(seed)
    state: State = {}
    for conv, norm, shape in _layers(variant):
        gamma = GAMMA_OF_BN3 if norm.endswith("bn3") else GAMMA
        state |= _conv_and_norm(rng, conv, norm, shape, gamma)
        deform = variant.deform[int(conv[5]) - 1] if conv.endswith(".conv2") else "none"
        if deform != "none":
            state |= _offset(rng, conv, shape, (18 if deform == "v1" else 27) * variant.deform_groups, variant.groups)
    if variant.norm == "group":  # has no statistics; what was drawn for them is the same noise as elsewhere
        state = {name: array for name, array in state.items() if ".running_" not in name}
    return state


def rich_input(shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """Images as they look after normalisation: values from -2 to 2, no two alike."""
    return _uniform(np.random.default_rng(seed), -2, 2, shape).astype(np.float32)


def digest(state: Mapping[str, NDArray[np.float32]]) -> str:
    """sha256 over names and bytes: equal exactly when the tensors are."""
    sha = hashlib.sha256()
    for name in sorted(state):
        sha.update(name.encode() + b"\0")
        sha.update(np.ascontiguousarray(state[name]).tobytes())
    return sha.hexdigest()


def _layers(variant: Variant) -> Iterator[tuple[str, str, tuple[int, int, int, int]]]:
    """(convolution, its norm, the weight's shape) in the order of the network."""
    yield "conv1", "bn1", (variant.stem_channels, 3, 7, 7)
    stages = zip(variant.layer_nums, variant.in_channels, variant.out_channels, strict=True)
    for stage, (blocks, entering, leaving) in enumerate(stages):
        if stage + 2 > int(variant.out[-1][1]):  # nothing is built behind the last map
            break
        inner = variant.groups * variant.width_per_group * 2**stage
        for index in range(blocks):
            inputs = leaving if index else entering
            block = f"layer{stage + 1}.{index}"
            yield f"{block}.conv1", f"{block}.bn1", (inner, inputs, 1, 1)
            yield f"{block}.conv2", f"{block}.bn2", (inner, inner // variant.groups, 3, 3)
            yield f"{block}.conv3", f"{block}.bn3", (leaving, inner, 1, 1)
            if inputs != leaving:
                yield f"{block}.downsample.0", f"{block}.downsample.1", (leaving, inputs, 1, 1)


def _conv_and_norm(
    rng: np.random.Generator, conv: str, norm: str, shape: tuple[int, int, int, int], gamma: float
) -> State:
    """One convolution and its norm, fitted to each other: what the convolution gives has about the norm's variance.

    So a small variance makes eps matter (1e-5 beside 1.2e-4 is 4 % of a channel) without making its channel loud.
    """
    outputs, *window = shape
    # 2^-13 (1.2e-4) to 2, log-uniform by ldexp: np.exp rounds differently from machine to machine, this does not.
    octave = np.floor(_uniform(rng, -13, 1, outputs)).astype(np.int32)
    variance = np.ldexp(_uniform(rng, 1, 2, outputs), octave)
    deviation = np.sqrt(variance)
    reach = math.sqrt(6 / math.prod(window))  # He's sqrt(2/fan_in), which a uniform distribution has at sqrt(3) of it
    weight = _uniform(rng, -reach, reach, shape) * deviation[:, None, None, None]
    tensors = {
        f"{conv}.weight": weight,
        f"{norm}.weight": gamma * _uniform(rng, -0.25, 1.75, outputs),  # some negative, as in trained networks
        f"{norm}.bias": _uniform(rng, -0.4, 0.4, outputs),
        f"{norm}.running_mean": deviation * _uniform(rng, -0.5, 0.5, outputs),
        f"{norm}.running_var": variance,
    }
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


def _offset(rng: np.random.Generator, conv: str, shape: tuple[int, int, int, int], outputs: int, groups: int) -> State:
    """The convolution that moves a kernel's points: each by up to a pixel, and from place to place by some 0.3.

    Where it is by a pixel from place to place, across maps that are noise, PyTorch's own float32 is 2e-5 from its
    float64 (deform-v1, layer4.1.conv3), and nothing can be held to 1e-5. At a quarter of that it is 4e-6.
    """
    inputs = shape[1] * groups
    reach = math.sqrt(6 / (9 * inputs)) / 4
    return {
        f"{conv}.offset.weight": _uniform(rng, -reach, reach, (outputs, inputs, 3, 3)).astype(np.float32),
        f"{conv}.offset.bias": _uniform(rng, -1, 1, outputs).astype(np.float32),
    }


def _uniform(rng: np.random.Generator, low: float, high: float, shape: int | tuple[int, ...]) -> NDArray[np.float64]:
    """Like rng.uniform, but in steps that every compiler rounds alike (no fused multiply-add inside)."""
    return low + (high - low) * rng.random(shape)

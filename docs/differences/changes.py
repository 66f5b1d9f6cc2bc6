"""The wrong ways to prepare a photo, to fill in weights and to round numbers: small functions on NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from resnetfea.features.images import decode
from resnetfea.features.source import file
from resnetfea.weights import Recipe

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]  # (h, w, 3) RGB
Tensors = Mapping[str, Floats]  # by canonical name
MULTIPLE = 32  # pixels, the last stride: detectors pad to it


# From a photo to the network's input (1, 3, H, W).


def by_recipe(photo: Path, recipe: Recipe) -> Floats:
    """As the weights want it."""
    return _normalised(decode(file(photo), recipe).pixels, recipe)


def padded(photo: Path, recipe: Recipe) -> Floats:
    """Zeros below and to the right of the normalised photo, to a multiple of 32: PyTorch's detectors."""
    x = by_recipe(photo, recipe)
    bottom, right = (-side % MULTIPLE for side in x.shape[2:])
    return np.pad(x, ((0, 0), (0, 0), (0, bottom), (0, right)))


def padded_first(photo: Path, recipe: Recipe) -> Floats:
    """Black pixels there, and then all of it normalised: ModelZoo's Mask R-CNN."""
    pixels = decode(file(photo), recipe).pixels
    bottom, right = (-side % MULTIPLE for side in pixels.shape[:2])
    return _normalised(np.pad(pixels, ((0, bottom), (0, right), (0, 0))), recipe)


def not_antialiased(photo: Path, recipe: Recipe) -> Floats:
    """cv2's INTER_LINEAR; torch's interpolate, and torchvision's resize of tensors with antialias off."""
    return _by_bilinear(photo, recipe, origin=0.5)


def from_corners(photo: Path, recipe: Recipe) -> Floats:
    """The same with pixels counted from their corners: TensorFlow 1, MindSpore's old ResizeBilinear."""
    return _by_bilinear(photo, recipe, origin=0.0)


def bilinear(pixels: Pixels, size: tuple[int, int], *, origin: float = 0.5) -> Pixels:
    """To (height, width), each new pixel from the four around its place, however many it should stand for."""
    result: NDArray[np.float64] = pixels.astype(np.float64)
    for axis, new in enumerate(size):
        old = pixels.shape[axis]
        place = np.clip((np.arange(new) + origin) * old / new - origin, 0, old - 1)
        front = np.floor(place).astype(np.int64)
        behind = np.minimum(front + 1, old - 1)
        share = (place - front).reshape(-1, *[1] * (2 - axis))
        result = np.asarray(result.take(front, axis) * (1 - share) + result.take(behind, axis) * share, np.float64)
    return np.asarray(np.floor(result + 0.5), np.uint8)


def _by_bilinear(photo: Path, recipe: Recipe, *, origin: float) -> Floats:
    """For recipes with a size and a crop."""
    if not isinstance(recipe.resize, tuple) or recipe.crop is None:
        raise TypeError(f"{recipe}: a fixed size and a crop are wanted")
    whole = decode(file(photo), replace(recipe, resize=None, crop=None)).pixels
    top, left = (round((side - recipe.crop) / 2) for side in recipe.resize)
    resized = Image.fromarray(bilinear(whole, recipe.resize, origin=origin))
    middle = resized.crop((left, top, left + recipe.crop, top + recipe.crop))
    return _normalised(np.asarray(middle), recipe)


def _normalised(pixels: Pixels, recipe: Recipe) -> Floats:
    from resnetfea.engine.layers import normalised  # MindSpore is wanted only where something is measured

    return normalised(pixels, recipe)[None]


# From right weights to wrong ones.


def kernels_transposed(tensors: Tensors) -> Tensors:
    """Rows and columns of every kernel exchanged."""
    return {name: w.transpose(0, 1, 3, 2).copy() if w.ndim == 4 else w for name, w in tensors.items()}


def channels_transposed(tensors: Tensors) -> Tensors:
    """Inputs and outputs exchanged where there are as many of both: the 3x3 convolutions."""
    return {name: w.swapaxes(0, 1).copy() if ".conv2.weight" in name else w for name, w in tensors.items()}


def not_loaded(part: str) -> Callable[[Tensors], Tensors]:
    """What has this in its name is still as a network starts: He initialisation, norms that do nothing."""

    def change(tensors: Tensors) -> Tensors:
        generator = np.random.default_rng(0)
        return {name: _initial(name, w, generator) if part in name else w for name, w in tensors.items()}

    return change


def norms_not_loaded(part: str, *kinds: str) -> Callable[[Tensors], Tensors]:
    """The same for norms only, or for some of their tensors: weight, bias, running_mean, running_var."""

    def change(tensors: Tensors) -> Tensors:
        return {name: _initial(name, w) if _of_norm(name, part, kinds) else w for name, w in tensors.items()}

    return change


def _of_norm(name: str, part: str, kinds: tuple[str, ...]) -> bool:
    layer, _, kind = name.rpartition(".")
    return part in name and (".bn" in f".{layer}" or layer.endswith("downsample.1")) and (not kinds or kind in kinds)


def _initial(name: str, w: Floats, generator: np.random.Generator | None = None) -> Floats:
    if w.ndim == 4 and generator is not None:
        deviation = np.sqrt(2 / (w.shape[0] * w.shape[2] * w.shape[3]))
        return np.asarray(generator.standard_normal(w.shape, np.float32) * deviation, np.float32)
    return np.full_like(w, name.endswith(("weight", "running_var")))


def swapped(one: str, other: str, *kinds: str) -> Callable[[Tensors], Tensors]:
    """Two layers' tensors exchanged: all four of a norm unless said."""

    def change(tensors: Tensors) -> Tensors:
        names = [(f"{one}.{kind}", f"{other}.{kind}") for kind in kinds or NORM]
        return {**tensors, **{a: tensors[b] for a, b in names}, **{b: tensors[a] for a, b in names}}

    return change


NORM = ("weight", "bias", "running_mean", "running_var")


def projection_swapped(tensors: Tensors) -> Tensors:
    """The first block's projection and its last convolution, of one shape in a network with the usual widths."""
    first = swapped("layer1.0.conv3", "layer1.0.downsample.0", "weight")(tensors)
    return swapped("layer1.0.bn3", "layer1.0.downsample.1")(first)


# From float32 to fewer bits, and back.


def float16(w: Floats) -> Floats:
    """IEEE half precision: 11 bits, nothing above 65504."""
    with np.errstate(over="ignore"):
        return w.astype(np.float16).astype(np.float32)


def bfloat16(w: Floats) -> Floats:
    """The upper half of a float32, rounded to even: 8 bits."""
    bits = np.ascontiguousarray(w, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    floats: Floats = rounded.astype(np.uint32).view(np.float32)
    return floats


def all_tensors(rounding: Callable[[Floats], Floats]) -> Callable[[Tensors], Tensors]:
    """Weights and norms so."""
    return lambda tensors: {name: rounding(w) for name, w in tensors.items()}

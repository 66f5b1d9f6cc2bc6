"""Which resize made a picture of a photo: Pillow's filters, or a tensor's resize without antialias.

Pillow, and torchvision with antialias=True, widen their filter where they shrink. cv2.resize and F.interpolate look at
the nearest 1, 2 or 4 pixels in each direction only: of a photo that shrinks to a third, most are never seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from resnetfea.features.images import FILTERS, decode, resized_size
from resnetfea.features.source import file
from resnetfea.weights import Recipe

Pixels = NDArray[np.uint8]
SHORT_SIDES = (256, 232, 235, 236, 248, 288, 292, 320)  # torchvision V1, V2; timm's crop_pct; ModelZoo's SE
CUBIC = -0.75  # of torch's and cv2's bicubic; Pillow's is -0.5


def pictures(photo: Path, size: tuple[int, int], recipe: Recipe) -> Iterator[tuple[dict[str, Any], Pixels]]:
    """(the recipe's fields that are otherwise, the picture (H, W, 3)) for all ways to the size; the recipe's own first.

    Raises:
        BadImage: the photo is none.
    """
    whole = decode(file(photo), replace(recipe, resize=None, crop=None)).pixels
    for resize, crop in _geometries(whole.shape, size, recipe):
        changed = {
            name: value for name, value in (("resize", resize), ("crop", crop)) if value != getattr(recipe, name)
        }
        resized = resized_size(whole.shape[1], whole.shape[0], replace(recipe, resize=resize))
        for name in sorted(FILTERS, key=lambda name: name != recipe.interpolation):
            picture = np.asarray(Image.fromarray(whole).resize(resized, FILTERS[name]))
            filtered = {} if name == recipe.interpolation else {"interpolation": name}
            yield changed | filtered, _cropped(picture, size)
            if name != "lanczos":  # no other library has it without antialias
                plain = _without_antialias(whole, (resized[1], resized[0]), name)
                yield changed | filtered | {"antialias": False}, _cropped(plain, size)


def _geometries(whole: tuple[int, ...], size: tuple[int, int], recipe: Recipe) -> Iterator[tuple[Any, int | None]]:
    """(resize, crop) that give the size: the recipe's, short sides and a square cut, the whole squeezed, none."""
    square = size[0] if size[0] == size[1] else None
    ways: list[tuple[Any, int | None]] = [(recipe.resize, recipe.crop)]
    ways += [(short, square) for short in (*SHORT_SIDES, min(size)) if square is not None]
    ways += [(min(size), None), (size, None), (None, square)]
    for place, (resize, crop) in enumerate(ways):
        width, height = resized_size(whole[1], whole[0], replace(recipe, resize=resize))
        fits = (crop, crop) == size and min(width, height) >= crop if crop else (height, width) == size
        if fits and (resize, crop) not in ways[:place]:
            yield resize, crop


def _cropped(picture: Pixels, size: tuple[int, int]) -> Pixels:
    top, left = (round((have - want) / 2) for have, want in zip(picture.shape[:2], size, strict=True))
    return picture[top : top + size[0], left : left + size[1]]


def _without_antialias(whole: Pixels, size: tuple[int, int], interpolation: str) -> Pixels:
    """As F.interpolate (align_corners=False) and cv2.resize do, rounded to 8 bits."""
    rows, columns = (_taps(have, want, interpolation) for have, want in zip(whole.shape[:2], size, strict=True))
    pixels = whole.astype(np.float32)
    pixels = np.sum([weight[:, None, None] * pixels[place] for place, weight in zip(*rows, strict=True)], axis=0)
    pixels = np.sum([weight[:, None] * pixels[:, place] for place, weight in zip(*columns, strict=True)], axis=0)
    rounded: Pixels = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return rounded


def _taps(have: int, want: int, interpolation: str) -> tuple[list[Any], list[Any]]:
    """Places (want,) and their weights, as many as the filter has taps."""
    if interpolation == "nearest":
        return [np.minimum(np.arange(want) * have // want, have - 1)], [np.ones(want, np.float32)]
    place = (np.arange(want) + 0.5) * have / want - 0.5
    reach = 1 if interpolation == "bilinear" else 2
    first = np.floor(place).astype(int)
    places, weights = [], []
    for offset in range(1 - reach, 1 + reach):
        distance = np.abs(place - first - offset)
        weight = 1 - distance if reach == 1 else _cubic(distance)
        places.append(np.clip(first + offset, 0, have - 1))
        weights.append(weight.astype(np.float32))
    return places, weights


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys 1981."""
    a = CUBIC
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    return np.where(x <= 1, near, far)

"""Which recipe made the reference's input, read off the picture that it was made of.

Whatever the recipe, every channel of the input is a * pixel + b of one colour, with a = scale / std, b = -mean / std.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from resnetfea.weights import Recipe, recipe

Array = NDArray[Any]
Settings = dict[str, Any]  # fields of Recipe
EXACT = 0.02  # levels of a pixel (of 255) that float32 and its rounding leave
LIKE = 2e-5  # relative, of a and b: half of what tells detectron2's mean from the nearest other
VARIED = 24  # different numbers at least, before whole pixels are no chance
PLAIN = Recipe(color="rgb", scale=1.0, mean=(0.0,) * 3, std=(1.0,) * 3)
USUAL = (  # what others may have taken: of all that explains an input, these are likely
    recipe.TORCHVISION,
    recipe.SWAV,
    recipe.DETECTRON,
    recipe.DETECTRON2,
    recipe.MINDSPORE,
    recipe.OPEN_NSFW,
    recipe.KERAS,
    replace(PLAIN, scale=1 / 255),
    PLAIN,
    replace(PLAIN, scale=1 / 255, mean=(0.5,) * 3, std=(0.5,) * 3),
)


class Line(NamedTuple):
    """How the three channels of an input come from a picture."""

    order: tuple[int, ...]  # of the input's channels, the picture's: (0, 1, 2) is RGB
    a: Array  # (3,)
    b: Array
    off: float  # the largest difference, in levels of a pixel


def line(picture: Array, x: Array, expected: Recipe) -> Line:
    """The best for a picture (H, W, 3) RGB and an input (3, H, W). Grey pictures have the order that is expected."""
    usual = (2, 1, 0) if expected.color == "bgr" else (0, 1, 2)
    fits = [_line(picture, x, order) for order in (usual, usual[::-1])]
    return fits[0] if fits[0].off <= max(EXACT, fits[1].off) else fits[1]


def differences(found: Line, expected: Recipe, *, levels: float = 0.0) -> Settings:
    """The fewest fields of `expected` that are otherwise: color, and scale, mean, std with their numbers.

    levels: by how much of a pixel `b` may be off; 0 where the picture is certain.
    """
    usual = (2, 1, 0) if expected.color == "bgr" else (0, 1, 2)
    changed: Settings = {} if found.order == usual else {"color": "rgb" if expected.color == "bgr" else "bgr"}
    for settings in _candidates(found, expected):
        if _explains(settings, found, expected, levels):
            return changed | settings
    raise AssertionError("mean and std explain every line")


def from_numbers(x: Array, expected: Recipe) -> Settings | None:
    """The fewest fields of `expected` that are otherwise, without a picture: only under the right ones are all pixels
    whole numbers of 0 to 255. The colours' order stays unknown. None where no usual recipe makes them so.
    """
    own: Settings = {"scale": expected.scale, "mean": expected.mean, "std": expected.std}
    usual: list[Settings] = [
        {"scale": one.scale, "mean": one.mean[::order], "std": one.std[::order]} for one in USUAL for order in (1, -1)
    ]
    mixed = [own | {name: one[name]} for one in usual for name in own]
    changed = [{name: value for name, value in one.items() if value != own[name]} for one in (own, *mixed, *usual)]
    if len(np.unique(x[:, ::4, ::4])) < VARIED:
        return None
    return next((one for one in sorted(changed, key=len) if _whole(x, **(own | one))), None)


def _whole(x: Array, scale: float, mean: tuple[float, ...], std: tuple[float, ...]) -> bool:
    pixels = (x.astype(np.float64) * np.reshape(std, (3, 1, 1)) + np.reshape(mean, (3, 1, 1))) / scale
    off = np.abs(pixels - np.rint(pixels))
    return bool(off.max() <= EXACT and pixels.min() > -0.5 and pixels.max() < 255.5)


def _candidates(found: Line, expected: Recipe) -> Iterator[Settings]:
    """Single fields, then usual recipes, then whatever numbers there have to be."""
    own = {"scale": expected.scale, "mean": expected.mean, "std": expected.std}
    mean, std = np.array(expected.mean), np.array(expected.std)
    ratio = found.a * std / expected.scale
    scale = _number(expected.scale * float(ratio.mean()))
    usual = [
        {name: value for name, value in values.items() if value != own[name]}
        for one in USUAL
        for order in (1, -1)  # the right numbers in the wrong order
        for values in ({"scale": one.scale, "mean": one.mean[::order], "std": one.std[::order]},)
    ]
    yield {}
    yield from (settings for settings in usual if len(settings) == 1)
    yield {"scale": scale}
    yield {"mean": _mean(-found.b * std, expected.scale)}
    yield {"std": _triple(std / ratio)}
    yield from (settings for settings in usual if len(settings) == 2)
    yield {"scale": scale, "mean": _mean(-found.b * std, scale)}
    yield from usual
    with np.errstate(all="ignore"):
        by_mean = -mean / found.b
    if np.isfinite(by_mean).all() and (by_mean > 0).all():
        yield {"scale": _number(float((found.a * by_mean).mean())), "std": _triple(by_mean)}
    std = expected.scale / found.a
    yield {"mean": _mean(-found.b * std, expected.scale), "std": _triple(std)}


def _explains(settings: Mapping[str, Any], found: Line, expected: Recipe, levels: float) -> bool:
    scale = settings.get("scale", expected.scale)
    mean, std = (np.array(settings.get(name, getattr(expected, name))) for name in ("mean", "std"))
    a, b = scale / std, -mean / std
    near = max(LIKE, levels / 255)
    slack = np.maximum(near * np.abs(b), np.abs(a) * max(EXACT, levels))
    return bool((np.abs(found.a - a) <= near * np.abs(a)).all() and (np.abs(found.b - b) <= slack).all())


def _line(picture: Array, x: Array, order: tuple[int, ...]) -> Line:
    """Least squares, channel by channel."""
    a, b, off = np.zeros(3), np.zeros(3), 0.0
    for channel, color in enumerate(order):
        pixels, values = picture[..., color].astype(np.float64), x[channel].astype(np.float64)
        spread = pixels - pixels.mean()
        square = float((spread * spread).sum())
        a[channel] = float((spread * values).sum()) / square if square else 1.0
        b[channel] = float(values.mean() - a[channel] * pixels.mean())
        left = float(np.abs(values - a[channel] * pixels - b[channel]).max())
        off = max(off, left / abs(a[channel]) if a[channel] else np.inf)
    return Line(order, a, b, off)


def _number(value: float) -> float:
    """With the digits that a least-squares line has; a scale's usual values exactly."""
    usual = next((one for one in (1.0, 1 / 255, 255.0, 1 / 127.5, 1 / 256) if abs(value / one - 1) < LIKE), None)
    return usual if usual is not None else float(f"{value:.6g}")


def _triple(values: Array) -> tuple[float, float, float]:
    one, two, three = (float(f"{value:.5g}") for value in values)
    return one, two, three


def _mean(values: Array, scale: float) -> tuple[float, float, float]:
    return _triple(np.where(np.abs(values) < LIKE * 255 * scale, 0, values))

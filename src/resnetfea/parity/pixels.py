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
SCALES = (1.0, 1 / 255, 255.0, 1 / 127.5, 1 / 256)  # a scale that is near one of these is that
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
    flat: Array  # the only level of a colour that has no other, which tells a * level + b alone; else nan
    off: float  # the largest difference, in levels of a pixel


def of_recipe(one: Recipe) -> Line:
    """The line that a recipe draws."""
    scale, mean, std = one.scale, np.array(one.mean), np.array(one.std)
    return Line(_order(one.color), scale / std, -mean / std, np.full(3, np.nan), 0.0)


def line(picture: Array, x: Array, expected: Recipe) -> Line:
    """The best for a picture (H, W, 3) RGB and an input (3, H, W). Grey pictures have the order that is expected."""
    usual = _order(expected.color)
    fits = [_line(picture, x, order, expected) for order in (usual, usual[::-1])]
    return fits[0] if fits[0].off <= max(EXACT, fits[1].off) else fits[1]


def differences(found: Line, expected: Recipe, *, levels: float = 0.0) -> Settings:
    """The fewest fields of `expected` that are otherwise: color, and scale, mean, std with their numbers.

    levels: by how much of a pixel `b` may be off; 0 where the picture is certain.
    """
    other = {"rgb": "bgr", "bgr": "rgb"}[expected.color]
    changed: Settings = {} if found.order == _order(expected.color) else {"color": other}
    candidates = list(_candidates(found, expected))  # the last one explains every line
    settings = next((one for one in candidates if _explains(one, found, expected, levels)), candidates[-1])
    return changed | _rounded(settings, found, expected, levels)


def from_numbers(x: Array, expected: Recipe) -> Settings | None:
    """The fewest fields of `expected` that are otherwise, without a picture: only under the right ones are all pixels
    whole numbers of 0 to 255. The colours' order stays unknown. None where no usual recipe makes them so.
    """
    own = _own(expected)
    if len(np.unique(x[:, ::4, ::4])) < VARIED:
        return None
    return next((one for one in sorted([{}, *_usual(own)], key=len) if _whole(x, **(own | one))), None)


def _own(expected: Recipe) -> Settings:
    return {"scale": expected.scale, "mean": expected.mean, "std": expected.std}


def _order(color: str) -> tuple[int, ...]:
    return (2, 1, 0) if color == "bgr" else (0, 1, 2)


def _usual(own: Settings) -> list[Settings]:
    """What others take, also in the wrong order, and a field or two of it beside own ones: those that change."""
    whole: list[Settings] = [
        {"scale": one.scale, "mean": one.mean[::order], "std": one.std[::order]} for one in USUAL for order in (1, -1)
    ]
    mixed = [own | {name: one[name]} for one in whole for name in own]
    mixed += [one | {name: own[name]} for one in whole for name in own]
    return [{name: value for name, value in one.items() if value != own[name]} for one in (*mixed, *whole)]


def _whole(x: Array, scale: float, mean: tuple[float, ...], std: tuple[float, ...]) -> bool:
    pixels = (x.astype(np.float64) * np.reshape(std, (3, 1, 1)) + np.reshape(mean, (3, 1, 1))) / scale
    off = np.abs(pixels - np.rint(pixels))
    return bool(off.max() <= EXACT and pixels.min() > -0.5 and pixels.max() < 255.5)


def _candidates(found: Line, expected: Recipe) -> Iterator[Settings]:
    """Single fields, then usual recipes, then whatever numbers there have to be."""
    mean, std = np.array(expected.mean), np.array(expected.std)
    ratio = found.a * std / expected.scale
    varied = ratio[np.isnan(found.flat)]
    scale = expected.scale * float(varied.mean() if varied.size else 1.0)
    usual = _usual(_own(expected))
    by_scale = {"scale": scale}
    by_mean = {"mean": tuple(-found.b * std)}
    yield {}
    yield from (settings for settings in usual if len(settings) == 1)
    yield by_scale
    yield from (settings for settings in usual if len(settings) == 2)  # likelier than a std that nobody has
    yield from (by_mean, {"std": tuple(std / ratio)}, by_scale | by_mean)
    yield from usual
    with np.errstate(all="ignore"):
        by_std = -mean / found.b
    if np.isfinite(by_std).all() and (by_std > 0).all():
        yield {"scale": float((found.a * by_std).mean()), "std": tuple(by_std)}
    std = expected.scale / found.a
    yield {"mean": tuple(-found.b * std), "std": tuple(std)}


def _explains(settings: Mapping[str, Any], found: Line, expected: Recipe, levels: float) -> bool:
    scale = settings.get("scale", expected.scale)
    mean, std = (np.array(settings.get(name, getattr(expected, name))) for name in ("mean", "std"))
    a, b = scale / std, -mean / std
    near = max(LIKE, levels / 255)
    flat = ~np.isnan(found.flat)
    level = np.where(flat, found.flat, 0)
    slack = np.maximum(near * np.abs(b), np.abs(a) * max(EXACT, levels))
    sloped = flat | (np.abs(found.a - a) <= near * np.abs(a))
    return bool(sloped.all() and (np.abs(found.a * level + found.b - a * level - b) <= slack)[flat].all()
                and (np.abs(found.b - b) <= slack)[~flat].all())  # fmt: skip


def _rounded(settings: Settings, found: Line, expected: Recipe, levels: float) -> Settings:
    """With as few digits as explain the line, so that 0.485 is 0.485."""
    for digits in range(1, 8):
        rounded = {name: _digits(value, digits, expected) for name, value in settings.items()}
        if _explains(rounded, found, expected, levels):
            return rounded
    return settings


def _digits(value: Any, digits: int, expected: Recipe) -> Any:
    if isinstance(value, tuple):
        nothing = LIKE * 255 * expected.scale  # of a mean: what least squares leave of 0
        return tuple(float(f"{one:.{digits}g}") if abs(one) > nothing else 0.0 for one in value)
    return next((one for one in SCALES if abs(value / one - 1) < LIKE), float(f"{value:.{digits}g}"))


def _line(picture: Array, x: Array, order: tuple[int, ...], expected: Recipe) -> Line:
    """Least squares, channel by channel."""
    a, b, flat, off = np.zeros(3), np.zeros(3), np.full(3, np.nan), 0.0
    for channel, color in enumerate(order):
        pixels, values = picture[..., color].astype(np.float64), x[channel].astype(np.float64)
        spread = pixels - pixels.mean()
        square = float((spread * spread).sum())
        a[channel] = float((spread * values).sum()) / square if square else expected.scale / expected.std[channel]
        b[channel] = float(values.mean() - a[channel] * pixels.mean())
        flat[channel] = np.nan if square else pixels.flat[0]
        left = float(np.abs(values - a[channel] * pixels - b[channel]).max())
        off = max(off, left / abs(a[channel]) if a[channel] else np.inf)
    return Line(order, a, b, flat, off)

"""How an input was made, read off its picture, off a photo, or off its numbers alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from resnetfea.parity import pixels, resizing
from resnetfea.weights import Recipe, recipe

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (40, 53, 3), dtype=np.uint8)
PHOTO = Path(__file__).parents[2] / "samples" / "animals" / "cat-chelsea.jpg"  # 451x300
RGB = recipe.TORCHVISION
REVERSED = RGB.mean[::-1]


def made(picture: NDArray[np.uint8], by: Recipe) -> NDArray[np.float32]:
    """(3, H, W), as every framework does it."""
    x = picture[..., ::-1] if by.color == "bgr" else picture
    return np.asarray(((x * by.scale - by.mean) / by.std).transpose(2, 0, 1), np.float32)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"scale": 1.0},
        {"mean": (0.5, 0.5, 0.5)},
        {"mean": REVERSED},
        {"mean": (123.675, 116.28, 103.53)},  # of 0 to 255, beside pixels of 0 to 1
        {"scale": 1.0, "mean": (123.675, 116.28, 103.53)},  # and not a std of 0.0009
        {"std": (0.112344, 0.112344, 0.112344)},
        {"std": (0.25, 0.22, 0.2)},
        {"std": recipe.SWAV.std},
        {"color": "bgr"},
        {"color": "bgr", "scale": 1.0},
        {"color": "bgr", "mean": REVERSED, "std": RGB.std[::-1]},
        {"scale": 1.0, "mean": (0.0, 0.0, 0.0)},
        {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)},
        {"mean": (0.41, 0.42, 0.43), "std": (0.3, 0.31, 0.32)},
        {"scale": 1.0, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)},
        {"color": "bgr", "scale": 1.0, "mean": recipe.DETECTRON2.mean, "std": (1.0, 1.0, 1.0)},
    ],
)
def test_the_fewest_fields_that_make_this_input_of_this_picture(changed: dict[str, Any]) -> None:
    x = made(PICTURE, replace(RGB, **changed))
    line = pixels.line(PICTURE, x, RGB)
    assert line.off < pixels.EXACT
    found = pixels.differences(line, RGB)
    assert found.keys() == changed.keys()
    for name, value in changed.items():
        assert found[name] == (value if name == "color" else pytest.approx(value, rel=1e-4, abs=1e-6))


def test_the_same_numbers_on_another_scale_are_no_difference() -> None:
    assert pixels.differences(pixels.line(PICTURE, made(PICTURE, recipe.MINDSPORE), RGB), RGB) == {}


def test_a_grey_picture_has_the_order_that_is_expected() -> None:
    grey = np.repeat(PICTURE[..., :1], 3, axis=2)
    for expected in (RGB, replace(RGB, color="bgr")):
        assert pixels.differences(pixels.line(grey, made(grey, expected), expected), expected) == {}


def test_whatever_the_numbers_are_they_are_found() -> None:
    for _ in range(50):
        mean, std = tuple(RNG.random(3)), tuple(RNG.uniform(0.1, 0.4, 3))
        found = pixels.differences(pixels.line(PICTURE, made(PICTURE, replace(RGB, mean=mean, std=std)), RGB), RGB)
        assert found == {"mean": pytest.approx(mean, rel=1e-3), "std": pytest.approx(std, rel=1e-4)}


@pytest.mark.parametrize("changed", [{}, {"scale": 1.0}, {"mean": (0.5, 0.5, 0.5)}])
def test_a_colour_that_is_the_same_everywhere_invents_nothing(changed: dict[str, Any]) -> None:
    """One level tells one equation of scale, mean and std, not two."""
    for level in (0, 128):
        picture = PICTURE.copy()
        picture[..., 2] = level
        found = pixels.differences(pixels.line(picture, made(picture, replace(RGB, **changed)), RGB), RGB)
        assert found == {name: pytest.approx(value, rel=1e-4) for name, value in changed.items()}


def test_what_is_not_made_of_the_picture_is_off() -> None:
    assert pixels.line(PICTURE, RNG.random((3, 40, 53), np.float32), RGB).off > 10


@pytest.mark.parametrize("changed", [{}, {"scale": 1.0}, {"mean": REVERSED}, {"mean": (0.0,) * 3, "std": (1.0,) * 3}])
def test_without_a_picture_whole_pixels_tell(changed: dict[str, Any]) -> None:
    assert pixels.from_numbers(made(PICTURE, replace(RGB, **changed)), RGB) == changed


def test_numbers_that_no_pixels_give_tell_nothing() -> None:
    assert pixels.from_numbers(RNG.random((3, 40, 53), np.float32), RGB) is None
    assert pixels.from_numbers(np.zeros((3, 40, 53), np.float32), RGB) is None


def nearest(changed: dict[str, Any], seen: NDArray[np.uint8], size: tuple[int, int] = (224, 224)) -> dict[str, Any]:
    """The way of resizing that comes nearest to what is seen."""
    ways = ((np.abs(picture.astype(int) - seen).max(), found) for found, picture in resizing.pictures(PHOTO, size, RGB))
    off, found = min(ways, key=lambda way: way[0])
    assert off <= 1
    return found


@pytest.mark.parametrize(
    "changed",
    [{}, {"interpolation": "bicubic"}, {"interpolation": "nearest"}, {"interpolation": "lanczos"}, {"resize": 232}],
)
def test_pillows_own_resizes_are_told_apart(changed: dict[str, Any]) -> None:
    by = replace(RGB, **changed)
    with Image.open(PHOTO) as photo:
        whole = photo.convert("RGB")
    height = changed.get("resize", 256)
    width = int(height * whole.width / whole.height)
    left, top = round((width - 224) / 2), round((height - 224) / 2)
    resized = whole.resize((width, height), getattr(Image.Resampling, by.interpolation.upper()))
    assert nearest(changed, np.asarray(resized.crop((left, top, left + 224, top + 224)))) == changed


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
def test_resizes_without_antialias_are_pytorchs(interpolation: str) -> None:
    """torch 2.13.0: F.interpolate(x, (5, 9), mode=..., align_corners=False) of this picture, then rounded."""
    picture = np.arange(12 * 16 * 3, dtype=np.uint32).reshape(12, 16, 3) ** 2 % 251
    found = resizing._without_antialias(picture.astype(np.uint8), (5, 9), interpolation)
    assert found[..., 1].astype(int).tolist() == TORCH[interpolation]


TORCH = {
    "bilinear": [
        [116, 37, 190, 152, 120, 68, 184, 177, 120],
        [136, 195, 60, 211, 191, 158, 69, 199, 152],
        [132, 98, 121, 78, 154, 125, 33, 133, 130],
        [155, 53, 211, 42, 143, 74, 36, 57, 135],
        [160, 171, 64, 16, 24, 87, 132, 101, 142],
    ],
    "bicubic": [
        [128, 15, 211, 153, 120, 56, 196, 183, 118],
        [126, 221, 50, 223, 194, 169, 68, 220, 145],
        [142, 77, 131, 67, 171, 115, 11, 146, 134],
        [165, 23, 217, 11, 170, 73, 33, 48, 139],
        [149, 188, 50, 4, 16, 92, 144, 83, 146],
    ],
    "nearest": [
        [1, 16, 100, 5, 233, 123, 208, 114, 92],
        [122, 211, 192, 245, 119, 83, 65, 119, 245],
        [101, 13, 142, 92, 114, 152, 31, 233, 5],
        [117, 140, 240, 161, 154, 52, 153, 75, 69],
        [243, 89, 86, 155, 45, 17, 15, 85, 227],
    ],
}

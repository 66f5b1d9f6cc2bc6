"""decode(..., "fast"): which pictures are read smaller, where their pixels lie, and what is no different."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from resnetfea.features import reduced
from resnetfea.features.bad_image import BadImage
from resnetfea.features.images import decode
from resnetfea.features.source import file
from resnetfea.weights import Recipe
from resnetfea.weights.recipe import TORCHVISION

SMALL = replace(TORCHVISION, resize=40, crop=32)
RNG = np.random.default_rng(3)


def smooth(width: int, height: int) -> Image.Image:
    """A picture of large shapes, which no two directions share."""
    x, y = np.arange(width) / width, np.arange(height)[:, None] / height
    red, green, blue = 255 * x + 0 * y, 255 * y + 0 * x, 127 + 120 * np.sin(9 * x * x + 5 * y)
    return Image.fromarray(np.stack([red, green, blue], axis=2).round().astype(np.uint8))


def saved(path: Path, image: Image.Image, format: str = "JPEG", **options: Any) -> Path:
    image.save(path, format, **options)
    return path


def both(path: Path, recipe: Recipe) -> tuple[Any, Any]:
    """The picture decoded exactly and fast, which are of the same size whatever is read."""
    exact, fast = decode(file(path), recipe), decode(file(path), recipe, "fast")
    assert (exact.width, exact.height, exact.pixels.shape) == (fast.width, fast.height, fast.pixels.shape)
    return exact.pixels.astype(int), fast.pixels.astype(int)


@pytest.mark.parametrize(
    ("size", "resize", "scale"),
    [
        ((1000, 960), 40, 8),  # 120 are left of the short side, 3 x 40
        ((1000, 959), 40, 4),
        ((1000, 480), 40, 4),
        ((479, 1000), 40, 2),
        ((1000, 240), 40, 2),
        ((1000, 239), 40, None),
        ((1000, 800), (40, 400), None),  # height and width: in both directions
        ((1200, 800), (40, 200), 2),
        ((1000, 800), None, None),
        ((4000, 3000), 256, 2),
        ((4000, 3000), 800, None),
        ((8000, 6000), 800, 2),
    ],
)
def test_the_rule_for_the_scale(size: tuple[int, int], resize: Any, scale: int | None) -> None:
    from resnetfea.features.images import resized_size

    data = io.BytesIO()
    Image.new("L", size).save(data, "JPEG")
    image = Image.open(data)
    recipe = replace(TORCHVISION, resize=resize, crop=None)
    small = reduced.read(image, resized_size(*size, recipe), None, Image.Resampling.BILINEAR, 1)
    assert (small is None) == (scale is None)
    assert image.size == (-(-size[0] // (scale or 1)), -(-size[1] // (scale or 1)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("recipe", [SMALL, replace(SMALL, crop=None), replace(SMALL, resize=(40, 60))])
def test_it_lies_where_the_exact_one_does(tmp_path: Path, orientation: int, recipe: Recipe) -> None:
    """Sides that no scale divides, so that a reduced picture is a little longer than it should be."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    for size in ((1001, 897), (883, 1207)):
        exact, fast = both(saved(tmp_path / "x.jpg", smooth(*size), quality=95, exif=exif), recipe)
        assert not np.array_equal(exact, fast)
        assert np.abs(exact - fast).mean() < 0.3
        assert np.abs(exact - fast).mean(axis=(0, 1)).max() < 0.5
        assert np.abs((exact - fast).mean(axis=(0, 1))).max() < 0.2  # a shift by half a pixel of 1/8 is 1.1


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos", "nearest"])
def test_every_filter(tmp_path: Path, interpolation: Literal["bilinear", "bicubic", "lanczos", "nearest"]) -> None:
    path = saved(tmp_path / "x.jpg", smooth(1200, 900), quality=95)
    exact, fast = both(path, replace(SMALL, interpolation=interpolation))
    assert np.abs(exact - fast).mean() < (3 if interpolation == "nearest" else 0.3)


@pytest.mark.parametrize("options", [{"subsampling": 0}, {"subsampling": 2}, {"progressive": True}, {"grey": True}])
def test_every_kind_of_jpeg(tmp_path: Path, options: dict[str, Any]) -> None:
    photo = smooth(1100, 900).convert("L" if options.pop("grey", False) else "RGB")
    exact, fast = both(saved(tmp_path / "x.jpg", photo, quality=95, **options), SMALL)
    assert not np.array_equal(exact, fast)
    assert np.abs(exact - fast).mean() < 0.4


def test_two_pictures_in_one_jpeg(tmp_path: Path) -> None:
    more: dict[str, Any] = {"save_all": True, "append_images": [smooth(1100, 900)]}
    exact, fast = both(saved(tmp_path / "x.jpg", smooth(1100, 900), "MPO", **more), SMALL)
    assert not np.array_equal(exact, fast)
    assert np.abs(exact - fast).mean() < 0.5


def test_black_around_what_is_smaller_than_the_crop(tmp_path: Path) -> None:
    exact, fast = both(saved(tmp_path / "x.jpg", smooth(1600, 900), quality=95), replace(SMALL, crop=61))
    assert not exact[:10].any()
    assert not fast[:10].any()
    assert fast[10:50].all(axis=2).mean() > 0.9
    assert np.abs(exact - fast).mean() < 0.3


NOT_READ_SMALLER: dict[str, Callable[[Path], Path]] = {
    "png": lambda path: saved(path, smooth(1000, 900), "PNG"),
    "webp": lambda path: saved(path, smooth(1000, 900), "WEBP"),
    "jpeg in a tiff": lambda path: saved(path, smooth(1000, 900), "TIFF", compression="jpeg"),
    "gif": lambda path: saved(path, smooth(1000, 900), "GIF"),
    "bmp": lambda path: saved(path, smooth(1000, 900), "BMP"),
    "16 bits": lambda path: saved(path, Image.fromarray(RNG.integers(0, 65536, (900, 1000), np.uint16)), "PNG"),
    "cmyk jpeg": lambda path: saved(path, smooth(1000, 900).convert("CMYK")),
    "small jpeg": lambda path: saved(path, smooth(219, 219)),
}


@pytest.mark.parametrize("name", NOT_READ_SMALLER)
def test_everything_else_is_decoded_exactly(tmp_path: Path, name: str) -> None:
    exact, fast = both(NOT_READ_SMALLER[name](tmp_path / "x"), SMALL)
    assert np.array_equal(exact, fast)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}, {"quality": 20}])
@pytest.mark.parametrize("resize", [40, 80, 160])  # read at 1/8, 1/4, 1/2
def test_cut_short_is_refused_at_every_scale(tmp_path: Path, options: dict[str, Any], resize: int) -> None:
    photo = Image.fromarray(RNG.integers(0, 256, (880, 990, 3), np.uint8))
    data = saved(tmp_path / "x.jpg", photo, **options).read_bytes()
    recipe = replace(TORCHVISION, resize=resize, crop=None)
    assert decode(file(tmp_path / "x.jpg"), recipe, "fast").pixels.shape == (resize, resize * 9 // 8, 3)
    for keep in (*range(len(data) // 4, len(data), len(data) // 16), len(data) - 40, len(data) - 4, len(data) - 1):
        (tmp_path / "x.jpg").write_bytes(data[:keep])
        with pytest.raises(BadImage, match="cut short"):
            decode(file(tmp_path / "x.jpg"), recipe, "fast")

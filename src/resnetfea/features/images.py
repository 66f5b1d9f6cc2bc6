"""One image file to pixels, by the weights' recipe. The rules for odd images stand in docs/images.md."""

from __future__ import annotations

import os
import stat
import threading
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from resnetfea.weights import Recipe

FORMATS = tuple(  # the content decides among these; everything else Pillow knows is left out on purpose
    plugin.format
    for plugin in (
        BmpImagePlugin.BmpImageFile,
        GifImagePlugin.GifImageFile,
        JpegImagePlugin.JpegImageFile,  # and MPO with it, a JPEG with a second picture, as many phones write
        PngImagePlugin.PngImageFile,
        TiffImagePlugin.TiffImageFile,
        WebPImagePlugin.WebPImageFile,
    )
)
FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}
MAX_BYTES = 512 << 20  # of a file
MAX_PIXELS = 89_478_485  # Pillow's own limit, a quarter of a gigabyte in RGB
LARGE_PIXELS = 24_000_000  # such pictures are decoded one at a time, so that memory stays within 1.5 GB
_one_large = threading.Lock()


class BadImage(Exception):
    """Why this file gives no features, in a few words."""


class Picture(NamedTuple):
    """A decoded image: the upright original's size, and the pixels that the network gets."""

    width: int
    height: int
    pixels: NDArray[np.uint8]  # (h, w, 3) RGB, resized and cropped


def decode(path: bytes | str | Path, recipe: Recipe) -> Picture:
    """Read, turn upright, convert to RGB, resize, crop.

    Raises:
        BadImage: whatever is wrong with the file.
    """
    data = _bytes_of(path)
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
        pixels = image.width * image.height
        if pixels > MAX_PIXELS:
            raise BadImage(f"too many pixels ({image.width}x{image.height})")
        if pixels <= LARGE_PIXELS:
            return _picture(image, data, recipe)
        with _one_large:
            return _picture(image, data, recipe)
    except BadImage:
        raise
    except UnidentifiedImageError as error:
        raise BadImage("not an image of a known format") from error
    except Image.DecompressionBombError as error:
        raise BadImage("too many pixels") from error
    except MemoryError as error:
        raise BadImage("too large for the memory") from error
    except Exception as error:  # Pillow's decoders raise OSError, ValueError, SyntaxError, struct.error, ...
        reason = str(error).split("\n")[0][:100] or type(error).__name__
        raise BadImage("cut short" if "truncated" in reason.lower() else f"broken: {reason}") from error


def _picture(image: Image.Image, data: bytes, recipe: Recipe) -> Picture:
    image.load()
    _check_end(image.format, data)
    image = ImageOps.exif_transpose(image)
    width, height = image.size
    image = _rgb(image)
    image = image.resize(_resized(width, height, recipe), FILTERS[recipe.interpolation])
    if recipe.crop is not None:
        left, top = round((image.width - recipe.crop) / 2), round((image.height - recipe.crop) / 2)
        image = image.crop((left, top, left + recipe.crop, top + recipe.crop))
    return Picture(width, height, np.asarray(image))


def _bytes_of(path: bytes | str | Path) -> bytes:
    """The file's content; a pipe or device is never waited for."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise BadImage("not a regular file")
            if status.st_size > MAX_BYTES:
                raise BadImage(f"too large ({status.st_size:,} bytes)")
            data = file.read()
    except FileNotFoundError as error:
        raise BadImage("no such file") from error
    except (OSError, ValueError) as error:
        raise BadImage(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not data:
        raise BadImage("empty file")
    return data


def _check_end(format: str | None, data: bytes) -> None:
    """Pillow takes PNG and GIF files that stop behind the first picture's pixels; every other format it refuses."""
    if format == "PNG" and b"IEND" not in data[-65536:] and b"IEND" not in data:
        raise BadImage("cut short")
    if format == "GIF" and not data.rstrip(b"\0\r\n ").endswith(b";"):
        raise BadImage("cut short")


def _rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB. Alpha is dropped, as `convert("RGB")` does in every PyTorch script; 16 bits keep their upper 8."""
    if image.mode == "F":
        raise BadImage("floating-point samples, which have no fixed range")
    if image.mode.startswith("I"):
        samples = np.asarray(image)
        if samples.min() < 0 or samples.max() > 65535:
            raise BadImage("samples of more than 16 bits")
        image = Image.fromarray((samples.astype(np.uint16) >> 8).astype(np.uint8))
    return image if image.mode == "RGB" else image.convert("RGB")


def _resized(width: int, height: int, recipe: Recipe) -> tuple[int, int]:
    """(width, height) behind the recipe's resize."""
    if recipe.resize is None:
        return width, height
    if not isinstance(recipe.resize, int):
        return recipe.resize[1], recipe.resize[0]
    short = min(width, height)
    whole = int if recipe.rounding == "floor" else round
    size = whole(recipe.resize * width / short), whole(recipe.resize * height / short)
    if size[0] * size[1] > MAX_PIXELS:
        raise BadImage(f"too long and thin ({width}x{height})")
    return size

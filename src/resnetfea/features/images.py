"""One image file to pixels, by the weights' recipe. The rules for odd images stand in docs/images.md."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from io import BytesIO
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from resnetfea.features import reduced
from resnetfea.features.bad_image import BadImage
from resnetfea.features.content import read
from resnetfea.features.formats import format_of, jxl_header, make_ready
from resnetfea.features.limits import Limits
from resnetfea.features.reduced import UPRIGHT
from resnetfea.features.source import Content
from resnetfea.features.whole import is_whole, is_whole_mpo

if TYPE_CHECKING:  # not needed to start a decoder's process, and half of its time
    import numpy as np
    from numpy.typing import NDArray

FORMATS = tuple(  # the content decides among these and formats.py's; all else Pillow knows is left out on purpose
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
BITS_PER_SAMPLE = 258  # a TIFF's tag
LARGE_PIXELS = 24_000_000  # larger pictures are decoded one at a time: the largest WebP takes 1.4 GB meanwhile

Decode = Literal["exact", "fast"]
Room = Callable[[int, int], AbstractContextManager[object]]


class Framing(Protocol):
    """What decoding must know of a Recipe."""

    @property
    def resize(self) -> int | tuple[int, int] | None:
        """Short side, or (height, width), or None."""

    @property
    def rounding(self) -> str:
        """Of the long side: "floor" or "round"."""

    @property
    def interpolation(self) -> str:
        """One of FILTERS."""

    @property
    def crop(self) -> int | None:
        """Side of the square."""


class Picture(NamedTuple):
    """A decoded image: the upright original's size, and the pixels that the network gets."""

    width: int
    height: int
    pixels: NDArray[np.uint8]  # (h, w, 3) RGB, resized and cropped


class Decoded(NamedTuple):
    """The same with Pillow's image, in RGB."""

    width: int
    height: int
    image: Image.Image


def decode(content: Content, recipe: Framing, mode: Decode = "exact", limits: Limits | None = None) -> Picture:
    """Read, turn upright, convert to RGB, resize, crop: in this process, without a limit on time and memory.

    Args:
        content: where its bytes are.
        recipe: what becomes of the pixels.
        mode: "fast" reads a large JPEG at reduced scale; everything else is the same pixels as with "exact".
        limits: of bytes and pixels.

    Raises:
        BadImage: whatever is wrong with the file.
    """
    import numpy as np

    width, height, image = decoded(content, recipe, mode, limits or Limits(), lambda pixels, size: nullcontext())
    return Picture(width, height, np.asarray(image))


def decoded(content: Content, recipe: Framing, mode: Decode, limits: Limits, room: Room) -> Decoded:
    """As `decode`.

    Args:
        room: is entered with the pixels and bytes that the header and the file have, before any pixel is decoded.
    """
    form = None
    try:
        data = read(content, limits.bytes)
        form = format_of(data)
        if form:
            make_ready(form)
        if not is_whole(data):
            raise BadImage("cut short", "cut short")
        if form and form.name == "JXL":
            return _jxl(data, recipe, mode, limits, room)
        image = Image.open(BytesIO(data), formats=[form.name] if form else FORMATS)
        pixels = _allowed(image.size, recipe, limits)
        if image.format == "MPO" and not is_whole_mpo(image, data):
            raise BadImage("cut short", "cut short")
        with room(pixels, len(data)):
            return _picture(image, recipe, mode)
    except BadImage:
        raise
    except UnidentifiedImageError as error:
        if form:
            raise BadImage("broken", f"broken: no {form.shown} that can be opened") from error
        raise BadImage("unknown format", "not an image of a known format") from error
    except Image.DecompressionBombError as error:
        raise BadImage("too large", "too many pixels") from error
    except MemoryError as error:
        raise BadImage("memory", "too large for the memory") from error
    except Exception as error:  # Pillow's decoders raise OSError, ValueError, SyntaxError, struct.error, ...
        reason = str(error).split("\n")[0][:100] or type(error).__name__
        if "truncated" in reason.lower() or "Unexpected end of file" in reason:
            raise BadImage("cut short", "cut short") from error
        if "out of memory" in reason.lower():  # Pillow's words where a C library's malloc gave nothing
            raise BadImage("memory", "too large for the memory") from error
        raise BadImage("broken", f"broken: {reason}") from error


def _jxl(data: bytes, recipe: Framing, mode: Decode, limits: Limits, room: Room) -> Decoded:
    header = jxl_header(data)
    pixels = _allowed(header.size, recipe, limits)
    if header.moving:
        raise BadImage("unsupported", "a moving JPEG XL")
    with room(pixels, len(data)):
        try:
            image = Image.open(BytesIO(data), formats=["JXL"])
        except RuntimeError as error:  # libjxl says no more
            raise BadImage("broken", "broken or cut short") from error
        return _picture(image, recipe, mode)


def _allowed(stored: tuple[int, int], recipe: Framing, limits: Limits) -> int:
    """How many pixels there will be of a picture of this size, before or after the resize.

    Raises:
        BadImage: too many.
    """
    width, height = stored
    if width * height > limits.pixels:
        raise BadImage("too large", f"too many pixels ({width}x{height})")
    size = resized_size(width, height, recipe)
    if size != stored and size[0] * size[1] > max(limits.pixels, Limits.pixels):
        raise BadImage("too large", f"too long and thin ({width}x{height})")
    return max(width * height, size[0] * size[1])


def _picture(image: Image.Image, recipe: Framing, mode: Decode) -> Decoded:
    filter = FILTERS[recipe.interpolation]
    if mode == "fast" and reduced.offered(image):
        orientation = _orientation(image)
        width, height = reduced.upright_size(image.size, orientation)
        size = resized_size(width, height, recipe)
        if (small := reduced.read(image, size, recipe.crop, filter, orientation)) is not None:
            return Decoded(width, height, small)
    image = _rgb(_upright(image))
    width, height = image.size
    image = image.resize(resized_size(width, height, recipe), filter)
    return Decoded(width, height, reduced.middle(image, recipe.crop))


def _upright(image: Image.Image) -> Image.Image:
    image.load()  # Pillow turns a TIFF here, and takes the orientation out of its EXIF
    orientation = _orientation(image)
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def _orientation(image: Image.Image) -> int:
    """As the EXIF says. Broken EXIF says nothing: it is no reason to lose the picture.

    HEIF and JPEG XL have a place of their own for it, which their libraries follow; EXIF is only a note there. (Pillow
    writes AVIF's into the EXIF instead.) A JPEG kept in JPEG XL comes out as the JPEG it was, with its EXIF.
    """
    if image.format == "HEIF" or (image.format == "JXL" and not vars(image)["jpeg"]):
        return 1
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # SyntaxError, struct.error, ...
        return 1


def _rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB. Alpha is dropped, as `convert("RGB")` does in every PyTorch script; more bits keep their upper 8."""
    bits = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))[0]  # Pillow has a TIFF's 12 bits as I;16 too
    if image.mode == "F":
        raise BadImage("unsupported", "floating-point samples, which have no fixed range")
    if image.mode == "I" or image.mode.startswith("I;16"):
        import numpy as np
    if image.mode == "I":  # 32 bits
        samples = np.asarray(image)
        if samples.min() < 0 or samples.max() > 65535:
            raise BadImage("unsupported", "samples outside of 0 to 65535")
        image, bits = image.convert("I;16"), 16
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> (bits - 8)).astype(np.uint8))
    return image if image.mode == "RGB" else image.convert("RGB")


def resized_size(width: int, height: int, recipe: Framing) -> tuple[int, int]:
    """(width, height) behind the recipe's resize."""
    if recipe.resize is None:
        return width, height
    if not isinstance(recipe.resize, int):
        return recipe.resize[1], recipe.resize[0]
    short = min(width, height)
    whole = int if recipe.rounding == "floor" else round
    return whole(recipe.resize * width / short), whole(recipe.resize * height / short)

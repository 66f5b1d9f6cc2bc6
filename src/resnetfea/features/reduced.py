"""A JPEG read at 1/2, 1/4 or 1/8 of its size: the inverse DCT gives fewer pixels, and what follows has less to do.

What it costs in accuracy, and so how much must be left, benchmarks/measure_decode.py measures; docs/images.md has the
numbers.
"""

from __future__ import annotations

from PIL import Image, JpegImagePlugin

SCALES = (8, 4, 2)  # libjpeg-turbo has M/8 for other M, too, but slower than 1/2; Pillow offers these
KEEP = 3.0  # times the size that the recipe resizes to, at least, must be left in both directions
UPRIGHT = {  # what undoes each EXIF orientation; 1 is upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
TURNED = (5, 6, 7, 8)  # where width and height change places
LEFT_IS_END, TOP_IS_END = (
    (2, 3, 6, 7),
    (3, 4, 7, 8),
)  # where it begins at a stored line's or column's end

Size = tuple[int, int]  # width, height


def offered(image: Image.Image) -> bool:
    """Whether an opened picture may be read smaller: JPEG, but no CMYK. A mean of inks has not the mean colour."""
    return isinstance(image, JpegImagePlugin.JpegImageFile) and image.mode in ("RGB", "L")


def upright_size(stored: Size, orientation: int) -> Size:
    """The size that a stored picture has once it is turned, and the other way round."""
    return stored[::-1] if orientation in TURNED else stored


def read(
    image: Image.Image, size: Size, crop: int | None, filter: Image.Resampling, orientation: int
) -> Image.Image | None:
    """An opened JPEG in RGB, upright, resized and cropped; None, and nothing is changed, where no scale leaves enough.

    The entropy-coded data is read to its end at every scale, so a file cut short shows.

    Args:
        image: opened, not loaded, and offered.
        size: that the upright picture is resized to.
        crop: side of the square that is cut from its middle, or None.
        filter: of the resize.
        orientation: the EXIF's, 1 to 8.
    """
    stored, resized = image.size, upright_size(size, orientation)
    left = min(stored[0] / resized[0], stored[1] / resized[1])
    scale = next((scale for scale in SCALES if left >= KEEP * scale), None)
    if scale is None:
        return None
    image.draft(None, (stored[0] // scale, stored[1] // scale))
    if image.size != (-(-stored[0] // scale), -(-stored[1] // scale)):  # Pillow has a rule of its own
        raise ValueError(f"Pillow reads 1/{scale} of {stored[0]}x{stored[1]} as {image.size}")
    at = _offset(size, crop)
    x, y, wide, high = (max(0, at[0]), max(0, at[1]), min(size[0], crop or size[0]), min(size[1], crop or size[1]))
    x = size[0] - wide - x if orientation in LEFT_IS_END else x
    y = size[1] - high - y if orientation in TOP_IS_END else y
    x, y = upright_size((x, y), orientation)
    wide, high = upright_size((wide, high), orientation)
    # of the true extent: a line's or column's last pixel may stand for fewer than scale x scale
    across, down = stored[0] / scale / resized[0], stored[1] / scale / resized[1]
    box = (x * across, y * down, min((x + wide) * across, image.width), min((y + high) * down, image.height))
    image = image.resize((wide, high), filter, box)
    image = image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image
    return middle(image.convert("RGB"), crop)


def middle(image: Image.Image, crop: int | None) -> Image.Image:
    """The square in the middle, with black around where the picture is smaller; all for None."""
    if crop is None:
        return image
    x, y = _offset(image.size, crop)
    return image.crop((x, y, x + crop, y + crop))


def _offset(size: Size, crop: int | None) -> Size:
    """Of the crop in the upright picture; torchvision rounds it."""
    return (0, 0) if crop is None else (round((size[0] - crop) / 2), round((size[1] - crop) / 2))

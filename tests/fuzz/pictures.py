"""Undamaged pictures of every format and of what formats have inside, small, so that damage meets their structure."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import pillow_heif
import pillow_jxl
from PIL import Image

from features.test_images import encoded, run_length_bmp

assert pillow_jxl  # registers its encoder
pillow_heif.register_heif_opener()  # and its own

PNG = b"\x89PNG\r\n\x1a\n"
WIDTH, HEIGHT = 96, 64
# Adam7 (PNG specification, 8.2): where each pass begins, and its steps
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def pictures() -> dict[str, bytes]:
    """Files by a name that says what they are; what stands before the first dash is their suffix."""
    photo, other = _photo(1), _photo(2)
    inks, grey, palette = photo.convert("CMYK"), photo.convert("L"), photo.convert("P", palette=Image.Palette.ADAPTIVE)
    clear = photo.copy()
    clear.putalpha(grey)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "resnetfea"
    noted = {"exif": exif.tobytes()}
    moving: dict[str, Any] = {"save_all": True, "append_images": [other, photo.rotate(180)]}
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) << 8 | np.asarray(other.convert("L")))
    made = {
        "jpg-baseline": encoded(photo, "JPEG"),
        "jpg-progressive": encoded(photo, "JPEG", progressive=True),
        "jpg-restart": encoded(photo, "JPEG", restart_marker_blocks=3, subsampling="4:4:4"),
        "jpg-cmyk": encoded(inks, "JPEG"),
        "jpg-grey": encoded(grey, "JPEG"),
        "jpg-exif": encoded(photo, "JPEG", **noted, icc_profile=bytes(range(256)), comment="resnetfea"),
        "jpg-two": encoded(photo, "MPO", save_all=True, append_images=[other]),
        "png-rgb": encoded(photo, "PNG", **noted),
        "png-16": encoded(deep, "PNG"),
        "png-palette": encoded(palette, "PNG", transparency=bytes(range(256))),
        "png-moving": encoded(photo, "PNG", **moving),
        "png-interlaced": _interlaced(np.asarray(photo)),
        "webp-lossy": encoded(photo, "WEBP"),
        "webp-lossless": encoded(photo, "WEBP", lossless=True),
        "webp-alpha": encoded(clear, "WEBP", **noted),
        "webp-moving": encoded(photo, "WEBP", **moving),
        "gif-one": encoded(photo, "GIF"),
        "gif-moving": encoded(photo, "GIF", transparency=3, duration=70, **moving),
        "bmp-rgb": encoded(photo, "BMP"),
        "bmp-palette": encoded(palette, "BMP"),
        "bmp-runs": run_length_bmp(),
        "avif-one": encoded(photo, "AVIF", **noted),
        "avif-alpha": encoded(clear, "AVIF"),
        "avif-moving": encoded(photo, "AVIF", **moving),
        "heic-one": encoded(photo, "HEIF"),
        "heic-three": encoded(photo, "HEIF", **moving),
        "jxl-lossy": encoded(photo, "JXL"),
        "jxl-lossless": encoded(clear, "JXL", lossless=True, use_container=True),
        "tif-big": encoded(photo, "TIFF", big_tiff=True),
        "tif-16": encoded(deep, "TIFF", **noted),
        "tif-cmyk": encoded(inks, "TIFF", compression="tiff_lzw"),
        "tif-pages": encoded(photo, "TIFF", **moving),
    }
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "lzma", "zstd"):
        made[f"tif-{compression}"] = encoded(photo, "TIFF", compression=compression)
    for compression in ("group3", "group4", "tiff_ccitt"):
        made[f"tif-{compression}"] = encoded(photo.convert("1"), "TIFF", compression=compression)
    return made


def with_right_checksums(data: bytes) -> bytes:
    """A damaged PNG whose chunks say that they are whole, so that what is inside gets to its decoder."""
    if not data.startswith(PNG):
        return data
    parts, at = [PNG], len(PNG)
    while at + 12 <= len(data):
        length = struct.unpack_from(">I", data, at)[0]
        content = data[at + 4 : at + 8 + length]
        parts += [data[at : at + 4], content, struct.pack(">I", zlib.crc32(content))]
        at += 12 + length
    return b"".join(parts)


def _photo(seed: int) -> Image.Image:
    """Smooth, with some noise."""
    chance = np.random.default_rng(seed)
    coarse = Image.fromarray(chance.integers(0, 256, (4, 6, 3), np.uint8)).resize((WIDTH, HEIGHT))
    noise = chance.integers(-12, 13, (HEIGHT, WIDTH, 3))
    return Image.fromarray((np.asarray(coarse) + noise).clip(0, 255).astype(np.uint8))


def _interlaced(pixels: Any) -> bytes:
    """Which Pillow reads and does not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    lines = b"".join(
        b"\0" + line.tobytes() for x, y, across, down in PASSES for line in pixels[y::down, x::across]
    )  # filter 0 before each line
    height, width = pixels.shape[:2]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1))
    return PNG + header + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")

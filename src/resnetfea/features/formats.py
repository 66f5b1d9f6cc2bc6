"""Formats that Pillow decodes where a library is there: known by their content, loaded when the first file comes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from resnetfea.features.bad_image import BadImage
from resnetfea.features.boxes import boxes


class Format(NamedTuple):
    """One of them.

    name: as Pillow has it.
    shown: as people know it.
    begins: its files.
    load: registers its decoder; ImportError where that is not there.
    package: that brings it.
    """

    name: str
    shown: str
    begins: re.Pattern[bytes]
    load: Callable[[], object]
    package: str


def format_of(data: bytes) -> Format | None:
    """What a file is, if it is one of these."""
    return next((one for one in _FORMATS if one.begins.match(data)), None)


def make_ready(format: Format) -> None:
    """Have Pillow know it.

    Raises:
        BadImage: nothing here decodes it.
    """
    try:
        format.load()
    except ImportError as error:
        reason = f"{format.shown} needs a library: pip install {format.package}"
        raise BadImage("unsupported", reason) from error


class JxlHeader(NamedTuple):
    """What a JPEG XL says of itself. Its plugin decodes when it opens, and of a moving one it gives the last frame."""

    size: tuple[int, int]  # width, height as coded
    moving: bool


def jxl_header(data: bytes) -> JxlHeader:
    """Of what may be no whole file: missing bits are zeros.

    ISO/IEC 18181-1, D.2 (U32), D.3.1 (ImageMetadata) and D.3.2 (SizeHeader); 18181-2, 9.9 (boxes).
    """
    coded = data[:JXL_HEADER]
    if not coded.startswith(JXL_CODESTREAM):
        codestreams = {b"jxlc": 0, b"jxlp": 4}  # of a part the number stands before it
        starts = (box.begins + codestreams[box.kind] for box in boxes(data) if box.kind in codestreams)
        start = next(starts, len(data))
        coded = data[start : start + JXL_HEADER]
    bits = int.from_bytes(coded[2:], "little")

    def take(count: int) -> int:
        nonlocal bits
        value, bits = bits & ((1 << count) - 1), bits >> count
        return value

    def size() -> tuple[int, int]:
        small = take(1)

        def side() -> int:
            return 8 * (1 + take(5)) if small else 1 + take((9, 13, 18, 30)[take(2)])

        height = side()
        across, down = ((0, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[take(3)]
        return (height * across // down if across else side()), height

    whole = size()
    plain = take(1) or not take(1)  # all as by default, or no extra fields
    if not plain:
        take(3)  # orientation
        if take(1):
            size()  # that it is to be shown at
    moving = not plain and not take(1) and bool(take(1))  # behind a preview, which nobody writes, it is not looked for
    return JxlHeader(whole, moving)


def _load_avif() -> None:
    from PIL import AvifImagePlugin

    if not AvifImagePlugin.SUPPORTED:
        raise ImportError("this Pillow was built without libavif")
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # pictures are decoded side by side already


def _load_heif() -> None:
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)


def _load_jxl() -> None:
    from pillow_jxl import JpegXLImagePlugin

    JpegXLImagePlugin.DECODE_THREADS = 0  # in the calling thread


JXL_CODESTREAM = b"\xff\x0a"
JXL_HEADER = 2 + 18  # bytes: the signature, and at most 2 * 68 + 7 bits
_FORMATS = (
    # a HEIF file may call itself mif1 and name its codec behind that: ISO/IEC 23008-12, 10.2
    Format(
        "AVIF", "AVIF", re.compile(rb"....ftyp(avi[fs]|m[is]f1.{4}(.{4}){0,9}avif)", re.DOTALL), _load_avif, "pillow"
    ),
    Format(
        "HEIF", "HEIC", re.compile(rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL), _load_heif, "pillow-heif"
    ),
    Format("JXL", "JPEG XL", re.compile(rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n"), _load_jxl, "pillow-jxl-plugin"),
)

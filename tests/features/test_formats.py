"""AVIF, HEIF and JPEG XL: known by their content, whole or refused, upright once, and how it is without a library."""

from __future__ import annotations

import io
import random
import re
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pillow_jxl
import pytest
from PIL import AvifImagePlugin, Image

from features.test_images import AS_IS, FRAMES, PHOTO, STORED, bad, encoded, pixels
from resnetfea.features.bad_image import BadImage
from resnetfea.features.formats import JxlHeader, format_of, jxl_header
from resnetfea.features.images import decode
from resnetfea.features.source import file
from resnetfea.weights.recipe import TORCHVISION

assert pillow_jxl  # registers its encoder
pillow_heif.register_heif_opener()  # and its own


def jxl_of_jpeg(tmp_path: Path, **options: Any) -> bytes:
    """Without loss: it holds what is needed to give the JPEG back, byte for byte."""
    (tmp_path / "inside.jpg").write_bytes(encoded(PHOTO, "JPEG", **options))
    out = io.BytesIO()
    with Image.open(tmp_path / "inside.jpg") as image:
        image.save(out, "JXL", lossless_jpeg=True)
    return out.getvalue()


FILES: dict[str, Callable[[Path], bytes]] = {
    "avif": lambda _: encoded(PHOTO, "AVIF"),
    "avif with alpha": lambda _: encoded(Image.merge("RGBA", (*PHOTO.split(), PHOTO.split()[0])), "AVIF"),
    "moving avif": lambda _: encoded(PHOTO, "AVIF", save_all=True, append_images=FRAMES),
    "heif": lambda _: encoded(PHOTO, "HEIF"),
    "heif of three": lambda _: encoded(PHOTO, "HEIF", save_all=True, append_images=FRAMES),
    "jxl": lambda _: encoded(PHOTO, "JXL"),
    "lossless jxl": lambda _: encoded(PHOTO, "JXL", lossless=True),
    "grey jxl": lambda _: encoded(PHOTO.convert("L"), "JXL"),
    "jxl in boxes": lambda _: encoded(PHOTO, "JXL", use_container=True),
    "jxl of a jpeg": jxl_of_jpeg,
}


@pytest.mark.parametrize("name", FILES)
def test_the_content_decides_the_format(tmp_path: Path, name: str) -> None:
    data = FILES[name](tmp_path)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(image.convert("RGB"))
    assert np.array_equal(pixels(tmp_path, data, name="wrong.gif"), expected)


@pytest.mark.parametrize("name", FILES)
def test_cut_short_is_refused_wherever_it_is_cut(tmp_path: Path, name: str) -> None:
    data = FILES[name](tmp_path)
    size = len(data)
    for keep in {*range(2, size, size // 60), *range(size - 20, size)}:
        reason = bad(tmp_path, data[:keep])
        if data[:2] == b"\xff\x0a":  # which has no table of what must be there
            assert reason == "broken or cut short", keep
        elif keep < 45 or "no AVIF that can be opened" in reason:  # little is there yet, or a box is missing
            assert reason.startswith(("cut short", "broken", "not an image")), keep
        else:
            assert reason == "cut short", keep


@pytest.mark.parametrize("name", ["avif", "heif", "jxl", "jxl in boxes"])
def test_bytes_behind_the_end_do_no_harm(tmp_path: Path, name: str) -> None:
    data = FILES[name](tmp_path)
    for more in (b"more;", b"\0\0\0\0more of it"):
        assert np.array_equal(pixels(tmp_path, data + more), pixels(tmp_path, data)), more


FINE: dict[str, dict[str, Any]] = {
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
    "HEIF": {"quality": 95, "chroma": 444},
    "JXL": {"lossless": True},
}
CORNERS = STORED[1].repeat(32, axis=0).repeat(32, axis=1)  # so large that what the codecs lose is at the edges


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("format", ["AVIF", "HEIF"])
def test_upright_once(tmp_path: Path, orientation: int, format: str) -> None:
    """These write it as the container's own irot and imir, and into the EXIF too."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = STORED[orientation].repeat(32, axis=0).repeat(32, axis=1)
    data = encoded(Image.fromarray(stored), format, exif=exif.tobytes(), **FINE[format])
    assert (b"irot" in data or b"imir" in data) == (orientation != 1)
    (tmp_path / "x").write_bytes(data)
    picture = decode(file(tmp_path / "x"), AS_IS)
    assert (picture.width, picture.height) == CORNERS.shape[1::-1]
    assert np.abs(picture.pixels.astype(int) - CORNERS).mean() < 8


@pytest.mark.parametrize("format", ["AVIF", "HEIF", "JXL"])
def test_where_the_container_has_no_orientation_the_exif_has_no_say(tmp_path: Path, format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(CORNERS), format, exif=exif.tobytes(), **FINE[format])
    data = re.sub(rb"irot.", b"irot\\0", data, flags=re.DOTALL)  # no quarter turn
    assert np.abs(pixels(tmp_path, data).astype(int) - CORNERS).mean() < 8


def test_a_jpeg_within_jpeg_xl_keeps_its_exif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = jxl_of_jpeg(tmp_path, exif=exif)
    assert b"jbrd" in data
    assert np.array_equal(pixels(tmp_path, data), decode(file(tmp_path / "inside.jpg"), AS_IS).pixels)
    assert pixels(tmp_path, data).shape == (60, 40, 3)


def test_more_than_8_bits(tmp_path: Path) -> None:
    ramp = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) << 4
    upper = (ramp >> 8).astype(int)[..., None]
    assert np.array_equal(
        pixels(tmp_path, encoded(Image.fromarray(ramp), "JXL", lossless=True)), upper.repeat(3, axis=2)
    )
    deep = pillow_heif.from_bytes("I;16", (64, 64), ramp.tobytes())
    out = io.BytesIO()
    deep.save(out, quality=-1)  # without loss, in 10 or 12 bits
    assert np.abs(pixels(tmp_path, out.getvalue()).astype(int) - upper).max() <= 1


@pytest.mark.parametrize("boxed", [False, True])
def test_the_size_stands_in_the_header_of_jpeg_xl(boxed: bool) -> None:
    chance = random.Random(1)
    sizes = [(1, 1), (8, 8), (264, 256), (1920, 1080), (640, 480), (300, 200), (513, 512), (3, 9000)]
    sizes += [(chance.randrange(1, 300), chance.randrange(1, 300)) for _ in range(20)]
    for size in sizes:
        data = encoded(Image.new("L", size), "JXL", effort=1, use_container=boxed)
        assert jxl_header(data) == JxlHeader(size, moving=False)


def coded(*fields: tuple[int, int]) -> bytes:
    """A JPEG XL's header of (value, bits)."""
    bits = at = 0
    for value, width in fields:
        bits, at = bits | value << at, at + width
    return b"\xff\x0a" + bits.to_bytes(20, "little")


LARGE = ((0, 1), (3, 2), (99_999, 30), (0, 3), (3, 2), (199_999, 30))  # not small, height, no ratio, width
SMALL = ((1, 1), (4, 5), (1, 3))  # 40 high, as wide
SHOWN = ((1, 1), *SMALL)  # at that size


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    assert bad(tmp_path, coded(*LARGE)) == "too many pixels (200000x100000)"
    for format in ("AVIF", "HEIF"):
        data = encoded(PHOTO.resize((64, 64)), format)
        assert data.count(size := struct.pack(">II", 64, 64)) == 1
        assert bad(tmp_path, data.replace(size, struct.pack(">II", 12_000, 9_999))) == "too many pixels (12000x9999)"
    assert "long and thin" in bad(tmp_path, encoded(Image.new("L", (60_000, 1)), "JXL", effort=1), TORCHVISION)


@pytest.mark.parametrize(
    ("fields", "moving"),
    [
        ((*SMALL, (1, 1), (1, 20)), False),  # all as by default
        ((*SMALL, (0, 1), (0, 1), (1, 20)), False),  # no extra fields
        ((*SMALL, (0, 1), (1, 1), (5, 3), (0, 1), (0, 1), (1, 1)), True),
        ((*SMALL, (0, 1), (1, 1), (5, 3), (0, 1), (0, 1), (0, 1)), False),
        ((*SMALL, (0, 1), (1, 1), (0, 3), *SHOWN, (0, 1), (1, 1)), True),
        ((*LARGE[:2], (9, 30), *LARGE[3:5], (9, 30), (0, 1), (1, 1), (0, 3), *SHOWN, (0, 1), (1, 1)), True),
    ],
)
def test_a_moving_jpeg_xl_is_refused(tmp_path: Path, fields: tuple[tuple[int, int], ...], moving: bool) -> None:
    assert jxl_header(coded(*fields)).moving is moving
    assert (bad(tmp_path, coded(*fields)) == "a moving JPEG XL") is moving


@pytest.mark.parametrize(
    ("name", "module", "reason"),
    [
        ("heif", "pillow_heif", "HEIC needs a library: pip install pillow-heif"),
        ("jxl", "pillow_jxl", "JPEG XL needs a library: pip install pillow-jxl-plugin"),
    ],
)
def test_without_its_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str, reason: str
) -> None:
    (tmp_path / "x.jpg").write_bytes(FILES[name](tmp_path))
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(BadImage) as caught:
        decode(file(tmp_path / "x.jpg"), AS_IS)
    assert (caught.value.kind, caught.value.reason) == ("unsupported", reason)


def test_a_pillow_without_avif(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AvifImagePlugin, "SUPPORTED", False)
    assert bad(tmp_path, FILES["avif"](tmp_path)) == "AVIF needs a library: pip install pillow"


def test_what_else_has_such_boxes_is_no_image(tmp_path: Path) -> None:
    movie = struct.pack(">I4s4sI4s", 20, b"ftyp", b"isom", 512, b"mp41") + struct.pack(">I4s", 8, b"mdat")
    assert format_of(movie) is None
    assert bad(tmp_path, movie) == "not an image of a known format"


@pytest.mark.parametrize(
    ("brands", "name"),
    [
        ((b"avif", b"mif1"), "AVIF"),
        ((b"avis", b"avif"), "AVIF"),
        ((b"mif1", b"miaf", b"avif"), "AVIF"),
        ((b"heic", b"mif1"), "HEIF"),
        ((b"mif1", b"heic"), "HEIF"),
        ((b"msf1", b"hevc"), "HEIF"),
    ],
)
def test_brands(brands: tuple[bytes, ...], name: str) -> None:
    box = struct.pack(">I4s4sI", 16 + 4 * len(brands[1:]), b"ftyp", brands[0], 0) + b"".join(brands[1:])
    found = format_of(box + b"\0\0\0\x20meta")
    assert found
    assert found.name == name

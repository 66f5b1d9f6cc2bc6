"""`resnetfea extract` over a folder with every kind of odd and bad file: rows for the good, a kind for each bad one."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from features.test_formats import jxl_of_jpeg
from features.test_images import FRAMES, PHOTO, encoded
from fuzz.pictures import with_right_checksums

pytestmark = pytest.mark.slow

TINY = Path(__file__).parent / "data" / "tiny.safetensors"
MOVING: dict[str, Any] = {"save_all": True, "append_images": FRAMES}


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()


def extract(*arguments: object, python_path: Path | None = None) -> subprocess.CompletedProcess[str]:
    variables = dict(os.environ)
    if python_path:
        variables["PYTHONPATH"] = os.pathsep.join([str(python_path), *filter(None, [variables.get("PYTHONPATH")])])
    command = [
        sys.executable,
        "-m",
        "resnetfea",
        "extract",
        *map(str, arguments),
        "--weights",
        str(TINY),
        "--layers",
        "c5",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=variables, check=False)
    assert done.returncode == 3, done.stderr
    said = [line for line in done.stderr.splitlines() if not line.startswith("compiling ")]
    assert len(said) == 1, said
    assert "failed; " in said[0]
    return done


def rows(out: Path) -> pa.Table:
    table = pq.read_table(sorted(out.glob("features-*.parquet")))
    features = table["c5"].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
    assert np.isfinite(features).all()
    assert features.any(axis=1).all()
    return table


def failures(out: Path) -> dict[str, tuple[str, str]]:
    table = pq.read_table(out / "failures.parquet").to_pylist()
    found = {one["path"]: (one["kind"], one["reason"]) for one in table}
    assert len(found) == len(table)
    return found


def good_files(tmp_path: Path) -> dict[bytes, bytes]:
    palette = PHOTO.convert("P", palette=Image.Palette.ADAPTIVE)
    alpha = PHOTO.copy()
    alpha.putalpha(PHOTO.convert("L"))
    deep = Image.fromarray(np.asarray(PHOTO.convert("L")).astype(np.uint16) << 8)
    jpeg = encoded(PHOTO, "JPEG")
    return {
        b"-o.jpg": jpeg,
        b"16.png": encoded(deep, "PNG"),
        b"16.tif": encoded(deep, "TIFF", compression="tiff_lzw"),
        b"a png.JPG": encoded(PHOTO, "PNG"),
        b"alpha.webp": encoded(alpha, "WEBP"),
        b"cmyk.jpg": encoded(PHOTO.convert("CMYK"), "JPEG"),
        b"jpeg.jxl": jxl_of_jpeg(tmp_path),
        b"moving.avif": encoded(PHOTO, "AVIF", **MOVING),
        b"moving.gif": encoded(PHOTO, "GIF", **MOVING),
        b"new\nline.jpg": jpeg,
        b"palette.png": encoded(palette, "PNG", transparency=bytes(range(256))),
        b"progressive.jpg": encoded(PHOTO, "JPEG", progressive=True),
        b"still.heic": encoded(PHOTO, "HEIF"),
        b"turned.avif": encoded(PHOTO, "AVIF", exif=turned()),
        b"turned.heic": encoded(PHOTO, "HEIF", exif=turned()),
        b"turned.jpg": encoded(PHOTO, "JPEG", exif=turned()),
        "\N{SMILING FACE WITH SUNGLASSES}.jpg".encode(): jpeg,
        b"\xff\xfe.jpg": jpeg,
    }


def bad_files(folder: Path) -> dict[str, tuple[str, str]]:
    """Makes them. Gives what must become of each."""
    jpeg, png = encoded(PHOTO, "JPEG"), encoded(PHOTO, "PNG")
    bomb = bytearray(png)
    bomb[16:24] = struct.pack(">II", 60_000, 60_000)
    wrong = bytearray(png)
    wrong[60] ^= 1
    whole = {
        "bomb.png": with_right_checksums(bytes(bomb)),
        "broken.png": bytes(wrong),
        "cut in a later frame.gif": encoded(PHOTO, "GIF", **MOVING)[:-300],
        "cut.avif": encoded(PHOTO, "AVIF")[:-1],
        "cut.heic": encoded(PHOTO, "HEIF")[:-1],
        "cut.jpg": jpeg[: len(jpeg) // 2],
        "cut.jxl": encoded(PHOTO, "JXL")[:-1],
        "empty.png": b"",
        "floats.tif": encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"),
        "text.jpg": b"once upon a time\n",
    }
    for name, data in whole.items():
        (folder / name).write_bytes(data)
    with (folder / "large.bmp").open("wb") as file:
        file.truncate((512 << 20) + 1)  # takes no room on the disk
    os.mkfifo(folder / "pipe.gif")
    (folder / "folder.jpg").symlink_to(".")
    (folder / "itself.jpg").symlink_to("itself.jpg")
    (folder / "nowhere.jpg").symlink_to("missing")
    return {
        "bomb.png": ("too large", "too many pixels"),
        "broken.png": ("broken", "broken: broken data stream when reading image file"),
        "cut in a later frame.gif": ("cut short", "cut short"),
        "cut.avif": ("cut short", "cut short"),
        "cut.heic": ("cut short", "cut short"),
        "cut.jpg": ("cut short", "cut short"),
        "cut.jxl": ("broken", "broken or cut short"),
        "empty.png": ("empty", "empty file"),
        "floats.tif": ("unsupported", "floating-point samples, which have no fixed range"),
        "folder.jpg": ("not a file", "a folder that was not entered"),
        "itself.jpg": ("unreadable", "cannot be read: Too many levels of symbolic links"),
        "large.bmp": ("too large", "too large (536,870,913 bytes)"),
        "nowhere.jpg": ("missing", "no such file"),
        "pipe.gif": ("not a file", "not a regular file"),
        "text.jpg": ("unknown format", "not an image of a known format"),
    }


@pytest.mark.parametrize("decode", ["exact", "fast"])
def test_every_kind_of_file(tmp_path: Path, decode: str) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    good = good_files(tmp_path)
    for name, data in good.items():
        with open(os.fsencode(folder) + b"/" + name, "wb") as file:
            file.write(data)
    (folder / "link.jpg").symlink_to("-o.jpg")
    bad = bad_files(folder)
    done = extract(folder, "-o", out, "--decode", decode)
    assert f"{len(bad)} failed" in done.stderr
    assert failures(out) == bad
    table = rows(out)
    names = sorted([*good, b"link.jpg"])
    assert table["path"].to_pylist() == [name.decode("utf-8", "backslashreplace") for name in names]
    sizes = list(zip(table["width"].to_pylist(), table["height"].to_pylist(), strict=True))
    assert sizes == [(40, 60) if b"turned" in name else (60, 40) for name in names]


def test_a_list_with_names_that_no_file_can_have(tmp_path: Path) -> None:
    (tmp_path / "photo").write_bytes(encoded(PHOTO, "JPEG"))
    names = ["photo", "x" * 300, "photo/below", "../" * 2000 + "photo", " ", "photo"]
    (tmp_path / "list.txt").write_text("\n".join(names))
    extract(tmp_path / "list.txt", "-o", tmp_path / "out")
    assert failures(tmp_path / "out") == {
        "x" * 300: ("unreadable", "cannot be read: File name too long"),
        "photo/below": ("unreadable", "cannot be read: Not a directory"),
        "../" * 2000 + "photo": ("unreadable", "cannot be read: File name too long"),
        " ": ("missing", "no such file"),
    }
    assert rows(tmp_path / "out")["path"].to_pylist() == ["photo", "photo"]


def test_limits_are_flags_and_a_resumed_run_may_have_others(tmp_path: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    for index, side in enumerate((10, 20, 200)):
        Image.new("L", (side, side)).save(folder / f"{index}.bmp")
    extract(folder, "-o", out, "--max-pixels", 399, "--max-bytes", 40_000, "--shard-size", 1)
    assert failures(out) == {
        "1.bmp": ("too large", "too many pixels (20x20)"),
        "2.bmp": ("too large", "too large (41,078 bytes)"),
    }
    (out / "features-00001.parquet").unlink()
    extract(folder, "-o", out, "--shard-size", 1, "--resume", "--max-pixels", 400)
    assert failures(out) == {"2.bmp": ("too large", "too large (41,078 bytes)")}


PLUGIN = """
import os, signal
from PIL import Image, ImageFile

class Played(ImageFile.ImageFile):
    format = "JXL"
    def _open(self):
        act = self.fp.read()
        print("something") or os.write(2, b"something")
        if b"crash" in act: os.kill(os.getpid(), signal.SIGSEGV)
        if b"abort" in act: os.abort()
        while b"hang" in act: pass
        taken = []
        while True: taken.append(bytearray(1 << 26))

Image.register_open("JXL", Played, lambda start: start[:2] == b"\\xff\\x0a")
"""


def test_a_decoder_that_crashes_hangs_or_takes_all_memory(tmp_path: Path) -> None:
    """In the place of the library for JPEG XL stands one that does it."""
    folder, out, library = tmp_path / "photos", tmp_path / "out", tmp_path / "library"
    (library / "pillow_jxl").mkdir(parents=True)
    (library / "pillow_jxl" / "__init__.py").touch()
    (library / "pillow_jxl" / "JpegXLImagePlugin.py").write_text(PLUGIN)
    folder.mkdir()
    for index, act in enumerate(("good", "crash", "good", "hang", "good", "bomb", "abort", "good")):
        data = encoded(PHOTO, "JPEG") if act == "good" else b"\xff\x0a" + bytes(20) + act.encode()
        (folder / f"{index}-{act}.jxl").write_bytes(data)
    extract(folder, "-o", out, "--max-seconds", 4, python_path=library)
    assert failures(out) == {
        "1-crash.jxl": ("crash", "the decoder crashed (SIGSEGV)"),
        "3-hang.jxl": ("too slow", "more than 4 s"),
        "5-bomb.jxl": ("memory", "too large for the memory"),
        "6-abort.jxl": ("crash", "the decoder crashed (SIGABRT)"),
    }
    assert rows(out)["path"].to_pylist() == [f"{index}-good.jxl" for index in (0, 2, 4, 7)]

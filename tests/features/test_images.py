"""decode(): the rules of docs/images.md, each held to Pillow's own steps or to known pixels."""

import io
import os
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from resnetfea.features import images
from resnetfea.features.bad_image import BadImage, Kind
from resnetfea.features.images import decode
from resnetfea.features.limits import Limits
from resnetfea.features.source import file
from resnetfea.weights import Recipe
from resnetfea.weights.recipe import TORCHVISION

AS_IS = replace(TORCHVISION, resize=None, crop=None)
RNG = np.random.default_rng(7)
PHOTO = Image.fromarray(RNG.integers(0, 256, (40, 60, 3), np.uint8))
FRAMES = [Image.fromarray(RNG.integers(0, 256, (40, 60, 3), np.uint8)) for _ in range(2)]


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    out = io.BytesIO()
    if "append_images" in options:
        options["append_images"] = [frame.copy() for frame in options["append_images"]]
    image.copy().save(out, format, **options)  # copies: Pillow keeps options of an earlier save in the image
    return out.getvalue()


def pixels(tmp_path: Path, data: bytes, recipe: Recipe = AS_IS, name: str = "x.jpg") -> NDArray[np.uint8]:
    (tmp_path / name).write_bytes(data)
    return decode(file(tmp_path / name), recipe).pixels


def bad(tmp_path: Path, data: bytes, recipe: Recipe = AS_IS) -> str:
    """The reason for which a file is refused."""
    (tmp_path / "x.jpg").write_bytes(data)
    with pytest.raises(BadImage) as caught:
        decode(file(tmp_path / "x.jpg"), recipe)
    reason = str(caught.value)
    assert 3 < len(reason) <= 110
    assert "\n" not in reason
    return reason


ANIMATED: dict[str, Any] = {"save_all": True, "append_images": FRAMES}
FILES: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: encoded(PHOTO, "JPEG"),
    "progressive jpeg": lambda: encoded(PHOTO, "JPEG", progressive=True),
    "two-picture jpeg": lambda: encoded(PHOTO, "MPO", save_all=True, append_images=FRAMES[:1]),
    "three-picture jpeg": lambda: encoded(PHOTO, "MPO", **ANIMATED),
    "png": lambda: encoded(PHOTO, "PNG"),
    "animated png": lambda: encoded(PHOTO, "PNG", **ANIMATED),
    "gif": lambda: encoded(PHOTO, "GIF"),
    "animated gif": lambda: encoded(PHOTO, "GIF", **ANIMATED),
    "webp": lambda: encoded(PHOTO, "WEBP"),
    "lossless webp": lambda: encoded(PHOTO, "WEBP", lossless=True),
    "animated webp": lambda: encoded(PHOTO, "WEBP", **ANIMATED),
    "bmp": lambda: encoded(PHOTO, "BMP"),
    "palette bmp": lambda: encoded(PHOTO.convert("P"), "BMP"),
    "run-length bmp": lambda: run_length_bmp(),
    "tiff": lambda: encoded(PHOTO, "TIFF"),
    "lzw tiff": lambda: encoded(PHOTO, "TIFF", compression="tiff_lzw"),
    "jpeg tiff": lambda: encoded(PHOTO, "TIFF", compression="jpeg"),
    "fax tiff": lambda: encoded(PHOTO.convert("1"), "TIFF", compression="group4"),
    "big tiff": lambda: encoded(PHOTO, "TIFF", big_tiff=True),
}


def run_length_bmp() -> bytes:
    """4x2 pixels of one colour, RLE8: a run of 4, end of line, a run of 4, end of picture."""
    runs = bytes([4, 1, 0, 0, 4, 1, 0, 1])
    palette = bytes([0, 0, 0, 0, 10, 20, 30, 0])
    start = 14 + 40 + len(palette)
    header = struct.pack("<2sIHHI", b"BM", start + len(runs), 0, 0, start)
    return header + struct.pack("<IiiHHIIiiII", 40, 4, 2, 1, 8, 1, len(runs), 0, 0, 2, 0) + palette + runs


@pytest.mark.parametrize("name", FILES)
def test_the_content_decides_the_format(tmp_path: Path, name: str) -> None:
    data = FILES[name]()
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))  # the first frame
    assert np.array_equal(pixels(tmp_path, data, name="wrong.gif"), expected)


@pytest.mark.parametrize("name", FILES)
def test_cut_short_is_refused_wherever_it_is_cut(tmp_path: Path, name: str) -> None:
    data = FILES[name]()
    size = len(data)
    for keep in {size - 1, size - 2, size - 3, size - 4, size - 12, size * 9 // 10, size // 2, size // 3, 60, 20}:
        if 0 < keep < size:
            assert bad(tmp_path, data[:keep]) in ("cut short", "not an image of a known format"), keep


def test_a_jpeg_without_its_end_marker_is_cut_short(tmp_path: Path) -> None:
    """Pillow takes one in twenty of these, and this one: its last byte is nearly all filling."""
    noise = Image.fromarray(np.random.default_rng(19).integers(0, 256, (16, 16, 3), np.uint8))
    data = encoded(noise, "JPEG", quality=30)
    assert pixels(tmp_path, data).shape == (16, 16, 3)
    assert bad(tmp_path, data[:-1]) == bad(tmp_path, data[:-2]) == "cut short"
    filled = data[:2] + b"\xff\xff" + data[2:]  # markers may be filled up
    assert pixels(tmp_path, filled).shape == (16, 16, 3)
    assert bad(tmp_path, filled[:-2]) == "cut short"


@pytest.mark.parametrize("first_picture_only", ["animated gif", "animated webp", "animated png", "two-picture jpeg"])
def test_cut_within_a_later_picture_is_cut_short(tmp_path: Path, first_picture_only: str) -> None:
    data = FILES[first_picture_only]()
    for keep in range(len(data) * 2 // 3, len(data), 97):
        assert bad(tmp_path, data[:keep]) == "cut short"


def test_cut_in_a_later_page_of_a_tiff_is_cut_short(tmp_path: Path) -> None:
    data = encoded(PHOTO, "TIFF", **ANIMATED)
    assert pixels(tmp_path, data).shape == (40, 60, 3)
    for keep in range(len(data) // 2, len(data) - 4, 331):  # Pillow's last 4 bytes are padding that nothing points to
        assert bad(tmp_path, data[:keep]) == "cut short"


def test_bytes_behind_the_end_do_no_harm(tmp_path: Path) -> None:
    for name in ("jpeg", "png", "gif", "webp", "bmp", "tiff"):
        data = FILES[name]()
        assert np.array_equal(pixels(tmp_path, data + b"more;"), pixels(tmp_path, data)), name


def test_a_tiff_whose_tables_overlap_does_not_keep_the_reader_busy(tmp_path: Path) -> None:
    root = struct.pack("<HHHIII", 1, 330, 13, 5_000, 26, 0)  # one table, with 5,000 SubIFDs
    offsets = b"".join(struct.pack("<I", 26 + 20_000 + 12 * index) for index in range(5_000))
    tables = struct.pack("<H10x", 4_000) * 9_010  # at each of these places begins one of 4,000 entries
    assert "overlap" in bad(tmp_path, struct.pack("<2sHI", b"II", 42, 8) + root + offsets + tables)


def test_grey_palette_and_alpha_become_rgb(tmp_path: Path) -> None:
    grey = PHOTO.convert("L")
    assert np.array_equal(pixels(tmp_path, encoded(grey, "PNG")), np.asarray(grey.convert("RGB")))
    palette = PHOTO.convert("P", palette=Image.Palette.ADAPTIVE)
    assert np.array_equal(pixels(tmp_path, encoded(palette, "PNG")), np.asarray(palette.convert("RGB")))
    bilevel = PHOTO.convert("1")
    assert np.array_equal(pixels(tmp_path, encoded(bilevel, "PNG")), np.asarray(bilevel.convert("RGB")))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_alpha_is_dropped_and_not_blended(tmp_path: Path) -> None:
    alpha = Image.fromarray(RNG.integers(0, 256, (40, 60), np.uint8))
    for opaque in (PHOTO, PHOTO.convert("L")):
        clear = opaque.copy()
        clear.putalpha(alpha)
        assert np.array_equal(pixels(tmp_path, encoded(clear, "PNG")), np.asarray(opaque.convert("RGB")))
    palette = PHOTO.convert("P", palette=Image.Palette.ADAPTIVE)
    for transparency in (3, bytes(range(256))):  # one colour; an alpha for each
        data = encoded(palette, "PNG", transparency=transparency)
        assert np.array_equal(pixels(tmp_path, data), np.asarray(palette.convert("RGB")))


def test_cmyk(tmp_path: Path) -> None:
    inks = Image.new("CMYK", (32, 16), (0, 255, 255, 0))  # red: no cyan, all magenta and yellow
    assert np.abs(pixels(tmp_path, encoded(inks, "JPEG", quality=95)).astype(int) - [255, 0, 0]).max() <= 3
    assert np.array_equal(pixels(tmp_path, encoded(inks, "TIFF"))[0, 0], [255, 0, 0])


def test_a_colour_profile_is_not_applied(tmp_path: Path) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert np.array_equal(pixels(tmp_path, encoded(PHOTO, "PNG", icc_profile=profile)), np.asarray(PHOTO))


def test_16_bit_grey_keeps_its_upper_8_bits(tmp_path: Path) -> None:
    samples = np.array([[0, 255, 256, 0x1234, 0x8000, 0xFFFF]], np.uint16)
    upper = np.repeat((samples >> 8).astype(np.uint8)[..., None], 3, axis=2)
    for format in ("PNG", "TIFF"):
        assert np.array_equal(pixels(tmp_path, encoded(Image.fromarray(samples), format)), upper), format
    assert np.array_equal(pixels(tmp_path, encoded(Image.fromarray(samples.astype(np.int32)), "TIFF")), upper)


def test_12_bit_grey_keeps_its_upper_8_bits(tmp_path: Path) -> None:
    data = bytearray(encoded(Image.fromarray(np.zeros((1, 2), np.uint16)), "TIFF"))
    struct.pack_into("<H", data, data.index(struct.pack("<HHI", 258, 3, 1)) + 8, 12)  # BitsPerSample
    at = struct.unpack_from("<I", data, data.index(struct.pack("<H", 273)) + 8)[0]  # StripOffsets
    data[at : at + 3] = b"\x12\x3f\xed"  # two samples: 0x123 and 0xfed
    assert pixels(tmp_path, bytes(data))[0, :, 0].tolist() == [0x12, 0xFE]


def test_16_bit_rgb_keeps_its_upper_8_bits(tmp_path: Path) -> None:
    import zlib

    samples = RNG.integers(0, 65536, (5, 7, 3), np.uint16)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in samples)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 7, 5, 16, 2, 0, 0, 0))
    png = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    assert np.array_equal(pixels(tmp_path, png), samples >> 8)


def test_samples_without_a_known_range_are_refused(tmp_path: Path) -> None:
    floats = Image.fromarray(np.full((4, 4), 0.5, np.float32))
    assert "floating-point" in bad(tmp_path, encoded(floats, "TIFF"))
    for value in (-1, 65536):
        wide = Image.fromarray(np.array([[0, value]], np.int32))
        assert "outside of 0 to 65535" in bad(tmp_path, encoded(wide, "TIFF"))


CORNERS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[255, 255, 0], [0, 255, 255], [9, 9, 9]]], np.uint8)
STORED = {  # how EXIF says that the upright picture is stored: what the first row and column are (EXIF 2.3, 4.6.4)
    1: CORNERS,
    2: CORNERS[:, ::-1],
    3: CORNERS[::-1, ::-1],
    4: CORNERS[::-1],
    5: CORNERS.transpose(1, 0, 2),
    6: np.rot90(CORNERS, 1),
    7: CORNERS[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90(CORNERS, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(("format", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})])
def test_exif_orientation_makes_it_upright(
    tmp_path: Path, orientation: int, format: str, options: dict[str, Any]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation]))
    (tmp_path / "x").write_bytes(encoded(stored, format, exif=exif, **options))
    picture = decode(file(tmp_path / "x"), AS_IS)
    assert np.array_equal(picture.pixels, CORNERS)
    assert (picture.width, picture.height) == (3, 2)


def test_exif_orientation_of_a_jpeg(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = Image.new("RGB", (64, 32), "red")
    wide.paste("blue", (32, 0, 64, 32))
    (tmp_path / "x.jpg").write_bytes(encoded(wide, "JPEG", exif=exif))
    picture = decode(file(tmp_path / "x.jpg"), AS_IS)
    assert (picture.width, picture.height) == (32, 64)
    assert picture.pixels[:20].mean(axis=(0, 1)).argmax() == 0  # stored left is upright top
    assert picture.pixels[-20:].mean(axis=(0, 1)).argmax() == 2


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0nonsense", b"Exif\0\0MM\0*\0\0\0\x08\0\x05"]
)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_broken_exif_does_not_lose_the_picture(tmp_path: Path, exif: bytes) -> None:
    assert pixels(tmp_path, encoded(PHOTO, "JPEG", exif=b"Exif\0\0" + exif)).shape == (40, 60, 3)


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (300, 257), (301, 200), (256, 256), (40, 1000), (3, 2)])
def test_resize_and_crop_are_torchvisions(tmp_path: Path, size: tuple[int, int]) -> None:
    """torchvision 0.29: Resize(256) gives the long side int(256 * long / short); CenterCrop rounds its offset."""
    photo = PHOTO.resize(size)
    width, height = size
    long = int(256 * max(size) / min(size))
    resized = photo.resize((256, long) if width <= height else (long, 256), Image.Resampling.BILINEAR)
    left, top = round((resized.width - 224) / 2.0), round((resized.height - 224) / 2.0)
    expected = np.asarray(resized.crop((left, top, left + 224, top + 224)))
    (tmp_path / "x.png").write_bytes(encoded(photo, "PNG"))
    picture = decode(file(tmp_path / "x.png"), TORCHVISION)
    assert np.array_equal(picture.pixels, expected)
    assert (picture.width, picture.height) == size  # the original's


@pytest.mark.parametrize("name", ["bilinear", "bicubic", "lanczos", "nearest"])
def test_the_recipe_names_the_filter(tmp_path: Path, name: Any) -> None:
    recipe = replace(TORCHVISION, resize=(30, 50), crop=None, interpolation=name)
    expected = np.asarray(PHOTO.resize((50, 30), Image.Resampling[name.upper()]))
    assert np.array_equal(pixels(tmp_path, encoded(PHOTO, "PNG"), recipe), expected)


def test_a_fixed_size_then_the_middle(tmp_path: Path) -> None:
    recipe = replace(TORCHVISION, resize=(256, 256))
    expected = np.asarray(PHOTO.resize((256, 256), Image.Resampling.BILINEAR).crop((16, 16, 240, 240)))
    assert np.array_equal(pixels(tmp_path, encoded(PHOTO, "PNG"), recipe), expected)


def test_rounding_of_the_long_side(tmp_path: Path) -> None:
    data = encoded(PHOTO.resize((300, 200)), "PNG")  # 257 * 300 / 200 = 385.5
    for rounding, long in (("floor", 385), ("round", 386)):
        recipe = replace(TORCHVISION, resize=257, crop=None, rounding=rounding)  # type: ignore[arg-type]
        assert pixels(tmp_path, data, recipe).shape == (257, long, 3)


def test_a_picture_smaller_than_the_crop_gets_black_around_it(tmp_path: Path) -> None:
    got = pixels(tmp_path, encoded(PHOTO, "PNG"), replace(TORCHVISION, resize=None, crop=64))
    assert got.shape == (64, 64, 3)
    assert np.array_equal(got[12:52, 2:62], np.asarray(PHOTO))
    assert not got[:12].any()
    assert not got[:, :2].any()


def test_no_image_at_all(tmp_path: Path) -> None:
    assert bad(tmp_path, b"") == "empty file"
    assert bad(tmp_path, b"once upon a time, " * 99) == "not an image of a known format"
    assert bad(tmp_path, b"<svg xmlns='http://www.w3.org/2000/svg'/>") == "not an image of a known format"
    assert bad(tmp_path, encoded(PHOTO, "PPM")) == "not an image of a known format"  # Pillow knows it; we do not


def test_what_is_no_regular_file_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "nowhere.jpg").symlink_to("missing")
    (tmp_path / "itself.jpg").symlink_to("itself.jpg")
    reasons = {}
    for name in ("pipe.jpg", "folder.jpg", "nowhere.jpg", "itself.jpg", "missing.jpg", "/dev/zero", "a\0b.jpg"):
        with pytest.raises(BadImage) as caught:
            decode(file(tmp_path / name), AS_IS)
        reasons[name] = str(caught.value)
    assert reasons["pipe.jpg"] == reasons["/dev/zero"] == "not a regular file"
    assert reasons["folder.jpg"].startswith("a folder")
    assert reasons["nowhere.jpg"] == reasons["missing.jpg"] == "no such file"
    assert "symbolic links" in reasons["itself.jpg"]
    assert "null" in reasons["a\0b.jpg"]


def test_a_pipes_writer_never_gets_a_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    keeper = os.open(tmp_path / "pipe.jpg", os.O_RDWR)  # so that the writer below need not wait
    writer = os.open(tmp_path / "pipe.jpg", os.O_WRONLY | os.O_NONBLOCK)
    try:
        os.write(writer, b"precious")
        with pytest.raises(BadImage, match="not a regular file"):
            decode(file(tmp_path / "pipe.jpg"), AS_IS)
        assert os.read(keeper, 8) == b"precious"
    finally:
        os.close(writer)
        os.close(keeper)


def bombs() -> dict[str, bytes]:
    """Small files that say that they are huge."""
    tiff = bytearray(encoded(Image.new("L", (8, 8)), "TIFF"))
    for tag in (256, 257):  # ImageWidth, ImageLength: entries of one LONG or SHORT
        at = tiff.index(struct.pack("<H", tag))
        struct.pack_into("<HI", tiff, at + 2, 4, 1)
        struct.pack_into("<I", tiff, at + 8, 60_000)
    png = bytearray(FILES["png"]())
    png[16:24] = struct.pack(">II", 60_000, 60_000)
    gif = bytearray(FILES["gif"]())
    gif[6:10] = struct.pack("<HH", 65_000, 65_000)
    bmp = bytearray(FILES["bmp"]())
    bmp[18:26] = struct.pack("<ii", 60_000, 60_000)
    jpeg = bytearray(FILES["jpeg"]())
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 60_000, 60_000)
    webp = bytearray(FILES["animated webp"]())
    at = webp.index(b"VP8X") + 12
    webp[at : at + 6] = (16_000).to_bytes(3, "little") * 2
    made = {"tiff": tiff, "png": png, "gif": gif, "bmp": bmp, "jpeg": jpeg, "webp": webp}
    return {format: bytes(data) for format, data in made.items()}


@pytest.mark.parametrize("format", ["tiff", "png", "gif", "bmp", "jpeg", "webp"])
def test_a_bomb_is_refused_by_its_header(tmp_path: Path, format: str) -> None:
    reason = bad(tmp_path, bombs()[format])
    assert "too many pixels" in reason or format in ("png", "webp")  # a PNG's checksum, a WebP's frames tell before


def test_bombs_take_little_memory(tmp_path: Path) -> None:
    for format, data in bombs().items():
        (tmp_path / format).write_bytes(data)
    script = (
        "import resource, sys\n"
        "from resnetfea.features.bad_image import BadImage\n"
        "from resnetfea.features.images import decode\n"
        "from resnetfea.features.source import file\n"
        "from resnetfea.weights.recipe import TORCHVISION\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in sys.argv[1:]:\n"
        "    try: decode(file(path), TORCHVISION); print('taken', path)\n"
        "    except BadImage: pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    command = [sys.executable, "-c", script, *map(str, sorted(tmp_path.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 50_000, done.stdout  # kilobytes; the smallest of these pictures has 256 million pixels


def test_the_documented_limits_hold(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs/images.md").read_text(encoding="utf-8")
    assert f"{Limits.pixels:,} (Pillow's limit)" in text
    assert f"`--max-bytes`, {Limits.bytes >> 20} MiB" in text
    assert f"`--max-seconds`, {Limits.seconds:.0f}, " in text
    assert f"more than {images.LARGE_PIXELS // 1_000_000} million pixels" in text
    for kind in get_args(Kind):
        assert f"\n| `{kind}` | " in text
    with (tmp_path / "x.jpg").open("wb") as made:
        made.truncate(Limits.bytes + 1)  # takes no room on the disk
    with pytest.raises(BadImage, match=r"too large \(536,870,913 bytes\)"):
        decode(file(tmp_path / "x.jpg"), AS_IS)


def test_long_and_thin(tmp_path: Path) -> None:
    assert pixels(tmp_path, encoded(Image.new("L", (500, 2)), "PNG"), TORCHVISION).shape == (224, 224, 3)
    assert "long and thin" in bad(tmp_path, encoded(Image.new("L", (60_000, 1)), "PNG"), TORCHVISION)
    assert pixels(tmp_path, encoded(Image.new("L", (60_000, 1)), "PNG"), AS_IS).shape == (1, 60_000, 3)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damage_gives_a_picture_or_a_reason(tmp_path: Path) -> None:
    """Some 450 files with bytes changed, cut out, or put in: nothing else may come out of decode()."""
    chance = random.Random(20)
    outcomes = {"picture": 0, "refused": 0}
    for make in FILES.values():
        whole = make()
        for _ in range(24):
            data = bytearray(whole)
            for _ in range(chance.choice([1, 1, 3, 20])):
                at = chance.randrange(min(len(data), chance.choice([64, 700, len(data)])))
                match chance.randrange(4):
                    case 0:
                        data[at] = chance.randrange(256)
                    case 1:
                        data[at] ^= 1 << chance.randrange(8)
                    case 2:
                        del data[at : at + chance.randrange(1, 30)]
                    case _:
                        data[at:at] = chance.randbytes(chance.randrange(1, 30))
                if not data:
                    break
            (tmp_path / "x.jpg").write_bytes(data)
            try:
                picture = decode(file(tmp_path / "x.jpg"), TORCHVISION)
            except BadImage:
                outcomes["refused"] += 1
            else:
                assert picture.pixels.shape == (224, 224, 3)
                assert picture.pixels.dtype == np.uint8
                outcomes["picture"] += 1
    assert min(outcomes.values()) > 20, outcomes  # the damage is of both kinds

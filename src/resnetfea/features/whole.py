"""Is the file whole? By the format's own bookkeeping, before anything is decoded.

Pillow stops reading behind the first picture's pixels, so it takes many files of which the end is missing. What it does
refuse by itself (BMP without compression, most of a JPEG) is not looked at here.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import Any

from resnetfea.features.boxes import boxes

IFD_POINTERS = (330, 34665, 34853)  # tags of a TIFF that point to further tables: SubIFDs, Exif, GPS
DATA = {273: 279, 324: 325}  # where strips or tiles begin, and how long they are
OFFSETS = {*IFD_POINTERS, *DATA.keys(), *DATA.values()}
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
INTEGERS = {3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}  # types that an offset or a length is written in


def is_whole(data: bytes) -> bool:
    """Whether a file's content goes on to its format's end; True for what is not looked at.

    Raises:
        ValueError: it was made to keep a reader busy.
    """
    check = next((check for signature, check in _CHECKS if signature.match(data)), None)
    try:
        return check is None or check(data)
    except (struct.error, IndexError):  # a field lies behind the file's end
        return False


def is_whole_mpo(image: Any, data: bytes) -> bool:
    """CIPA DC-007: a JPEG with an index, and further JPEGs behind it. Offsets count from the index, and only the second
    picture's can be trusted (Pillow writes wrong lengths, and so wrong offsets behind it): the ends are counted."""
    second = data.index(b"MPF\0" + image.info["mp"]) + 4 + image.mpinfo[0xB002][1]["DataOffset"]
    return bool(data.count(b"\xff\xd9", second) >= image.n_frames - 1)


def _jpeg(data: bytes) -> bool:
    """ITU T.81, B.1.1: segments up to the first scan, and behind it the end marker, which no coded data holds. Pillow
    does not miss it where the last byte before it is nearly all filling."""
    at = 2
    while data[at] == 0xFF and data[at + 1] != 0xDA:
        at += 1 if data[at + 1] == 0xFF else 2 + int(struct.unpack_from(">H", data, at + 2)[0])
    return data[at] != 0xFF or data.rfind(b"\xff\xd9", at) > 0  # what is no marker is the decoder's to refuse


def _png(data: bytes) -> bool:
    """PNG specification, section 5: chunks of length, type, data, checksum, up to IEND."""
    at = 8
    while True:
        length, kind = struct.unpack_from(">I4s", data, at)
        at += 12 + length
        if kind == b"IEND":
            return bool(at <= len(data))


def _gif(data: bytes) -> bool:
    """GIF89a, section 17 on: blocks up to the trailer, each ending in a run of sub-blocks."""
    at = 13 + _color_table(data[10])
    while (kind := data[at]) != ord(";"):
        at += 1
        if kind == ord(","):
            at += 10 + _color_table(data[at + 8])  # position, size, flags, colours, and the code size
        elif kind == ord("!"):
            at += 1
        else:  # readers pass over stray bytes between blocks
            continue
        while length := data[at]:
            at += 1 + length
        at += 1
    return True


def _color_table(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _webp(data: bytes) -> bool:
    """RIFF: the length of all that follows."""
    return 8 + int(struct.unpack_from("<I", data, 4)[0]) <= len(data)


def _bmp(data: bytes) -> bool:
    """Only run-length pictures: in others the file's length is often written wrong, and Pillow misses no pixel."""
    length, compression = struct.unpack_from("<2xI24xI", data)
    return compression not in (1, 2) or int(length) <= len(data)


def _tiff(data: bytes) -> bool:
    """TIFF 6.0, section 2, and BigTIFF: every table, every value, every strip and tile of every page."""
    import numpy as np  # here: it takes longer to import than all else that a decoder's process needs

    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    number, pointer, step = ("Q", "Q", 20) if big else ("H", "I", 12)
    waiting = [int(struct.unpack_from(order + pointer, data, 8 if big else 4)[0])]
    seen, walked = {0}, 0
    while waiting:
        at = waiting.pop()
        if at in seen:
            continue
        seen.add(at)
        count = struct.unpack_from(order + number, data, at)[0]
        at += struct.calcsize(number)
        end = at + count * step
        walked += end - at
        if end > len(data):
            return False
        if walked > len(data):  # made so that it is read again and again
            raise ValueError("tables overlap")
        found = {}  # by tag
        for tag, kind, size, value in _entries(data, order, big, range(at, end, step)):
            if value + size * SIZES.get(kind, 1) > len(data):
                return False
            if kind in INTEGERS and tag in OFFSETS:
                found[tag] = np.frombuffer(data, order + INTEGERS[kind], size, value).astype(np.int64)
        for begins, lengths in DATA.items():
            pieces = min(len(found.get(begins, ())), len(found.get(lengths, ())))
            if pieces and np.any(found[begins][:pieces] + found[lengths][:pieces] > len(data)):
                return False
        waiting.extend(int(offset) for tag in IFD_POINTERS for offset in found.get(tag, ()))
        waiting.append(int(struct.unpack_from(order + pointer, data, end)[0]))
    return True


def _boxed(data: bytes) -> bool:
    """AVIF, HEIF, JPEG XL in a container: all boxes, and of a JPEG XL its last part. A bare one its decoder misses."""
    ends, last = 0, True
    for box in boxes(data):
        ends = box.ends
        if box.kind == b"jxlp":
            last = data[box.begins] >= 0x80  # the first bit of a part's number
    return last and ends <= len(data)


def _entries(data: bytes, order: str, big: bool, places: range) -> Iterator[tuple[int, int, int, int]]:
    """Tag, type, number of values, and where they stand: in the entry itself where they fit."""
    layout, room = ("HHQQ", 8) if big else ("HHII", 4)
    for place in places:
        tag, kind, size, value = struct.unpack_from(order + layout, data, place)
        yield tag, kind, size, place + places.step - room if size * SIZES.get(kind, 1) <= room else value


_CHECKS: tuple[tuple[re.Pattern[bytes], Callable[[bytes], bool]], ...] = (
    (re.compile(rb"\xff\xd8\xff"), _jpeg),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), _png),
    (re.compile(rb"GIF8[79]a"), _gif),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), _webp),
    (re.compile(rb"BM"), _bmp),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), _tiff),
    (re.compile(rb"....ftyp|\0\0\0\x0cJXL ", re.DOTALL), _boxed),
)

"""A zip's entries, each in a place of its own, its size and checksum proven. For torch's .pth and NumPy's .npz.

zipfile reads the directory; what the directory says is then compared with the bytes that are there, and the bytes are
unpacked here, because zipfile believes an entry's size only after it has unpacked all of it.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from io import BytesIO
from typing import NamedTuple

from resnetfea.errors import ResnetFeaError
from resnetfea.weights.arrays import MAX_TENSORS

START = b"PK\3\4"  # an entry's own header
DIRECTORY_ENTRY = b"PK\1\2"
END, END_BYTES = b"PK\5\6", 22  # a zip's last record; the comment stands behind it, its length in the last two bytes
LOCAL_HEADER = 30  # bytes of an entry's own header in front of its name
TRAILER = 24  # most bytes that may follow an entry: its sizes and checksum once more, from writers that don't seek back
ENCRYPTED, UTF8 = 1, 0x800  # an entry's flags
KNOWN_FLAGS = 0x80F  # and how hard it was packed, and sizes behind it; others say that the bytes are something else
MAX_EXTRA = 1024  # bytes beside an entry's name; 28 where it has 64-bit sizes. zipfile takes the square of it in time
RATIO, SLACK = 16, 16 << 20  # trained float32 weights shrink to 0.9, those of half precision to 0.5; zeros to 0.001
MAX_UNPACKED = 720 << 20  # as reading.MAX_BYTES: what a file may hold that is not packed
MAX_INFLATED = 400 << 20  # one entry; a classifier of 21,841 classes has 172 MiB of float32
PIECE = 1 << 16  # bytes that are unpacked at a time, to at most 16 times as many


class Entry(NamedTuple):
    """One file inside the zip, as it lies there."""

    packed: memoryview
    size: int
    crc: int
    deflated: bool


class Archive(NamedTuple):
    """The entries by name, in the directory's order, and the comment behind all of them."""

    entries: dict[str, Entry]
    comment: bytes


def opened(data: bytes) -> Archive:
    """The zip's entries.

    Raises:
        ResnetFeaError: it is no zip; its entries overlap or share a name; something stands in front, between or behind
            that is none of them; it is encrypted; it would be much larger unpacked.
    """
    if data.count(DIRECTORY_ENTRY) > MAX_TENSORS:  # counted first: zipfile makes an object of 1 KB for each entry
        raise ResnetFeaError(f"its zip has more than {MAX_TENSORS:,} entries")
    _check_extras(data)
    try:
        archive = zipfile.ZipFile(BytesIO(data))
    except (zipfile.BadZipFile, struct.error, LookupError, ValueError, ArithmeticError, RuntimeError, OSError) as error:
        raise ResnetFeaError(f"its zip is broken or cut short: {error}") from error
    end = len(data) - END_BYTES - len(archive.comment)
    if data[end : end + len(END)] != END or data[end + 20 : end + 22] != struct.pack("<H", len(archive.comment)):
        raise ResnetFeaError("more follows behind the end of its zip")
    infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    if len({info.filename for info in infos}) != len(infos):
        raise ResnetFeaError("two entries of its zip have one name")
    if not infos or infos[0].header_offset:
        raise ResnetFeaError("its zip is empty, or something lies in front of it")
    sizes = sum(info.file_size for info in infos)
    if sizes > MAX_UNPACKED or sizes > RATIO * len(data) + SLACK:
        raise ResnetFeaError(f"its {len(data):,} bytes would unpack to {sizes:,}; save the weights without compression")
    ends = [info.header_offset for info in infos[1:]] + [archive.start_dir]
    found = {info.filename: _entry(data, info, end) for info, end in zip(infos, ends, strict=True)}
    return Archive({name: found[name] for name in archive.namelist()}, archive.comment)


def _check_extras(data: bytes) -> None:
    """What zipfile will read entry by entry: each but the last is followed by another's beginning, or by the end's."""
    at = -1
    while (at := data.find(DIRECTORY_ENTRY, at + 1)) >= 0 and at + 46 <= len(data):
        name, extra, comment = struct.unpack_from("<HHH", data, at + 28)
        following = at + 46 + name + extra + comment
        if extra > MAX_EXTRA and data[following : following + 2] == b"PK":
            raise ResnetFeaError("its zip has long notes beside its entries' names, which no writer of weights makes")


def _entry(data: bytes, info: zipfile.ZipInfo, end: int) -> Entry:
    """The entry that the directory describes, if the header in front of it says the same; it ends before `end`."""
    at = info.header_offset
    header = data[at : at + LOCAL_HEADER]
    if len(header) < LOCAL_HEADER or not header.startswith(START):
        raise ResnetFeaError(f"its zip is broken or cut short: {info.filename} is not where the directory says")
    flags, method, name_length, extra_length = *struct.unpack("<HH", header[6:10]), *struct.unpack("<HH", header[26:30])
    if (flags | info.flag_bits) & ENCRYPTED:
        raise ResnetFeaError("its zip is encrypted")
    if (flags | info.flag_bits) & ~KNOWN_FLAGS:
        raise ResnetFeaError(f"its zip says something of {info.filename} that no writer of weights does")
    if method != info.compress_type or method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ResnetFeaError(f"its zip packs {info.filename} by method {info.compress_type}; save it with another")
    start = at + LOCAL_HEADER + name_length + extra_length
    name = data[at + LOCAL_HEADER : at + LOCAL_HEADER + name_length]
    text = name.decode("utf-8" if flags & UTF8 else "cp437", "replace")
    if text != info.orig_filename or "\0" in text:  # zipfile would cut it there
        raise ResnetFeaError(f"its zip names {info.filename} in two ways")
    if not 0 <= end - start - info.compress_size <= TRAILER:
        raise ResnetFeaError(f"entries of its zip overlap, are cut short or leave holes: {info.filename}")
    deflated = method == zipfile.ZIP_DEFLATED
    if not deflated and info.compress_size != info.file_size:
        raise ResnetFeaError(f"its zip stores {info.filename} plain, but with two sizes")
    return Entry(memoryview(data)[start : start + info.compress_size], info.file_size, info.CRC, deflated)


def unpacked(archive: Archive, name: str) -> memoryview:
    """An entry's bytes: where it is stored plain, a view of the file.

    Raises:
        ResnetFeaError: its size or its checksum is not the one that the zip states.
    """
    entry = archive.entries[name]
    found = _inflated(entry, name) if entry.deflated else entry.packed
    if zlib.crc32(found) != entry.crc:
        raise ResnetFeaError(f"its zip is broken: the checksum of {name} is another")
    return found


def _inflated(entry: Entry, name: str) -> memoryview:
    if entry.size > MAX_INFLATED:
        raise ResnetFeaError(f"{name} would unpack to {entry.size:,} bytes; save the weights without compression")
    unpack = zlib.decompressobj(-zlib.MAX_WBITS)  # without zlib's own header
    found, at, taken = bytearray(entry.size), 0, 0  # zlib would gather the pieces, and then hold all of them twice
    piece = b""
    try:
        while not unpack.eof:
            if not piece:
                piece = bytes(entry.packed[taken : taken + PIECE])
                taken += len(piece)
            more = unpack.decompress(piece, 16 * PIECE)
            if at + len(more) > entry.size or not (piece or more):
                break
            found[at : at + len(more)] = more
            at, piece = at + len(more), unpack.unconsumed_tail
    except zlib.error as error:
        raise ResnetFeaError(f"its zip is broken: {name}: {error}") from error
    if at != entry.size or not unpack.eof or unpack.unused_data or taken < len(entry.packed):
        raise ResnetFeaError(f"its zip is broken: {name} does not unpack to the {entry.size:,} bytes that it states")
    return memoryview(found).toreadonly()

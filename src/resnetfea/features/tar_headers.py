"""A .tar archive's headers, one at a time: ustar, pax and GNU, as POSIX and GNU tar's manual have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from resnetfea.features.bad_image import BadImage

BLOCK = 512
END = bytes(BLOCK)
MAX_EXTENSION = 1 << 20  # bytes of one pax header or long name; real ones have some hundred
NO_DATA = b"123456"  # links, devices, folders, pipes: whatever size their header states
KEYS = (b"path", b"linkpath", b"size", b"GNU.sparse.name")  # what counts of a pax header
SPARSE = b"GNU.sparse."
COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}


class Header(NamedTuple):
    """One member. offset: of its data; size: of its data in the archive."""

    name: bytes
    type: bytes
    link: bytes
    offset: int
    size: int
    sparse: bool


def headers(file: BinaryIO, length: int) -> Iterator[Header]:
    """All of a file of this many bytes, up to the end mark.

    A member whose data the file's end cuts is among them.

    Raises:
        BadImage: the archive ends or breaks before its end mark.
        OSError: the file can't be read.
    """
    file.seek(0)
    start = file.read(6)
    for magic, kind in COMPRESSED.items():
        if start.startswith(magic):
            raise BadImage("unsupported", f"compressed with {kind}: unpack it to a plain .tar first")
    at = 0
    shared: dict[bytes, bytes] = {}  # facts of pax headers, for all that follow
    own: dict[bytes, bytes] = {}  # and for the next member
    while True:
        block = _read(file, at, BLOCK)
        if block == END:
            return
        _check(block, at)
        type, size, data = block[156:157], _number(block[124:136], at), at + BLOCK
        if type in b"xXgLK":
            if size > MAX_EXTENSION:
                raise BadImage("broken", f"a header of {size:,} bytes at byte {at:,}")
            extension = _read(file, data, size)
            if type == b"L":
                own[b"path"] = _text(extension)
            elif type == b"K":
                own[b"linkpath"] = _text(extension)
            else:
                (shared if type == b"g" else own).update(_pax(extension, at))
            at = data + _padded(size)
            continue
        facts, own = shared | own, {}
        if b"size" in facts:
            size = _decimal(facts[b"size"], at)
        if type in NO_DATA:
            size = 0
        sparse = type == b"S" or SPARSE in facts or b"GNU.sparse.name" in facts
        more = type == b"S" and block[482]
        while more:  # a long map of a sparse member's holes has blocks of its own
            more = _read(file, data, BLOCK)[504]
            data += BLOCK
        name = facts.get(b"GNU.sparse.name") or facts.get(b"path") or _name(block)
        yield Header(_text(name), type, _text(facts.get(b"linkpath") or block[157:257]), data, size, sparse)
        at = data + _padded(size)
        if data + size > length:
            raise BadImage("cut short", f"the archive is cut short at byte {length:,}")


def _read(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    data = file.read(size)
    if len(data) < size:
        raise BadImage("cut short", f"the archive is cut short at byte {at + len(data):,}: it has no end mark")
    return data


def _check(block: bytes, at: int) -> None:
    """Raises BadImage unless the sum in the header is that of its bytes, with blanks in the sum's place."""
    rest = block[:148] + b" " * 8 + block[156:]
    stated = _octal(block[148:156])
    if stated == sum(rest) or stated == sum(byte - 256 if byte > 127 else byte for byte in rest):  # very old ones
        return
    if at == 0:
        raise BadImage("unknown format", "not a tar archive")
    raise BadImage("broken", f"the archive is damaged at byte {at:,}")


def _name(block: bytes) -> bytes:
    name, prefix = _text(block[:100]), _text(block[345:500])
    return prefix + b"/" + name if prefix and block[257:263] == b"ustar\0" else name  # GNU has other things there


def _pax(data: bytes, at: int) -> dict[bytes, bytes]:
    """Of records `LENGTH KEY=VALUE\\n` those that count. The length is that of the whole record."""
    facts = {}
    start, end = 0, len(data.rstrip(b"\0"))
    while start < end:
        blank = data.find(b" ", start, start + 20)
        stop = start + _decimal(data[start : max(blank, start)], at)
        key, equals, value = data[blank + 1 : stop - 1].partition(b"=")
        if not equals or stop > end or data[stop - 1 : stop] != b"\n":
            raise BadImage("broken", f"a broken pax header at byte {at:,}")
        if key in KEYS or key.startswith(SPARSE):  # others could fill the memory
            facts[key if key in KEYS else SPARSE] = value
        start = stop
    return facts


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes, at: int) -> int:
    """Octal digits, or where the first bit is set, a binary number of the other bytes."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    number = _octal(field)
    if number is None:
        raise BadImage("broken", f"a member without a size at byte {at:,}")
    return number


def _octal(field: bytes) -> int | None:
    digits = _text(field).strip(b" ")
    if not digits:
        return 0
    return int(digits, 8) if digits.isdigit() and not set(digits) & set(b"89") else None


def _decimal(digits: bytes, at: int) -> int:
    if not digits.isdigit() or len(digits) > 20:  # 2**64 has 20
        raise BadImage("broken", f"a broken pax header at byte {at:,}")
    return int(digits)


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK

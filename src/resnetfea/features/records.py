"""How a source's list holds what is no plain file: a member of an archive, or what was lost on the way.

A plain file is its name. A record begins with a mark that no name begins with: names in folders are relative, and lines
of a list hold no line break. Names may hold every other byte, so their length is written, and nothing is escaped.
"""

from __future__ import annotations

from typing import NamedTuple, cast

from resnetfea.features.bad_image import Kind

MARK = b"/\n"
LOST = b"!"


class Member(NamedTuple):
    """A span of an archive."""

    archive: bytes
    name: bytes
    offset: int
    size: int


class Lost(NamedTuple):
    """A member that has no bytes, or (without a name) an archive that can't be read on."""

    archive: bytes
    name: bytes
    kind: Kind
    reason: str


def packed(entry: Member | Lost) -> bytes:
    """As bytes without a zero byte, if none of the names holds one."""
    archive, name = entry.archive, entry.name
    if isinstance(entry, Member):
        return MARK + b"%d %d %d\n" % (entry.offset, entry.size, len(archive)) + archive + name
    reason = entry.reason.replace("\n", " ").replace("\0", " ").encode("utf-8", "backslashreplace")
    return MARK + LOST + b"%d\n%b\n%b\n" % (len(archive), entry.kind.encode(), reason) + archive + name


def unpacked(record: bytes) -> Member | Lost | None:
    """What packed() got; None where it is a plain name."""
    if not record.startswith(MARK):
        return None
    body = record[len(MARK) :]
    if body.startswith(LOST):
        length, kind, reason, names = body[len(LOST) :].split(b"\n", 3)
        archive, name = names[: int(length)], names[int(length) :]
        return Lost(archive, name, cast(Kind, kind.decode()), reason.decode())
    numbers, names = body.split(b"\n", 1)
    offset, size, held = map(int, numbers.split())
    return Member(names[:held], names[held:], offset, size)

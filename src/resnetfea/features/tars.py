"""The image members of a .tar archive: where each one's bytes are. Nothing is unpacked.

Python's tarfile keeps every member in memory, and takes a damaged header in the middle for the end.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from io import SEEK_END
from typing import BinaryIO, NamedTuple

from resnetfea.features.bad_image import BadImage
from resnetfea.features.records import Lost, Member, packed
from resnetfea.features.tar_headers import Header, headers

LINKS = b"12"  # types of members: hard, symbolic. What is in none of these is a file, unknown types too (POSIX)
NO_FILES = b"5DVNAI"  # folders, and what GNU and Solaris keep beside the files
SPECIAL = b"346M"  # devices, a pipe, the rest of a file that began in another archive
REMEMBERED = 50_000  # files that a link may lead to, at least
LONGEST_LINK = 4_096  # bytes of a name, as Linux has it


def records(opened: Callable[[bytes], BinaryIO], archive: bytes, suffixes: tuple[bytes, ...]) -> Iterator[bytes]:
    """A record for each member with such a suffix, as the archive has them, and one where it can't be read on.

    What is hidden in a folder is left out here too (names that begin with a dot), and macOS's __MACOSX.
    """
    try:
        with opened(archive) as file:
            for member in _members(file, archive):
                if member.name.lower().endswith(suffixes) and not _hidden(member.name):
                    yield packed(member)
    except BadImage as bad:
        yield packed(Lost(archive, b"", bad.kind, bad.reason))
    except FileNotFoundError:
        yield packed(Lost(archive, b"", "missing", "no such file"))
    except OSError as error:
        yield packed(Lost(archive, b"", "unreadable", f"cannot be read: {error.strerror or error}"))


class _Span(NamedTuple):
    offset: int
    size: int


def _members(file: BinaryIO, archive: bytes) -> Iterator[Member | Lost]:
    """All that are files, or should be.

    Raises:
        BadImage: the archive is damaged.
    """
    earlier = _Earlier()
    for header in headers(file, file.seek(0, SEEK_END)):
        if header.type in NO_FILES or header.name.endswith(b"/"):
            continue
        if header.sparse:
            yield Lost(archive, header.name, "unsupported", "a sparse member of the archive")
        elif header.type in SPECIAL:
            yield Lost(archive, header.name, "not a file", "not a regular file")
        elif span := earlier.target(header) if header.type in LINKS else _Span(header.offset, header.size):
            earlier.add(header.name, span)
            yield Member(archive, header.name, *span)
        else:
            yield Lost(archive, header.name, "missing", "a link to what is not before it in the archive")


class _Earlier:
    """The last files that were met, by name, for the links that lead to them."""

    def __init__(self) -> None:
        self.recent: dict[bytes, _Span] = {}
        self.older: dict[bytes, _Span] = {}

    def add(self, name: bytes, span: _Span) -> None:
        if len(name) > LONGEST_LINK:
            return
        if len(self.recent) == REMEMBERED:
            self.recent, self.older = {}, self.recent
        self.recent[posixpath.normpath(name)] = span

    def target(self, header: Header) -> _Span | None:
        folder = b"" if header.type == b"1" else posixpath.dirname(header.name)
        name = posixpath.normpath(posixpath.join(folder, header.link))
        return self.recent.get(name) or self.older.get(name)


def _hidden(name: bytes) -> bool:
    if not name.startswith(b".") and b"/." not in name and b"__MACOSX" not in name:  # as a rule
        return False
    return any(
        part == b"__MACOSX" or (part.startswith(b".") and part not in (b".", b"..")) for part in name.split(b"/")
    )

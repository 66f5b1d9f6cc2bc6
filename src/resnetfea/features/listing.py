"""Which images there are: of a folder, a pattern, a list, an archive, or one; here, or behind a URL.

In a fixed order, and in memory that does not grow with them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from resnetfea.errors import ResnetFeaError
from resnetfea.features import globs, tars
from resnetfea.features.bad_image import BadImage
from resnetfea.features.limits import Limits
from resnetfea.features.lists import Lines, is_url, lines
from resnetfea.features.local import Local
from resnetfea.features.records import Lost, Member, unpacked
from resnetfea.features.source import Content, Source
from resnetfea.features.walking import Tree, Unlistable, walk

SUFFIXES = (
    *(b".jpg", b".jpeg", b".png", b".webp", b".gif", b".bmp", b".tif", b".tiff"),
    *(b".avif", b".heic", b".heif", b".jxl"),
)
ARCHIVE = b".tar"
COMPRESSED = (b".tar.gz", b".tgz", b".tar.bz2", b".tbz2", b".tar.xz", b".txz", b".tar.zst", b".tzst", b".tar.lz4")


@dataclass(frozen=True)
class Files:
    """Image files, and members of archives. Names are relative to base, or as a list has them."""

    where: str
    base: Tree | Lines
    listed: Callable[[], Iterator[bytes]]
    one_archive: bool = False  # then its name is left out of `path`
    fixed: bool = False

    def check(self) -> None:
        if not self.base.is_there():
            raise ResnetFeaError(f"{self.where}: it is gone, or empty now; was it unmounted?")

    def names(self) -> Iterator[bytes]:
        return self.listed()

    def shown(self, name: bytes) -> str:
        entry = unpacked(name)
        if entry is None:
            return shown(name)
        if not entry.name:
            return shown(entry.archive)
        return shown(entry.name if self.one_archive else entry.archive + b"/" + entry.name)

    def content(self, name: bytes) -> Content:
        match unpacked(name):
            case Member(archive, _, offset, size):
                return self.base.content(archive, offset, size)
            case Lost() as lost:
                return partial(_lost, lost)
            case None:
                return self.base.content(name)


def images(source: str | Path, scratch: str | Path | None = None, most: int = Limits.bytes) -> Source:
    """The images of a folder, a pattern, a list (UTF-8 `*.txt`), an archive (`*.tar`), or the one image.

    What a folder and a pattern give is sorted by the bytes of the path; a list and an archive keep their order. A
    pattern and a list may give archives too.

    Args:
        source: a path, a pattern that is no path, or a URL that fsspec knows.
        scratch: where a folder with more than 200,000 names is sorted; None for the system's temporary folder.
        most: bytes of an image that are fetched from a URL.

    Raises:
        ResnetFeaError: there is nothing at this path, or it can't be read.
    """
    given = os.fspath(source)
    tree: Tree = Local(b"")
    if is_url(given) and not os.path.lexists(given):
        from resnetfea.features import remote  # fsspec

        tree, path = remote.located(given, most)
        where = remote.public(given)
    else:
        path = os.fsencode(given)
        where = shown(os.path.abspath(path))
    kind = tree.kind(path)
    if kind == "folder":
        below = tree.below(path)
        return Files(where, below, partial(_walked, below, globs.ALL, SUFFIXES, scratch, where))
    name = os.fsencode(where).lower()  # a URL without its query
    if name.endswith(COMPRESSED):
        raise ResnetFeaError(f"{where}: a compressed archive can't be read from the middle; unpack it to a plain .tar")
    if kind is None and globs.is_pattern(path):
        base, pattern = globs.parted(path)
        if base and tree.kind(base) != "folder":
            raise ResnetFeaError(f"{where}: there is no folder {shown(base)}")
        below = tree.below(base)
        return Files(where, below, partial(_expanded, below.opened, partial(_matches, below, pattern, scratch, where)))
    if kind != "file":
        raise ResnetFeaError(
            f"{where}: no such folder or file; give a folder of images, a pattern, a .txt list, a .tar, or an image"
        )
    folder, file = tree.below(os.path.dirname(path)), os.path.basename(path)
    if name.endswith(SUFFIXES):
        return Files(where, folder, partial(iter, [file]), fixed=True)
    if name.endswith(ARCHIVE):
        return Files(where, folder, partial(tars.records, folder.opened, file, SUFFIXES), one_archive=True, fixed=True)
    if name.endswith(b".txt"):
        found = Lines(folder, most)
        return Files(
            where,
            found,
            partial(_expanded, found.opened, partial(lines, partial(folder.opened, file), where)),
            fixed=True,
        )
    raise ResnetFeaError(f"{where}: neither a folder, nor a .txt list, nor a .tar, nor an image by its suffix")


def shown(name: bytes) -> str:
    """A path as the tables have it: bytes that are not UTF-8 as \\xNN."""
    return name.decode("utf-8", "backslashreplace")


def _walked(
    tree: Tree, pattern: globs.Pattern, suffixes: tuple[bytes, ...], scratch: str | Path | None, where: str
) -> Iterator[bytes]:
    try:
        yield from walk(tree, pattern, suffixes, scratch)
    except Unlistable as error:
        raise ResnetFeaError(f"{where}: cannot be listed: {error}") from error


def _matches(tree: Tree, pattern: globs.Pattern, scratch: str | Path | None, where: str) -> Iterator[bytes]:
    names = _walked(tree, pattern, (*SUFFIXES, ARCHIVE), scratch, where)
    first = next(names, None)
    if first is None:
        raise ResnetFeaError(f"{where}: no image and no .tar matches (* stays within one folder, ** goes through them)")
    yield first
    yield from names


def _expanded(opened: Callable[[bytes], BinaryIO], names: Callable[[], Iterator[bytes]]) -> Iterator[bytes]:
    """With the members of each archive in its place."""
    for name in names():
        if name.lower().endswith(ARCHIVE):
            yield from tars.records(opened, name, SUFFIXES)
        else:
            yield name


def _lost(lost: Lost) -> bytes:
    raise BadImage(lost.kind, lost.reason)

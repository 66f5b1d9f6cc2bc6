"""Which images there are: a folder (recursively), a list file, or one image. In a fixed order, in constant memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from resnetfea.errors import ResnetFeaError
from resnetfea.features.source import Place, Source

SUFFIXES = (
    *(b".jpg", b".jpeg", b".png", b".webp", b".gif", b".bmp", b".tif", b".tiff"),
    *(b".avif", b".heic", b".heif", b".jxl"),
)


@dataclass(frozen=True)
class Files:
    """Image files on this machine. Names are relative to base, or absolute in a list."""

    where: str
    base: bytes
    listed: Callable[[], Iterator[bytes]]

    def names(self) -> Iterator[bytes]:
        return self.listed()

    def shown(self, name: bytes) -> str:
        return shown(name)

    def content(self, name: bytes) -> Place:
        return Place(os.path.join(self.base, name))


def images(source: str | Path) -> Source:
    """The images of a folder, of a list file (UTF-8 `*.txt`, one path a line), or the one image.

    A folder's images are sorted by the bytes of their path. A list's are as in the list.

    Raises:
        ResnetFeaError: there is nothing at this path, or it can't be read.
    """
    path = os.fsencode(source)
    where = shown(os.path.abspath(path))
    if os.path.isdir(path):
        try:
            os.scandir(path).close()
        except OSError as error:
            raise ResnetFeaError(f"{source}: cannot be listed: {error.strerror}") from error
        return Files(where, path, partial(_walk, path))
    if not os.path.isfile(path):
        raise ResnetFeaError(f"{source}: no such folder or file; give a folder of images, a .txt list, or an image")
    if path.lower().endswith(SUFFIXES):
        return Files(where, os.path.dirname(path), partial(iter, [os.path.basename(path)]))
    if path.lower().endswith(b".txt"):
        return Files(where, os.path.dirname(path), partial(_listed, Path(source)))
    raise ResnetFeaError(f"{source}: neither a folder, nor a .txt list, nor an image by its suffix")


def shown(name: bytes) -> str:
    """A path as the tables have it: bytes that are not UTF-8 as \\xNN."""
    return name.decode("utf-8", "backslashreplace")


def _walk(base: bytes) -> Iterator[bytes]:
    """Image names below base. A folder sorts as its name with a slash, so that whole paths come sorted."""
    waiting = [_entries(base, b"")]  # one iterator for each folder on the way down
    while waiting:
        name = next(waiting[-1], None)
        if name is None:
            waiting.pop()
        elif not name.endswith(b"/"):
            if name.lower().endswith(SUFFIXES):
                yield name
        else:
            try:
                waiting.append(_entries(base, name))
            except OSError:  # no rights, or gone meanwhile: the folder itself becomes one failure
                yield name


def _entries(base: bytes, folder: bytes) -> Iterator[bytes]:
    """What a folder holds, sorted, relative to base; folders end in a slash, links to folders do not."""
    with os.scandir(os.path.join(base, folder)) as entries:
        names = sorted(
            entry.name + b"/" if entry.is_dir(follow_symlinks=False) else entry.name
            for entry in entries
            if not entry.name.startswith(b".")
        )
    return iter([folder + name for name in names])


def _listed(path: Path) -> Iterator[bytes]:
    try:
        with path.open(encoding="utf-8-sig") as lines:  # -sig: Windows editors begin with a byte-order mark
            for line in lines:
                if "\0" in line:  # as UTF-16 has it; no path can hold it
                    raise ValueError("a zero byte in it")
                if name := line.rstrip("\r\n"):
                    yield os.fsencode(name)
    except (OSError, ValueError) as error:
        raise ResnetFeaError(f"{path}: cannot be read as a UTF-8 list: {error}") from error

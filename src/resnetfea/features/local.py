"""Files on this machine."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from resnetfea.features.source import Place
from resnetfea.features.walking import Unlistable


@dataclass(frozen=True)
class Local:
    """Below a folder; b"" for the working folder. A walking.Tree."""

    base: bytes

    def kind(self, name: bytes) -> Literal["folder", "file", "other"] | None:
        path = self._path(name)
        if os.path.isdir(path):
            return "folder"
        if os.path.isfile(path):
            return "file"
        return "other" if os.path.lexists(path) else None

    def is_there(self) -> bool:
        """An unmounted disk leaves an empty folder, or one that can't be read."""
        try:
            return next(self.entries(b""), None) is not None
        except Unlistable:
            return False

    def below(self, folder: bytes) -> Local:
        return Local(os.path.join(self.base, folder))

    def entries(self, folder: bytes) -> Iterator[bytes]:
        try:
            with os.scandir(self._path(folder)) as entries:
                for entry in entries:
                    yield entry.name + b"/" if entry.is_dir(follow_symlinks=False) else entry.name
        except OSError as error:
            raise Unlistable(error.strerror) from error

    def content(self, name: bytes, offset: int = 0, size: int | None = None) -> Place:
        return Place(os.path.join(self.base, name), offset, size)

    def opened(self, name: bytes) -> BinaryIO:
        path = self._path(name)
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe or a device has effects of its own
            raise OSError("not a regular file")
        return open(path, "rb")

    def _path(self, name: bytes) -> bytes:
        return os.path.join(self.base, name) or b"."

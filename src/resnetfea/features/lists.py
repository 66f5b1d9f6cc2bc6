"""A list of images: UTF-8 text, one path a line, relative to the list's folder, absolute, or a URL."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from io import TextIOWrapper
from typing import BinaryIO

from resnetfea.errors import ResnetFeaError
from resnetfea.features.source import Content
from resnetfea.features.walking import Tree


def is_url(path: str | bytes) -> bool:
    return "://" in os.fsdecode(path)


def lines(opened: Callable[[], BinaryIO], shown: str) -> Iterator[bytes]:
    """The lines that are not empty.

    Raises:
        ResnetFeaError: it can't be read, or is no UTF-8.
    """
    try:
        with TextIOWrapper(
            opened(), encoding="utf-8-sig"
        ) as text:  # -sig: Windows editors begin with a byte-order mark
            for line in text:
                if "\0" in line:  # as UTF-16 has it; no path can hold it
                    raise ValueError("a zero byte in it")
                if name := line.rstrip("\r\n"):
                    yield os.fsencode(name)
    except (OSError, ValueError) as error:
        raise ResnetFeaError(f"{shown}: cannot be read as a UTF-8 list: {error}") from error


@dataclass(frozen=True)
class Lines:
    """What a list's lines lead to."""

    folder: Tree
    most: int  # bytes of an image behind a URL

    def content(self, name: bytes, offset: int = 0, size: int | None = None) -> Content:
        """A URL is looked at where the bytes are wanted: some servers are connected to at once, and may be dead."""
        if is_url(name):
            from resnetfea.features import remote  # fsspec

            url = os.fsdecode(name)
            if remote.known(url):
                return partial(remote.fetched, url, self.most, offset, size)
        return self.folder.content(name, offset, size)

    def is_there(self) -> bool:
        return True  # each line may lead elsewhere

    def opened(self, name: bytes) -> BinaryIO:
        tree, name = self._at(name)
        return tree.opened(name)

    def _at(self, name: bytes) -> tuple[Tree, bytes]:
        if not is_url(name):
            return self.folder, name
        from resnetfea.features import remote  # fsspec

        url = os.fsdecode(name)
        return remote.located(url, self.most) if remote.known(url) else (self.folder, name)

"""Files behind a URL that fsspec knows: s3://, gs://, https://, sftp://, ... Imported only where one is given."""

from __future__ import annotations

import io
import os
import posixpath
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, BinaryIO, Literal, cast
from urllib.parse import urlsplit

import fsspec
import fsspec.core
from fsspec.implementations.local import LocalFileSystem

from resnetfea.errors import ResnetFeaError
from resnetfea.features.bad_image import BadImage
from resnetfea.features.content import read, too_large
from resnetfea.features.local import Local
from resnetfea.features.walking import Tree, Unlistable

_one_thread = Lock()


class MissingPackage(ResnetFeaError):
    """Of fsspec, for a kind of URL: no fault of the image."""


def known(url: str) -> bool:
    """Whether fsspec has this scheme, perhaps in a package that is missing."""
    return url.split("://", 1)[0].split("::", 1)[0] in fsspec.available_protocols()


def located(url: str, most: int) -> tuple[Tree, bytes]:
    """The tree that a URL leads into, and the name in it. Of an image `most` bytes are fetched.

    Raises:
        ResnetFeaError: nobody knows this kind of URL, or a package is missing for it.
    """
    try:
        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        missing = getattr(error.__cause__, "name", None) or getattr(error, "name", None)
        if not missing:
            raise MissingPackage(f"{public(url)}: {error}") from error
        raise MissingPackage(f"{public(url)}: needs a package that is not installed: pip install {missing}") from error
    except Exception as error:  # ValueError of an unknown scheme; each file system has its own
        raise ResnetFeaError(f"{public(url)}: cannot be used: {_reason(error)}") from error
    if isinstance(system, LocalFileSystem):
        return Local(b""), os.fsencode(path)
    path, mark, query = path.partition("?") if path.startswith(("http://", "https://")) else (path, "", "")
    return Remote(system, most, b"", mark + query), os.fsencode(path)


def fetched(url: str, most: int, offset: int, size: int | None) -> bytes:
    """The bytes behind one URL, or some of them.

    Raises:
        BadImage: they can't be had.
        MissingPackage: one is needed for this kind of URL.
    """
    try:
        tree, name = located(url, most)
    except MissingPackage:
        raise
    except ResnetFeaError as error:
        raise BadImage("unreadable", str(error)) from error
    return read(tree.content(name, offset, size), most)


def public(url: str) -> str:
    """Without user, password, and a query that may hold a signature."""
    whole = re.sub(r"\?[^*]*=.*", "", url)  # a ? without = is part of a pattern
    for part in whole.split("::"):
        try:
            address = urlsplit(part).netloc
        except ValueError:  # brackets that are no address
            continue
        whole = whole.replace(f"//{address}", f"//{address.rpartition('@')[2]}") if "@" in address else whole
    return whole


@dataclass(frozen=True)
class Remote:
    """Below a path of an fsspec file system. A walking.Tree.

    A folder's listing is held in memory while it is sorted: fsspec has no other.

    Args:
        most: bytes of an image that are fetched; one more, so that it shows.
        query: of an https URL; it goes behind every name, as signatures of whole folders need it.
    """

    system: Any
    most: int
    base: bytes
    query: str = ""

    def kind(self, name: bytes) -> Literal["folder", "file", "other"] | None:
        shown = os.fsdecode(posixpath.join(self.base, name))
        try:
            with _alone(self.system):
                found = self.system.info(self._path(name))["type"]
        except FileNotFoundError as error:
            if _is_absent(error.__cause__):
                return None
            raise ResnetFeaError(f"{shown}: cannot be reached: {_reason(error.__cause__ or error)}") from error
        except Exception as error:
            raise ResnetFeaError(f"{shown}: cannot be reached: {_reason(error)}") from error
        return "folder" if found == "directory" else "file" if found == "file" else "other"

    def is_there(self) -> bool:
        """A web server may know no folders, so there every image speaks for itself."""
        return {"http", "https"} & set(_protocols(self.system)) != set() or self.kind(b"") is not None

    def below(self, folder: bytes) -> Remote:
        return Remote(self.system, self.most, posixpath.join(self.base, folder), self.query)

    def entries(self, folder: bytes) -> Iterator[bytes]:
        path = self._path(folder).rstrip("/")
        try:
            with _alone(self.system):
                found = self.system.ls(path, detail=True)
                self.system.invalidate_cache(path)  # it would keep the listing of every folder
        except Exception as error:
            raise Unlistable(_reason(error)) from error
        for entry in found:
            name = entry["name"].rstrip("/")
            if name.strip("/") == path.strip("/"):  # the marker object that stands for an empty folder
                continue
            if entry["type"] == "directory":
                yield os.fsencode(posixpath.basename(name)) + b"/"
            elif not entry["name"].endswith("/"):
                yield os.fsencode(posixpath.basename(name))

    def content(self, name: bytes, offset: int = 0, size: int | None = None) -> partial[bytes]:
        return partial(self._fetched, name, offset, size)

    def opened(self, name: bytes) -> BinaryIO:
        return cast(BinaryIO, io.BufferedReader(_Stream(self.system, self._path(name))))

    def _fetched(self, name: bytes, offset: int, size: int | None) -> bytes:
        if name.endswith(b"/"):
            raise BadImage("unreadable", "a folder that could not be listed")
        if size is not None and size > self.most:
            raise too_large(size)
        path, wanted = self._path(name), self.most + 1 if size is None else size  # one more shows that it is too large
        try:
            with _alone(self.system):
                data: bytes = self.system.cat_file(path, start=offset, end=offset + wanted) if wanted else b""
        except FileNotFoundError as error:
            raise BadImage("missing", "no such file") from error
        except IsADirectoryError as error:
            raise BadImage("not a file", "a folder") from error
        except Exception as error:
            if size is None and self._is_empty(path):  # servers refuse a range of nothing
                return b""
            raise BadImage("unreadable", f"cannot be fetched: {_reason(error)}") from error
        if size is not None and len(data) > size:
            raise BadImage("unreadable", "the server does not give parts of a file")
        if size is not None and len(data) < size:
            raise BadImage("cut short", "cut short")
        return data

    def _is_empty(self, path: str) -> bool:
        try:
            with _alone(self.system):
                return bool(self.system.size(path) == 0)
        except Exception:  # then the first error says what is wrong
            return False

    def _path(self, name: bytes) -> str:
        return os.fsdecode(posixpath.join(self.base, name)) + self.query


class _Stream(io.RawIOBase):
    """A remote file whose errors are all OSError."""

    def __init__(self, system: Any, path: str) -> None:
        self.file = self._of(system.open, path, "rb")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._of(self.file.read, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._of(self.file.seek, offset, whence))

    def tell(self) -> int:
        return int(self._of(self.file.tell))

    def close(self) -> None:
        if not self.closed:
            self.file.close()
        super().close()

    def _of(self, call: Any, *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except OSError:
            raise
        except Exception as error:
            raise OSError(_reason(error)) from error


def _protocols(system: Any) -> tuple[str, ...]:
    return (system.protocol,) if isinstance(system.protocol, str) else tuple(system.protocol)


def _alone(system: Any) -> AbstractContextManager[object]:
    """Only the asynchronous file systems may be used by several threads at once."""
    return nullcontext() if system.async_impl else _one_thread


def _is_absent(cause: BaseException | None) -> bool:
    """Of FileNotFoundError: fsspec's https raises it of servers too that are not there, or refuse."""
    refused = isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError)
    return not refused and getattr(cause, "status", 404) == 404


def _reason(error: BaseException) -> str:
    text = str(error).strip().split("\n")[0][:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

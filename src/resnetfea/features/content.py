"""The bytes of one image, or why they can't be had."""

from __future__ import annotations

import os
import stat

from resnetfea.features.bad_image import BadImage
from resnetfea.features.limits import Limits
from resnetfea.features.source import Content, Place


def read(content: Content, limit: int = Limits.bytes) -> bytes:
    """The file's content. Pipes, devices and sockets are never opened.

    Raises:
        BadImage: it can't be had, or is too large or empty.
    """
    data = _read(content, limit) if isinstance(content, Place) else content()
    if len(data) > limit:
        raise too_large(len(data))
    if not data:
        raise BadImage("empty", "empty file")
    return data


def too_large(size: int) -> BadImage:
    """A file of more bytes than allowed."""
    return BadImage("too large", f"too large ({size:,} bytes)")


def _read(place: Place, limit: int) -> bytes:
    try:
        mode = os.stat(place.path).st_mode  # before it is opened: opening a device or a pipe has effects of its own
        if stat.S_ISDIR(mode):
            raise BadImage("not a file", "a folder that was not entered")
        if not stat.S_ISREG(mode):
            raise BadImage("not a file", "not a regular file")
        with open(place.path, "rb") as file:
            size = os.fstat(file.fileno()).st_size - place.offset if place.size is None else place.size
            if size > limit:
                raise too_large(size)
            file.seek(place.offset)
            data = file.read() if place.size is None else file.read(place.size)
    except FileNotFoundError as error:
        raise BadImage("missing", "no such file") from error
    except (OSError, ValueError) as error:
        raise BadImage("unreadable", f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if place.size is not None and len(data) < place.size:
        raise BadImage("cut short", "cut short")
    return data

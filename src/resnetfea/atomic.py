"""Files that appear whole or not at all: a power cut, a full disk or Ctrl-C leaves the old one, or none."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def partial_name(final: Path) -> Path:
    """A name beside the final one that nobody else uses, short enough whatever the final one is."""
    return final.with_name(f".resnetfea-{secrets.token_hex(8)}.partial")


@contextmanager
def committed(final: Path, partial: Path) -> Iterator[Path]:
    """`partial`, in the same folder, which becomes the final file where the block ends well, and vanishes otherwise.

    Without the two fsyncs a power cut may leave an empty file under the final name (ALICE, OSDI 2014).
    """
    try:
        yield partial
        sync(partial)
        os.replace(partial, final)
        sync(final.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """A file's bytes, or a folder's names, to the disk. Windows syncs no folders."""
    if path.is_dir() and os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

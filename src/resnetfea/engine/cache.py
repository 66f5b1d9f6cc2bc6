"""The folder of compiled graphs. An entry appears whole, under its final name, or not at all."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from platformdirs import user_cache_dir

VARIABLE = "RESNETFEA_CACHE"

log = logging.getLogger("resnetfea")


def folder() -> Path:
    """$RESNETFEA_CACHE, or resnetfea's folder in the user's cache folder."""
    return Path(os.environ.get(VARIABLE) or user_cache_dir("resnetfea", appauthor=False))


def entry(kind: str, what: dict[str, object], make: Callable[[Path], None]) -> Path:
    """The folder that holds what `what` describes; `make` fills an empty folder where there is none yet.

    Where the cache can't be written the entry is made in a temporary folder, and made again next time.
    """
    key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]
    final = folder() / kind / key
    if final.is_dir():
        return final
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=final.parent))
    except OSError as error:
        log.warning("cannot write to the cache folder %s (%s); set %s", folder(), error.strerror, VARIABLE)
        work = Path(tempfile.mkdtemp(prefix="resnetfea."))
        make(work)
        return work
    try:
        make(work)
        for path in work.iterdir():
            _sync(path)
        try:
            work.rename(final)
        except OSError:  # another process was first: its entry is the same
            if not final.is_dir():
                raise
        _sync(final.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return final


def _sync(path: Path) -> None:
    """To the disk, so that a power cut leaves no entry of zeros under a final name."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

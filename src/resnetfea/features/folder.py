"""OUT as a folder: may this run use it, and is nobody else using it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from resnetfea.errors import ResnetFeaError
from resnetfea.features.store import MANIFEST, ours, read_manifest

Existing = Literal["refuse", "resume", "overwrite"]


def prepared(folder: Path, existing: Existing) -> dict[str, Any] | None:
    """Make the folder ready; the manifest of the run that is to be resumed, if there is one.

    Raises:
        ResnetFeaError: it can't be made or written, or holds what must not be touched.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = sorted(folder.iterdir())
    except OSError as error:
        raise ResnetFeaError(f"{folder}: cannot be used as output folder: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ResnetFeaError(f"{folder}: cannot be written; choose another output folder")
    if not held:
        return None
    if existing == "resume":
        return read_manifest(folder)
    if existing == "refuse":
        raise ResnetFeaError(f"{folder}: not empty; use --resume to go on with it, or --overwrite to start anew")
    foreign = [path.name for path in held if not ours(path)]
    if foreign:
        raise ResnetFeaError(
            f"{folder}: holds what resnetfea did not write ({', '.join(foreign[:4])}), so nothing was removed; "
            "choose another output folder"
        )
    return None


def clear(folder: Path, *, shards: bool) -> None:
    """Remove what an earlier run left half done; with `shards` all of it, the manifest first, so that a kill on the
    way leaves no half that looks whole."""
    if shards:
        (folder / MANIFEST).unlink(missing_ok=True)
    for path in list(folder.iterdir()):
        if ours(path) and (shards or path.name.startswith(".")):
            path.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Nobody else may write to the folder meanwhile. The lock is the kernel's: it is gone when the process is.

    Raises:
        ResnetFeaError: another run holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no lock on folders
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ResnetFeaError(
                f"{folder}: another run is writing there; wait for it or choose another folder"
            ) from error
        except OSError:  # a network file system without locks
            pass
        yield
    finally:
        os.close(handle)

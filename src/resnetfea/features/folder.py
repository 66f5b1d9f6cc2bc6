"""OUT as a folder: may this run use it, and is nobody else using it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from resnetfea.errors import ResnetFeaError
from resnetfea.features.store import INPUTS, MANIFEST, half_done, ours, read_manifest

PATIENCE = 1.0  # seconds: what a killed run had just started may hold its lock for a moment longer

log = logging.getLogger("resnetfea")

Existing = Literal["refuse", "resume", "overwrite"]


@contextmanager
def opened(folder: Path, existing: Existing) -> Iterator[dict[str, Any] | None]:
    """Make the folder where it is missing and keep other runs out; the manifest of the run to go on with, if any.

    Raises:
        ResnetFeaError: it can't be made or written, another run uses it, or it holds what must not be touched.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResnetFeaError(f"{folder}: cannot be used as output folder: {error.strerror}") from error
    with _locked(folder):
        before = _checked(folder, existing)
        _tidy(folder)  # of a run that was killed
        try:
            yield before
        finally:
            _tidy(folder)
            if made and not (folder / MANIFEST).exists():  # nothing was begun
                with suppress(OSError):
                    folder.rmdir()


def _tidy(folder: Path) -> None:
    """Remove what no run goes on with: half-made files, and a list of images without a manifest."""
    begun = (folder / MANIFEST).exists()
    for path in list(folder.iterdir()):
        if half_done(path) or (path.name == INPUTS and not begun):
            path.unlink(missing_ok=True)


def remove_run(folder: Path) -> None:
    """Remove an earlier run, its manifest first: a kill on the way leaves no half that looks whole."""
    (folder / MANIFEST).unlink(missing_ok=True)
    for path in list(folder.iterdir()):
        if ours(path) and not half_done(path):
            path.unlink(missing_ok=True)


def _checked(folder: Path, existing: Existing) -> dict[str, Any] | None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ResnetFeaError(f"{folder}: cannot be written; choose another output folder")
    held = [path for path in sorted(folder.iterdir()) if not half_done(path) and path.name != INPUTS]
    if not held:
        return None
    foreign = [path.name for path in held if not ours(path)]
    if existing == "resume":
        if not foreign and not (folder / MANIFEST).exists():  # killed while an earlier run was being removed
            return None
        return read_manifest(folder)
    if foreign:
        raise ResnetFeaError(
            f"{folder}: holds what resnetfea did not write ({', '.join(foreign[:4])}), so it was left as it is; "
            "choose another output folder"
        )
    if existing == "refuse":
        raise ResnetFeaError(f"{folder}: not empty; use --resume to go on with it, or --overwrite to start anew")
    return None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Nobody else may write to the folder meanwhile. The lock is the kernel's: it is gone when the process is."""
    try:
        import fcntl
    except ImportError:  # Windows has no lock on folders
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise ResnetFeaError(
                        f"{folder}: another run is writing there; wait for it or choose another folder"
                    ) from error
                time.sleep(0.02)
            except OSError as error:
                log.warning("%s: cannot be locked (%s): see that no other run writes there", folder, error.strerror)
                break
        yield
    finally:
        os.close(handle)

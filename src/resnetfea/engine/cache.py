"""The folder of compiled graphs. An entry appears whole or not at all, and is checked whenever it is used."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from resnetfea.atomic import sync
from resnetfea.cache_folder import VARIABLE, folder
from resnetfea.errors import ResnetFeaError

SUMS = "sha256.json"  # of each file of an entry: a damaged one would give other numbers without a word
ABANDONED = 3600  # seconds after which nobody works on a half-made entry any more

log = logging.getLogger("resnetfea")
_temporary: dict[Path, tempfile.TemporaryDirectory[str]] = {}  # entries of this process, removed when it ends
_said = False


class Packed(NamedTuple):
    """An entry, to be taken to another machine: its kind, what it is of, and its files."""

    kind: str
    what: dict[str, object]
    files: dict[str, bytes]


def pack(kind: str, what: dict[str, object], make: Callable[[Path], None]) -> Packed:
    """An entry, which is made where there is none yet."""
    files = [path for path in entry(kind, what, make).iterdir() if path.name != SUMS]
    return Packed(kind, what, {path.name: path.read_bytes() for path in files})


def unpack(packed: Packed) -> None:
    """Have the entry in this machine's cache, too."""

    def make(folder: Path) -> None:
        for name, content in packed.files.items():
            (folder / name).write_bytes(content)

    entry(packed.kind, packed.what, make)


def entry(kind: str, what: dict[str, object], make: Callable[[Path], None]) -> Path:
    """The folder that holds what `what` describes; `make` fills an empty folder where there is none yet.

    Where the cache can't be written the entry is made in a temporary folder, and again by the next process.

    Raises:
        ResnetFeaError: the disk is full.
    """
    place = _place(kind, what)
    if place in _temporary:
        return Path(_temporary[place].name)
    there = found(kind, what) or kept(kind, what, make)
    if there is None:
        temporary = tempfile.TemporaryDirectory(prefix="resnetfea.")
        there = Path(temporary.name)
        make(there)  # which may want further entries
        _temporary[place] = temporary
    return there


def found(kind: str, what: dict[str, object]) -> Path | None:
    """The folder that holds what `what` describes, if it is there and undamaged."""
    final = _place(kind, what)
    return final if _is_whole(final) else None


def kept(kind: str, what: dict[str, object], make: Callable[[Path], None]) -> Path | None:
    """The same made anew, in place of a damaged one; None, and nothing is made, where the cache can't be written.

    Raises:
        ResnetFeaError: the disk is full.
    """
    final = _place(kind, what)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
    except OSError as error:
        _say_once(error)
        return None
    try:
        make(work)
        sums = {path.name: _sha256(path) for path in work.iterdir()}
        (work / SUMS).write_text(json.dumps(sums))
        for path in work.iterdir():
            sync(path)
        work.chmod(0o755)  # mkdtemp's 0700 would lock out others who share the cache
        if final.is_dir() and not _is_whole(final):
            log.warning("%s was damaged and is made again", final)
            shutil.rmtree(final, ignore_errors=True)
        try:
            work.rename(final)
        except OSError:  # another process was first: its entry is the same
            if not final.is_dir():
                raise
        sync(final.parent)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise ResnetFeaError(  # a failing write names no file
            f"{folder()}: {error.strerror}; make room there, or set {VARIABLE} to another folder"
        ) from error
    finally:
        for path in (work, *_abandoned(final.parent)):
            shutil.rmtree(path, ignore_errors=True)
    return final


def _place(kind: str, what: dict[str, object]) -> Path:
    key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]
    return folder() / kind / key


def _say_once(error: OSError) -> None:
    global _said
    if not _said:
        _said = True
        log.warning("cannot write to the cache folder %s (%s); set %s", folder(), error.strerror, VARIABLE)


def _is_whole(path: Path) -> bool:
    try:
        sums = json.loads((path / SUMS).read_text())
        return all(_sha256(path / name) == wanted for name, wanted in sums.items())
    except (OSError, ValueError, AttributeError):  # missing; not JSON; JSON, but no table
        return False


def _abandoned(parent: Path) -> list[Path]:
    """Half-made entries whose makers were killed."""
    found = []
    for path in parent.glob(".*"):
        try:
            if time.time() - path.stat().st_mtime > ABANDONED:
                found.append(path)
        except OSError:  # its maker has just finished
            continue
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

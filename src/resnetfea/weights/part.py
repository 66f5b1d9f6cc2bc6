"""FILE.part: the bytes of a download so far, for one process at a time, and of which version of the file they are."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BufferedRandom
from pathlib import Path

from resnetfea.atomic import sync

log = logging.getLogger("resnetfea")


@dataclass(frozen=True)
class Version:
    """What a server said of the file whose bytes are here: where, its ETag or date, how long it is if it said so."""

    url: str
    validator: str
    total: int | None


class Part:
    """An open FILE.part. FILE.part.json beside it holds its Version; without one no bytes are believed."""

    def __init__(self, file: BufferedRandom, path: Path) -> None:
        self._file, self._path, self._note = file, path, path.with_name(f"{path.name}.json")

    @property
    def size(self) -> int:
        return self._file.seek(0, os.SEEK_END)

    def version(self, url: str) -> Version | None:
        """Of the bytes that are here, if they are this URL's and can be gone on from."""
        try:
            version = Version(**json.loads(self._note.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):  # none; not JSON; JSON of something else
            return None
        right = isinstance(version.validator, str) and isinstance(version.total, int | None)
        return version if right and version.url == url and self.size else None

    def restart(self, version: Version | None = None) -> None:
        """Empty, to become this version. The note is written last: it never speaks of another version's bytes."""
        self._note.unlink(missing_ok=True)
        self._file.truncate(0)
        if version and version.validator:
            self._note.write_text(json.dumps(asdict(version)))

    def append(self, block: bytes) -> None:
        self._file.seek(0, os.SEEK_END)
        self._file.write(block)

    def sha256(self) -> str:
        """Of what is here, whichever run wrote it."""
        self._file.seek(0)
        return hashlib.file_digest(self._file, "sha256").hexdigest()

    def become(self, final: Path) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        os.replace(self._path, final)
        self._note.unlink(missing_ok=True)
        sync(final.parent)

    def drop(self) -> None:
        self._path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)


@contextmanager
def part_of(final: Path) -> Iterator[Part | None]:
    """The part of this file, for this process alone; None where the file has appeared meanwhile.

    The lock lies on the part itself, so no lock file stays behind, and it is the kernel's: gone when the process is.
    """
    path = final.with_name(f"{final.name}.part")
    while True:
        with _opened(path) as file:
            if not _locked(file, final):
                Part(file, path).drop()
                break
            current = _is_at(file, path)  # or it is by now the final file, or was given up, by who had the lock before
            if final.exists():
                if current:  # made a moment ago by the line above
                    Part(file, path).drop()
                yield None
                return
            if current:
                part = Part(file, path)
                try:
                    yield part
                finally:
                    if _is_at(file, path) and not part.size:
                        part.drop()
                return
    yield from _unlocked(final)


def _unlocked(final: Path) -> Iterator[Part]:
    """Where the file system has no locks: a part of our own, which nobody goes on from."""
    path = final.with_name(f"{final.name}.{os.getpid()}.part")
    with _opened(path) as file:
        part = Part(file, path)
        part.restart()
        try:
            yield part
        finally:
            part.drop()


def _opened(path: Path) -> BufferedRandom:
    """Never through a link that somebody laid in a cache that others can write to: it would be emptied and filled."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, 0o666), "r+b")


def _locked(file: BufferedRandom, final: Path) -> bool:
    """Wait for the lock; False where there are no locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("another process is downloading %s; waiting for it", final)
            fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:  # some network file systems
        return False
    return True


def _is_at(file: BufferedRandom, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False

"""A disk that fails, a process that is killed, and a machine that loses power, at any one thing asked of the disk."""

from __future__ import annotations

import io
import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

from resnetfea.features import writeback


class Disk:
    """Counts what is asked of the disk below a folder, and answers one of it in its own way.

    Args:
        folder: what lies elsewhere is left alone.
        at: which of the things that change the disk, from 1 on; 0 for none.
        answer: what happens there, in its place.
    """

    def __init__(self, folder: Path, at: int, answer: Callable[[Disk], None]) -> None:
        self.folder, self.at, self.answer = folder, at, answer
        self.asked = 0
        self.dirty: set[Path] = set()  # files with bytes that no fsync has reached
        self.renamed: list[
            tuple[Path, Path, bytes | None]
        ] = []  # without an fsync of the folder since; the old content

    def ask(self, path: Path) -> None:
        if self.folder in (path, *path.parents):
            self.asked += 1
            if self.asked == self.at:
                self.answer(self)


@contextmanager
def patched(disk: Disk) -> Iterator[None]:
    """What resnetfea.features uses to change the disk goes through it."""
    opened, replace, fsync, unlink = Path.open, os.replace, os.fsync, Path.unlink

    class File(io.FileIO):
        def write(self, data: Any) -> int:
            path = Path(os.fsdecode(self.name))
            disk.ask(path)
            disk.dirty.add(path)
            return super().write(data) or 0

    def open_(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if "w" not in mode:
            return opened(path, mode, *arguments, **options)
        disk.ask(path)
        file = io.BufferedWriter(File(path, "w"))
        return file if "b" in mode else io.TextIOWrapper(file, encoding="utf-8")

    def replace_(old: Path, new: Path) -> None:
        disk.ask(Path(new))
        disk.renamed.append((Path(old), Path(new), Path(new).read_bytes() if Path(new).exists() else None))
        if Path(old) in disk.dirty:
            disk.dirty.add(Path(new))
        replace(old, new)

    def fsync_(handle: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        disk.ask(path)
        fsync(handle)
        disk.dirty.discard(path)
        if path.is_dir():
            disk.renamed.clear()

    def unlink_(path: Path, missing_ok: bool = False) -> None:
        disk.ask(path)
        unlink(path, missing_ok)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", open_)
        patch.setattr(Path, "unlink", unlink_)
        patch.setattr(os, "replace", replace_)
        patch.setattr(os, "fsync", fsync_)
        patch.setattr(writeback, "_sync", fsync_)
        yield


def error(number: int) -> Callable[[Disk], None]:
    """The call fails."""

    def answer(disk: Disk) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return answer


def killed(disk: Disk) -> None:
    """SIGKILL."""
    os.kill(os.getpid(), signal.SIGKILL)


def power_cut(disk: Disk) -> None:
    """What no fsync has reached is lost in part, and so are renames."""
    chance = random.Random(disk.at)
    for old, new, before in reversed(disk.renamed):
        if chance.random() < 0.5 and new.exists():
            os.rename(new, old)
            if before is not None:
                with open(new, "wb") as file:  # not Path.open, which counts
                    file.write(before)
    for path in disk.dirty:
        if path.exists():  # under this name, or it was renamed
            os.truncate(path, chance.randint(0, path.stat().st_size))
    killed(disk)

"""Whatever of the disk fails, and wherever a process ends: --resume gives an undisturbed run's bytes.

Every single write, rename, fsync and removal of a run is made to fail once, or to be the last that a process does.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from features.disk import Disk, error, killed, patched, power_cut
from features.quick import Runs, content, draw, run

__all__ = ["run"]  # a fixture

pytestmark = pytest.mark.slow

NAMES = [f"{number:02}.png" for number in range(7)]  # two shards of four and three

Run = Callable[[Path], Any]  # into OUT


@pytest.fixture(params=["new", "update", "retry", "overwrite"])
def kind(request: pytest.FixtureRequest, run: Runs, tmp_path: Path) -> Kind:
    """A kind of run, with what it finds in OUT and what it should leave there."""
    photos, base = tmp_path / "photos", tmp_path / "base"
    draw(photos, *NAMES)
    (photos / "02.png").write_bytes(b"no picture")
    options: dict[str, Any] = {"existing": "resume"}
    if request.param == "new":
        base.mkdir()
    else:
        run(photos, base)
    if request.param == "update":
        draw(photos, "10.png", "11.png")
        options["update"] = True
    if request.param == "retry":
        draw(photos, "02.png")
        options["retry_failed"] = True
    again = dict(options)
    if request.param == "overwrite":  # of the same: whether the old one or the new is gone on with makes no difference
        options["existing"] = "overwrite"
    whole = tmp_path / "whole"
    shutil.copytree(base, whole)
    disk = Disk(whole, 0, killed)
    with patched(disk):
        run(photos, whole, **options)
    assert disk.asked > 20
    return Kind(partial(run, photos, **options), partial(run, photos, **again), base, content(whole), disk.asked)


class Kind(NamedTuple):
    """run: into OUT. again: goes on. base: OUT before. whole: after. calls: that change the disk on the way."""

    run: Run
    again: Run
    base: Path
    whole: dict[str, bytes]
    calls: int


def test_each_call_that_fails(kind: Kind, tmp_path: Path) -> None:
    numbers = (errno.ENOSPC, errno.EIO, errno.EROFS)
    for at in range(1, kind.calls + 1):
        out = tmp_path / f"out-{at}"
        shutil.copytree(kind.base, out)
        number = numbers[at % len(numbers)]
        disk = Disk(out, at, error(number))
        with patched(disk), pytest.raises(OSError, match=os.strerror(number)):
            kind.run(out)
        kind.again(out)
        assert content(out) == kind.whole, at


@pytest.mark.parametrize("end", [killed, power_cut])
def test_each_call_that_is_the_last(kind: Kind, tmp_path: Path, end: Callable[[Disk], None]) -> None:
    for at in range(1, kind.calls + 1):
        out = tmp_path / f"out-{at}"
        shutil.copytree(kind.base, out)
        assert ended(Disk(out, at, end), kind.run, out) == signal.SIGKILL, at
        kind.again(out)
        assert content(out) == kind.whole, at


def ended(disk: Disk, run: Run, out: Path) -> int:
    """The signal that ends a process which does this."""
    child = os.fork()
    if not child:
        try:
            with patched(disk):
                run(out)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0

"""A cache entry appears whole or not at all."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from resnetfea import cache_folder
from resnetfea.engine import cache
from resnetfea.errors import ResnetFeaError


@pytest.fixture(autouse=True)
def _own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache_folder.VARIABLE, str(tmp_path / "cache"))


def fill(folder: Path) -> None:
    (folder / "model").write_text("whole")


def test_made_once_and_found_again() -> None:
    first = cache.entry("graphs", {"weights": "a"}, fill)
    assert (first / "model").read_text() == "whole"
    assert cache.entry("graphs", {"weights": "a"}, lambda _: pytest.fail("made twice")) == first
    assert cache.entry("graphs", {"weights": "b"}, fill) != first


@pytest.mark.parametrize("writable", [True, False])
def test_an_entry_goes_to_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writable: bool) -> None:
    packed = cache.pack("graphs", {"weights": "a"}, fill)
    other = tmp_path / "other"
    if not writable:
        other.write_text("no folder")
    monkeypatch.setenv(cache_folder.VARIABLE, str(other))
    cache.unpack(packed)
    there = cache.entry("graphs", {"weights": "a"}, lambda _: pytest.fail("made twice"))
    assert (there / "model").read_text() == "whole"
    assert there.is_relative_to(other) == writable


def test_a_failure_leaves_nothing() -> None:
    def broken(folder: Path) -> None:
        fill(folder)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cache.entry("graphs", {}, broken)
    assert list((cache_folder.folder() / "graphs").iterdir()) == []


def test_a_full_disk_is_the_caches() -> None:
    def full(folder: Path) -> None:
        (folder / "model").symlink_to("/dev/full")
        fill(folder)

    with pytest.raises(ResnetFeaError, match=f"^{cache_folder.folder()}: No space left on device; make room"):
        cache.entry("graphs", {}, full)
    assert list((cache_folder.folder() / "graphs").iterdir()) == []


@pytest.mark.parametrize("damage", [lambda p: p.write_text("whOle"), lambda p: p.unlink(), lambda p: p.write_text("")])
@pytest.mark.parametrize("name", ["model", cache.SUMS])
def test_a_damaged_entry_is_made_again(name: str, damage: Callable[[Path], None]) -> None:
    damage(cache.entry("graphs", {}, fill) / name)
    assert (cache.entry("graphs", {}, fill) / "model").read_text() == "whole"


def test_what_a_killed_maker_left_is_swept_but_not_what_is_being_made() -> None:
    for name, age in ((".old.x", 2 * cache.ABANDONED), (".new.x", 0)):
        (cache_folder.folder() / "graphs" / name).mkdir(parents=True)
        os.utime(cache_folder.folder() / "graphs" / name, (time.time() - age,) * 2)
    entry = cache.entry("graphs", {}, fill)
    assert {path.name for path in entry.parent.iterdir()} == {entry.name, ".new.x"}


def test_others_may_read_a_shared_cache() -> None:
    assert stat.S_IMODE(cache.entry("graphs", {}, fill).stat().st_mode) == 0o755


def test_another_process_that_was_first_wins() -> None:
    def overtaken(folder: Path) -> None:
        fill(folder)
        cache.entry("graphs", {}, fill)

    entry = cache.entry("graphs", {}, overtaken)
    assert (entry / "model").read_text() == "whole"
    assert [path.name for path in entry.parent.iterdir()] == [entry.name]


def test_a_cache_that_cannot_be_written_is_said_and_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(cache_folder.VARIABLE, str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(cache, "_said", False)
    monkeypatch.setattr(cache, "_temporary", {})

    def nested(folder: Path) -> None:
        assert (cache.entry("graphs", {}, fill) / "model").read_text() == "whole"
        (folder / "choice").write_text("made")

    assert (cache.entry("precision", {}, nested) / "choice").read_text() == "made"
    assert caplog.text.count(cache_folder.VARIABLE) == 1

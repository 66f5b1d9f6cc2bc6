"""The disk is asked early, often enough, one request at a time, and what it says is heard."""

import os
import threading
from pathlib import Path

import pytest

from resnetfea.features import writeback

STEP = 1000


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writeback, "STEP", STEP)


def test_it_asks_at_most_once_a_step_and_while_the_file_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(writeback, "_sync", lambda handle: sizes.append(os.fstat(handle).st_size))
    with (tmp_path / "file").open("wb", buffering=0) as file, writeback.writeback(file) as go_on:
        for _ in range(9):
            file.write(bytes(STEP // 10))
            go_on()
        assert sizes == []
        for _ in range(1000):
            file.write(bytes(STEP // 10))
            go_on()
    assert 1 <= len(sizes) <= 100
    assert sizes == sorted(sizes)


def test_while_the_disk_is_busy_it_is_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, free = [], threading.Event()

    def sync(handle: int) -> None:
        calls.append(handle)
        assert free.wait(60)

    monkeypatch.setattr(writeback, "_sync", sync)
    with (tmp_path / "file").open("wb") as file, writeback.writeback(file) as go_on:
        for _ in range(10):
            file.write(bytes(STEP))
            go_on()
        free.set()
    assert len(calls) == 1


def test_an_error_comes_from_the_next_call_or_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sync(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writeback, "_sync", sync)
    for calls in (1, 1000):
        with pytest.raises(OSError, match="No space left"):
            write(tmp_path / "file", calls)


def write(path: Path, times: int) -> None:
    with path.open("wb") as file, writeback.writeback(file) as go_on:
        for _ in range(times):
            file.write(bytes(STEP))
            go_on()

"""Where OUT can't be written, it is as it was before, and nothing lies beside it."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from data import tiny
from resnetfea.errors import ResnetFeaError
from resnetfea.weights import read
from resnetfea.weights.writing import FORMS, write
from weights.making import DATA
from weights.test_reading import assert_equal


class Full:
    """A stream on a disk that has room for so many bytes."""

    def __init__(self, stream: BinaryIO, room: int, error: BaseException) -> None:
        self.stream, self.room, self.error = stream, room, error

    def write(self, data: Any) -> int:
        self.room -= memoryview(data).nbytes
        if self.room < 0:
            raise self.error
        return self.stream.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def __enter__(self) -> Full:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()


@pytest.mark.parametrize("out", ["w.npz", "w.safetensors", "w.ckpt", "w.pkl"])
@pytest.mark.parametrize("room", [0, 100, 5_000, 100_000])
@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("kind", ["full disk", "Ctrl-C"])
def test_a_write_that_fails(
    out: str, room: int, there: bool, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, target = read(DATA / "tiny.pth"), tmp_path / out
    if there:
        target.write_bytes(b"old")
    error: BaseException = OSError(errno.ENOSPC, "No space left") if kind == "full disk" else KeyboardInterrupt()
    opened = Path.open
    expected = ResnetFeaError if kind == "full disk" else KeyboardInterrupt
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, mode: Full(cast(BinaryIO, opened(path, mode)), room, error))
        with pytest.raises(expected) as caught:
            write(found, target, overwrite=there)
    if kind == "full disk":
        assert str(caught.value) == f"{target}: cannot be written: No space left"
    assert os.listdir(tmp_path) == ([out] if there else [])
    assert not there or target.read_bytes() == b"old"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fails_at_the_end(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(ResnetFeaError, match=r"w\.npz: cannot be written: Input/output error"):
        write(read(DATA / "tiny.pth"), tmp_path / "w.npz")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    found = read(DATA / "tiny.safetensors")
    monkeypatch.setattr(Path, "open", refuse)  # root may write anywhere, so that a mode would not do
    with pytest.raises(ResnetFeaError, match=r"w\.npz: cannot be written: Permission denied"):
        write(found, tmp_path / "w.npz")


@pytest.mark.parametrize("linked", [False, True])
def test_a_file_may_be_converted_onto_itself(linked: bool, tmp_path: Path) -> None:
    """safetensors issue 764: save_file(load_file(p), p) once filled the file with zeros."""
    path = tmp_path / "w.safetensors"
    path.write_bytes((DATA / "tiny.safetensors").read_bytes())
    out = tmp_path / "link.safetensors"
    out.symlink_to(path)
    write(read(path), out if linked else path, overwrite=True)
    assert_equal(read(path).tensors, tiny.weights())
    assert_equal(read(out).tensors, tiny.weights())
    assert out.is_symlink() is not linked  # the link becomes a file; what it pointed to is another's


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("there.npz", "--overwrite replaces it"),
        ("dangling.npz", "--overwrite replaces it"),
        ("folder.npz", "not a regular file"),
        ("missing/w.npz", "does not exist"),
        ("there.npz/w.npz", "does not exist"),
        ("w.txt", "choose from"),
        ("w", "choose from"),
    ],
)
def test_targets_that_are_refused(name: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "there.npz").write_bytes(b"old")
    (tmp_path / "dangling.npz").symlink_to(tmp_path / "nothing")
    (tmp_path / "folder.npz").mkdir()
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(ResnetFeaError, match=reason) as caught:
        write(read(DATA / "tiny.safetensors"), tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / "there.npz").read_bytes() == b"old"


def test_one_that_appears_meanwhile_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    form = FORMS[".npz"]

    def slow(stream: BinaryIO, tensors: Mapping[str, NDArray[np.float32]], card: bytes) -> None:
        form.put(stream, tensors, card)
        (tmp_path / "w.npz").write_bytes(b"another's")

    monkeypatch.setitem(FORMS, ".npz", replace(form, put=slow))
    with pytest.raises(ResnetFeaError, match="is there already"):
        write(read(DATA / "tiny.safetensors"), tmp_path / "w.npz")
    assert os.listdir(tmp_path) == ["w.npz"]
    assert (tmp_path / "w.npz").read_bytes() == b"another's"


def test_a_name_as_long_as_a_name_may_be(tmp_path: Path) -> None:
    name = "n" * 251 + ".npz"
    write(read(DATA / "tiny.safetensors"), tmp_path / name)
    assert os.listdir(tmp_path) == [name]

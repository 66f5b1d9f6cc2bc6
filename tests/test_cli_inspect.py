"""`resnetfea inspect`: one JSON object with the contract's fields, or one line on stderr."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from data import tiny
from resnetfea.cli import app
from resnetfea.network.variant import Variant
from weights.making import DATA, WRITERS, mention, pickled

FILES = {
    "tiny.pth": ("torch-zip", "torchvision"),
    "tiny-legacy.pth": ("torch-legacy", "torchvision"),
    "tiny-module.pth": ("torch-zip", "torchvision"),
    "tiny.safetensors": ("safetensors", "torchvision"),
    "tiny-modelzoo.ckpt": ("ckpt", "modelzoo"),
    "tiny-mindcv.ckpt": ("ckpt", "mindcv"),
    "tiny-resnetfea.ckpt": ("ckpt", "resnetfea"),
    "tiny-bn.onnx": ("onnx", "onnx"),
}


def inspected(path: Path) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["inspect", str(path), "--json"])
    assert (done.exit_code, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("file", FILES)
def test_fields(file: str) -> None:
    found = inspected(DATA / file)
    assert (found["container"], found["ecosystem"]) == FILES[file]
    assert found["variant"].keys() >= {field.name for field in fields(Variant)}
    assert found["variant"]["width_per_group"] == 2
    recipe = found["recipe"]
    assert recipe["color"] in ("rgb", "bgr")
    assert isinstance(recipe["scale"], float)
    assert len(recipe["mean"]) == len(recipe["std"]) == 3
    assert found["sha256"] == hashlib.sha256((DATA / file).read_bytes()).hexdigest()
    assert isinstance(found["tensors"], int)
    assert found["missing"] == []
    assert isinstance(found["unused"], list)


@pytest.mark.parametrize("container", WRITERS)
def test_a_missing_tensor_is_listed(container: str, tmp_path: Path) -> None:
    state = tiny.weights()
    del state["bn1.running_mean"]
    path = tmp_path / "weights"
    path.write_bytes(WRITERS[container](state))
    found = inspected(path)
    assert found["container"] == container
    assert found["missing"] == ["bn1.running_mean"]
    assert found["tensors"] == 264


def test_without_json_it_is_lines() -> None:
    done = CliRunner().invoke(app, ["inspect", str(DATA / "tiny.pth")])
    assert done.exit_code == 0
    assert "torch-zip" in done.stdout.splitlines()[1]


def process(path: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "resnetfea", "inspect", path, "--json"]
    return subprocess.run(command, capture_output=True, timeout=60)


def test_as_a_process() -> None:
    done = process(str(DATA / "tiny.pth"))
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["container"] == "torch-zip"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.pth", b"", "it is empty"),
        ("cut.safetensors", (DATA / "tiny.safetensors").read_bytes()[:-100], "header is broken"),
        ("evil\x1b[2J\n.pth", pickled(mention("os", "system\x1b[2J")), "no weights file needs"),
        ("missing.pth", None, "no such weights file"),
    ],
    ids=["empty", "cut", "terminal codes", "missing"],  # pytest would put the content into an environment variable
)
def test_unreadable(name: str, content: bytes | None, reason: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    done = process(str(path))
    line = done.stderr.decode()
    assert (done.returncode, done.stdout) == (1, b"")
    assert reason in line
    assert name.split("\x1b")[0] in line
    assert "Traceback" not in line
    if "\n" not in name:
        assert line.count("\n") == 1


def test_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = process(str(tmp_path / "pipe"))
    assert done.returncode == 1
    assert b"pipe: not a regular file" in done.stderr


def test_a_files_name_of_two_lines_is_told_in_one(tmp_path: Path) -> None:
    (tmp_path / "a\n\x1b[2Jb.pth").write_bytes(b"no weights")
    done = CliRunner().invoke(app, ["inspect", str(tmp_path / "a\n\x1b[2Jb.pth")])
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert r"a\n\x1b[2Jb.pth" in done.stderr

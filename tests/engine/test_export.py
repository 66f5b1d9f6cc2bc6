"""What the user is told where the export fails."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from resnetfea import ResnetFeaError, read
from resnetfea.engine.export import export

DATA = Path(__file__).parents[1] / "data"


def test_weights_that_changed_meanwhile_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    path.write_bytes((DATA / "tiny.safetensors").read_bytes())
    weights = read(path)
    path.write_bytes((DATA / "tiny-half.pth").read_bytes())
    with pytest.raises(ResnetFeaError, match=r"tiny\.safetensors: .*changed while it was being used"):
        export(weights, tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.slow
def test_any_folder_will_do_and_none_of_its_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "c ü~(1)+="
    folder.mkdir()
    (folder / "onnx.py").write_text("raise SystemExit('code of the current folder ran')")
    (folder / "tiny.safetensors").write_bytes((DATA / "tiny.safetensors").read_bytes())
    monkeypatch.chdir(folder)
    export(read("tiny.safetensors"), Path("out.onnx"))
    assert (folder / "out.onnx").stat().st_size > 100_000


def test_a_python_without_mindspore_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "python"  # stands for an environment whose MindSpore is broken
    script.write_text(
        "#!/bin/sh\necho 'Traceback (most recent call last):' >&2\n"
        "echo \"ModuleNotFoundError: No module named 'mindspore'\" >&2\necho later noise >&2\nexit 1\n"
    )
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    weights = replace(read(DATA / "tiny.safetensors"))
    with pytest.raises(ResnetFeaError, match="No module named 'mindspore'"):
        export(weights, tmp_path / "out.onnx")

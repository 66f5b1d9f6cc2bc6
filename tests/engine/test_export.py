"""What the user is told where the export fails."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from data import tiny
from resnetfea import CompiledEngine, ResnetFeaError, read
from resnetfea.convert import convert
from resnetfea.engine.export import export
from weights.test_variants import carded

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


@pytest.mark.slow
def test_groups_and_dilation_stand_in_the_graph(tmp_path: Path) -> None:
    """Written by our export, read by the reader of anybody's graph; then with settings that its weights contradict."""
    variant = replace(tiny.TINY, groups=2, width_per_group=2, dilation=2, stride_in="1x1", pool="pad1")
    weights = carded(variant, tmp_path / "w")
    convert(tmp_path / "w", tmp_path / "w.onnx")
    found = read(tmp_path / "w.onnx")
    assert found.variant == variant
    assert all(np.array_equal(found.tensors[name], array) for name, array in weights.items())
    for setting, values, message in (
        ("group", 1, "of 2 groups, its graph is not"),
        ("dilations", [1, 1], r"layer4\.0\.conv2: pads by \(2, 2, 2, 2\)"),
    ):
        model = onnx.load(tmp_path / "w.onnx")
        for node in model.graph.node:
            for attribute in node.attribute if node.op_type == "Conv" else ():
                if attribute.name == setting:
                    attribute.CopyFrom(onnx.helper.make_attribute(setting, values))
        onnx.save(model, tmp_path / "other.onnx")
        with pytest.raises(ResnetFeaError, match=message):
            read(tmp_path / "other.onnx")


def test_what_has_no_onnx_form_is_refused_with_the_way_out(tmp_path: Path) -> None:
    carded(replace(tiny.TINY, deform=("none", "v1", "v1", "v1")), tmp_path / "w")
    with pytest.raises(ResnetFeaError, match="only the MindSpore engine runs it"):
        convert(tmp_path / "w", tmp_path / "w.onnx")
    with pytest.raises(ResnetFeaError, match="only the MindSpore engine runs it"):
        CompiledEngine(read(tmp_path / "w"))
    assert not (tmp_path / "w.onnx").exists()


def test_layers_that_the_weights_do_not_give(tmp_path: Path) -> None:
    carded(replace(tiny.TINY, out=("c2", "c4")), tmp_path / "w")
    with pytest.raises(ResnetFeaError, match="these weights give c2, c4, not all of c2, c5"):
        CompiledEngine(read(tmp_path / "w"), layers=("c2", "c5"))


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

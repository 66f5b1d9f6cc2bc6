"""`resnetfea convert`: one line for each thing a person must know, and nothing but OUT in its folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from safetensors.numpy import save_file
from typer.testing import CliRunner

from data import tiny
from resnetfea.cli import app
from resnetfea.cli_convert import SUFFIXES, Names
from resnetfea.convert import convert
from resnetfea.weights import read
from resnetfea.weights.writing import FORMS, write
from weights import making, making_pickles
from weights.making import DATA
from weights.test_reading import assert_equal

VICTIM = "layer2.0.conv2.weight"
State = dict[str, NDArray[Any]]
OUTS = ("w.npz", "w.safetensors", "w.ckpt", "w.pkl")


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["convert", *map(str, arguments)])


def inspected(path: str | Path) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["inspect", str(path), "--json"])
    assert done.exit_code == 0
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("out", OUTS)
def test_it_says_what_it_did(out: str, tmp_path: Path) -> None:
    done = run(DATA / "tiny-module.pth", tmp_path / out)
    assert done.exit_code == 0
    count = inspected(tmp_path / out)["tensors"]
    lines = done.stdout.splitlines()
    assert lines[0] == f"{tmp_path / out}: {count} tensors, from {DATA / 'tiny-module.pth'} (torchvision)"
    assert lines[1].startswith("left out, as no backbone needs them: 55 (")  # 53 counters, epoch, arch
    assert ("classifier" in done.stderr) == (out == "w.ckpt")
    assert ("folded" in done.stderr) == (out == "w.pkl")
    assert all(line.startswith(f"{tmp_path / out}: ") for line in done.stderr.splitlines())
    assert os.listdir(tmp_path) == [out]


def test_variant_and_recipe_go_along(tmp_path: Path) -> None:
    """Weights that need a stride, colours and means that torchvision's names do not tell."""
    done = run("opennsfw", tmp_path / "w.npz")
    assert done.exit_code == 0
    assert "stride_in 1x1, not 3x3" in done.stderr
    before, after = inspected("opennsfw"), inspected(tmp_path / "w.npz")
    assert after["ecosystem"] == "torchvision"
    for field in ("variant", "recipe", "recipe_of", "missing", "problems"):
        assert after[field] == before[field]
    run(tmp_path / "w.npz", tmp_path / "again.safetensors")
    assert inspected(tmp_path / "again.safetensors")["recipe_of"] == "open_nsfw"


def test_every_format_can_be_asked_for() -> None:
    assert set(SUFFIXES) == {kind.split()[0] for kind in FORMS} | {".onnx"}
    assert {name.value for name in Names} == {kind.split()[1] for kind in FORMS if " " in kind}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["w.txt"], ".safetensors, .npz, .ckpt, .pkl, .onnx"),
        (["w"], ".safetensors, .npz, .ckpt, .pkl, .onnx"),
        (["w.npz", "--names", "modelzoo"], "--names"),
        (["w.ckpt", "--names", "mindcv"], "--names"),
        ([], "OUT"),
    ],
)
def test_wrong_usage(arguments: list[str], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(DATA / "tiny.pth", *arguments)
    assert done.exit_code == 2
    assert reason in done.stderr
    assert os.listdir(tmp_path) == []


def test_out_is_replaced_only_when_asked(tmp_path: Path) -> None:
    out = tmp_path / "W.NPZ"
    out.write_bytes(b"old")
    done = run(DATA / "tiny.pth", out)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "--overwrite" in done.stderr
    assert out.read_bytes() == b"old"
    assert run(DATA / "tiny.pth", out, "--overwrite").exit_code == 0
    assert_equal(read(out).tensors, tiny.weights())


def test_modelzoo_names(tmp_path: Path) -> None:
    assert run(DATA / "tiny-modelzoo.ckpt", tmp_path / "w.ckpt", "--names", "modelzoo").exit_code == 0
    found = inspected(tmp_path / "w.ckpt")
    assert (found["ecosystem"], found["unused"]) == ("modelzoo", ["end_point.weight", "end_point.bias"])


# ---- damaged sources -------------------------------------------------------------------------------------------------


def missing(state: State) -> None:
    del state[VICTIM]


def renamed(state: State) -> None:
    state["layer2.0.conv9.weight"] = state.pop(VICTIM)


def misshapen(state: State) -> None:
    state[VICTIM] = state[VICTIM].reshape(-1, 1, 3, 3)


DAMAGES: dict[str, tuple[Callable[[State], None], str]] = {
    "missing": (missing, VICTIM),
    "renamed": (renamed, "layer2.0.conv9.weight"),
    "misshapen": (misshapen, VICTIM),
}
WRITERS: dict[str, Callable[[State], bytes]] = {
    **making.WRITERS,
    "pickle": lambda state: making_pickles.flat(state),
}


@pytest.mark.parametrize("out", ["w.npz", "w.ckpt", "w.onnx"])
@pytest.mark.parametrize("damage", [*DAMAGES, "truncated"])
@pytest.mark.parametrize("container", WRITERS)
def test_damaged(container: str, damage: str, out: str, tmp_path: Path) -> None:
    state: State = dict(tiny.weights())
    change, name = DAMAGES.get(damage, (lambda _: None, ""))
    change(state)
    data = WRITERS[container](state)
    source, folder = tmp_path / "source", tmp_path / "out"
    source.write_bytes(data[: len(data) * 2 // 3] if damage == "truncated" else data)
    folder.mkdir()
    done = run(source, folder / out)
    assert (done.exit_code, done.stdout) == (1, "")
    assert str(source) in done.stderr
    assert name in done.stderr
    assert done.stderr.count("\n") == 1
    assert os.listdir(folder) == []


@pytest.mark.parametrize("damage", ["missing", "misshapen", "truncated"])
def test_damaged_onnx(damage: str, tmp_path: Path) -> None:
    model = onnx.load(DATA / "tiny-bn.onnx")
    victim = tiny.weights()[VICTIM].tobytes()
    place = next(i for i, t in enumerate(model.graph.initializer) if numpy_helper.to_array(t).tobytes() == victim)
    tensor = model.graph.initializer.pop(place)
    if damage == "misshapen":
        tensor.dims[:] = [8, 2, 3, 3]
        tensor.raw_data = bytes(8 * 2 * 9 * 4)
        model.graph.initializer.append(tensor)
    data = model.SerializeToString()
    (tmp_path / "source").write_bytes(data[: len(data) // 2] if damage == "truncated" else data)
    done = run(tmp_path / "source", tmp_path / "w.npz")
    assert (done.exit_code, done.stdout) == (1, "")
    assert str(tmp_path / "source") in done.stderr
    assert damage == "truncated" or tensor.name in done.stderr or VICTIM in done.stderr
    assert os.listdir(tmp_path) == ["source"]


INTERRUPTED = """
import sys
from resnetfea.cli import app
sys.executable = sys.argv.pop(1)  # the export's Python
app()
"""


def test_ctrl_c_while_it_exports_leaves_nothing(tmp_path: Path) -> None:
    script, temporary = tmp_path / "python", tmp_path / "tmp"
    script.write_text('#!/bin/sh\ntouch "$7"\nkill -INT $PPID\nexec sleep 60\n')  # $7: the file to write
    script.chmod(0o755)
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, script, "convert", DATA / "tiny.pth", tmp_path / "w.onnx"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "resnetfea: interrupted\n")
    assert os.listdir(temporary) == []
    assert sorted(os.listdir(tmp_path)) == ["python", "tmp"]


# ---- ONNX ------------------------------------------------------------------------------------------------------------

VARIANTS: dict[str, dict[str, Any]] = {
    "torchvision": {},
    "source": {"pool": "same"},
    "modelzoo": {"pool": "same", "conv_pad": "same", "bn_eps": 1e-4},
    "maskrcnn-benchmark": {"stride_in": "1x1", "bn_eps": 0.0},
    "keras": {"stride_in": "1x1", "pool": "ceil", "bn_eps": 1.001e-5},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_onnx_comes_back_with_its_variant(name: str, tmp_path: Path) -> None:
    import onnxruntime

    source = read(DATA / "tiny.pth")
    write(replace(source, variant=replace(source.variant, **VARIANTS[name])), tmp_path / "w.safetensors")
    done = convert(tmp_path / "w.safetensors", tmp_path / "w.onnx")
    assert any("classifier" in note for note in done.written.notes)
    before, after = read(tmp_path / "w.safetensors"), read(tmp_path / "w.onnx")
    assert_equal(after.tensors, dict(before.tensors))
    assert (after.variant, after.recipe, after.recipe_of) == (before.variant, before.recipe, before.recipe_of)
    onnx.checker.check_model(str(tmp_path / "w.onnx"))
    session = onnxruntime.InferenceSession(tmp_path / "w.onnx")
    assert "resnetfea" in session.get_modelmeta().custom_metadata_map
    maps = session.run(None, {session.get_inputs()[0].name: np.zeros((1, 3, 224, 224), np.float32)})
    assert [one.shape[1] for one in maps] == [8, 16, 32, 64]
    (tmp_path / "changed.onnx").write_bytes((tmp_path / "w.onnx").read_bytes().replace(b'"3x3"', b'"1x1"'))
    if before.variant.stride_in == "3x3":
        assert "its card says stride_in 1x1, the rest of it 3x3" in inspected(tmp_path / "changed.onnx")["problems"]


@pytest.mark.slow
def test_onnx_without_mindspore_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'mindspore'\" >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    done = run(DATA / "tiny.pth", tmp_path / "w.onnx")
    assert done.exit_code == 1
    assert "No module named 'mindspore'" in done.stderr
    assert os.listdir(tmp_path) == ["python"]


def test_a_card_that_contradicts_its_tensors(tmp_path: Path) -> None:
    run(DATA / "tiny.pth", tmp_path / "w.npz")
    data = (tmp_path / "w.npz").read_bytes()
    (tmp_path / "v.npz").write_bytes(data.replace(b'"res2_channels": 8', b'"res2_channels": 9'))
    found = inspected(tmp_path / "v.npz")
    assert found["problems"] == ["its card says res2_channels 9, the rest of it 8"]
    assert run(tmp_path / "v.npz", tmp_path / "u.npz").exit_code == 1


def test_a_lost_card_is_nothing_worse_than_names(tmp_path: Path) -> None:
    """What np.savez writes from np.load's arrays has none, and is read as torchvision's again."""
    run("opennsfw", tmp_path / "w.npz")
    with np.load(tmp_path / "w.npz") as archive:
        save_file(dict(archive), tmp_path / "v.safetensors")
    assert inspected(tmp_path / "v.safetensors")["recipe_of"] == "torchvision"

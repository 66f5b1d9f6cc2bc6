"""verify against traces that PyTorch wrote (tests/golden/traces), against ONNX, and against other weights files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import save_file
from typer.testing import CliRunner

from parity.traces import CASES
from resnetfea.cli import app
from resnetfea.weights import read
from resnetfea.weights.writing import write
from rich_weights import State, rich_state

pytestmark = pytest.mark.slow
GOLDEN = Path(__file__).parents[1] / "golden" / "traces"
TRACE = GOLDEN / "torchvision.npz"
DATA = Path(__file__).parents[1] / "data"
MAPS = ["c2", "c3", "c4", "c5"]
CASE = CASES["torchvision"]
Arrays = dict[str, NDArray[Any]]


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, ["verify", *map(str, arguments)])


def facts(*arguments: str | Path) -> dict[str, Any]:
    done = run(*arguments, "--json")
    found: dict[str, Any] = json.loads(done.stdout, parse_constant=lambda text: pytest.fail(f"{text} is not JSON"))
    assert done.exit_code == (0 if found["ok"] else 1)
    return found


def saved(path: Path, state: State) -> Path:
    save_file(state, path)
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("verify") / "w.safetensors", CASE.weights)


def planted(weights: Path, folder: Path, **settings: Any) -> Path:
    """The same weights, but whose card says another variant or recipe: a port that computes otherwise."""
    source = read(weights)
    recipe = {name: settings.pop(name) for name in list(settings) if name in ("color", "scale", "mean", "std")}
    changed = replace(
        source, variant=replace(source.variant, **settings), recipe=replace(source.recipe, **recipe), recipe_of="test"
    )
    write(changed, folder / "port.npz")
    return folder / "port.npz"


@pytest.mark.parametrize("name", CASES)
def test_a_correct_port_agrees_in_every_layer(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    source = read(saved(tmp_path / "w.safetensors", case.file))
    write(replace(source, variant=case.variant), tmp_path / "w.npz")
    found = facts(tmp_path / "w.npz", "--against", GOLDEN / f"{name}.npz")
    assert found["ok"] is True
    assert found["first_divergence"] is None
    # with `input`, as the trace has its image, and p2 to p6 where there is a pyramid
    assert len(found["layers"]) == 1 + 3 + 16 * 7 + 4 * 2 + 4 + (5 if case.pyramid else 0)
    assert 0 < found["max_rel"] <= 1e-5
    assert found["max_rel"] == max(one["max_rel"] for one in found["layers"])
    assert [one["name"] for one in found["layers"]][:4] == ["input", "conv1", "bn1", "maxpool"]
    for one in found["layers"]:
        assert set(one) == {"name", "max_abs", "max_rel", "cosine"}
        assert one["cosine"] == pytest.approx(1, abs=1e-6)
    assert found["not_compared"] == []


def test_each_layer_alone_agrees_too(weights: Path) -> None:
    found = facts(weights, "--against", TRACE, "--isolate")
    assert found["ok"]
    assert found["isolate"]
    assert found["layers"][-1]["max_rel"] < 1e-7  # one addition and a ReLU


@pytest.mark.parametrize(
    ("settings", "first"),
    [
        ({"pool": "same"}, "maxpool"),
        ({"pool": "ceil"}, "maxpool"),
        ({"stride_in": "1x1"}, "layer2.0.conv1"),
        ({"bn_eps": 1.001e-5}, "bn1"),
        ({"conv_pad": "same"}, "conv1"),
        ({"color": "bgr"}, "input"),
        ({"std": (0.229, 0.224, 0.226)}, "input"),
    ],
)
def test_a_port_that_computes_otherwise_is_named_where_it_begins(
    settings: dict[str, Any], first: str, weights: Path, tmp_path: Path
) -> None:
    port = planted(weights, tmp_path, **settings)
    found = facts(port, "--against", TRACE)
    assert (found["ok"], found["first_divergence"]) == (False, first)


def one_filter(state: State) -> None:
    state["layer2.0.conv2.weight"][1] *= np.float32(1.001)


def norms_at_identity(state: State) -> None:
    for name, array in state.items():
        if name.startswith("layer3.") and (".bn" in name or ".downsample.1" in name):
            array[:] = 1 if name.endswith(("weight", "running_var")) else 0


def swapped_colours(state: State) -> None:
    state["conv1.weight"] = np.ascontiguousarray(state["conv1.weight"][:, ::-1])


def swapped_projection(state: State) -> None:
    state["layer4.0.downsample.0.weight"] = state["layer4.0.downsample.0.weight"][::-1].copy()


@pytest.mark.parametrize(
    ("plant", "first", "alone"),
    [
        (one_filter, "layer2.0.conv2", 1),
        (norms_at_identity, "layer3.0.bn1", 19),  # 3 in each of 6 blocks, and the projection's
        (swapped_colours, "conv1", 1),
        (swapped_projection, "layer4.0.downsample.0", 1),
    ],
)
def test_wrong_weights_are_named_where_they_are(
    plant: Callable[[State], None], first: str, alone: int, tmp_path: Path
) -> None:
    state = CASE.weights
    plant(state)
    wrong = saved(tmp_path / "w.safetensors", state)
    own = facts(wrong, "--against", TRACE, "--isolate")
    assert own["first_divergence"] == first
    assert sum(one["max_rel"] > 1e-5 for one in own["layers"]) == alone


def test_the_table_ends_with_the_sentence(tmp_path: Path) -> None:
    state = CASE.weights
    one_filter(state)
    done = run(saved(tmp_path / "w.safetensors", state), "--against", TRACE)
    lines = done.stdout.splitlines()
    assert done.exit_code == 1
    (marked,) = [line for line in lines if "<- first to differ" in line]
    assert lines[-2].split()[0] == "c5"
    assert lines[-2].rstrip().endswith("differs")  # it inherits it
    assert marked.split()[:5] == ["layer2.0.conv2", "1", "4", "6", "7"]
    assert lines[-1].startswith("layer2.0.conv2 is the first of 128 layers to differ: by 3.5e-05 of its largest value ")
    assert "(tolerance 1e-05). The 30 before it agree to " in lines[-1]


def test_gradients_of_all_parameters_agree(weights: Path) -> None:
    found = facts(weights, "--against", TRACE, "--gradients")
    assert found["ok"]
    assert [one["name"] for one in found["gradients"]][:2] == ["grad.layer4.2.bn3.bias", "grad.layer4.2.bn3.weight"]
    assert len(found["gradients"]) == 53 * 3
    assert max(one["max_rel"] for one in found["gradients"]) <= 1e-4


def test_gradients_of_a_network_with_a_frozen_stem_agree(tmp_path: Path) -> None:
    """The trace has those of the rest, and its c2 has none to give."""
    detector = saved(tmp_path / "w.safetensors", CASES["detector"].file)
    found = facts(detector, "--against", GOLDEN / "detector.npz", "--gradients")
    assert found["ok"]
    assert len(found["gradients"]) == (53 - 1 - 10) * 3


def test_a_wrong_gradient_is_found_where_all_layers_agree(weights: Path, tmp_path: Path) -> None:
    arrays = dict(np.load(TRACE))
    arrays["grad.layer2.1.conv2.weight"] *= np.float32(1.001)
    done = run(weights, "--against", changed(tmp_path, arrays), "--gradients")
    assert done.exit_code == 1
    sentence = "All 128 layers agree, and grad.layer2.1.conv2.weight is the first gradient to differ"
    assert done.stdout.splitlines()[-1].startswith(sentence)


def test_a_part_of_a_trace_is_enough(weights: Path, tmp_path: Path) -> None:
    arrays = dict(np.load(TRACE))
    kept = {name: arrays[name] for name in ("input", "bn1", "layer1.2", "layer2.3", "c4", "c5")} | {
        "avgpool": np.zeros((1, 64, 1, 1), np.float32)
    }
    found = facts(weights, "--against", changed(tmp_path, kept))
    assert [one["name"] for one in found["layers"]] == ["bn1", "layer1.2", "c2", "layer2.3", *MAPS[1:]]
    assert found["not_compared"] == ["avgpool"]
    assert found["ok"]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_differs(bad: float, weights: Path, tmp_path: Path) -> None:
    arrays = dict(np.load(TRACE))
    arrays["layer3.1.bn2"][0, 0, 0, 0] = bad
    found = facts(weights, "--against", changed(tmp_path, arrays))
    assert found["first_divergence"] == "layer3.1.bn2"
    (row,) = [one for one in found["layers"] if one["max_rel"] is None]
    assert row["why"] == "holds numbers that are not finite, in the reference"
    assert found["max_rel"] is None


def test_zeros_differ_and_no_tolerance_lets_them_agree(weights: Path, tmp_path: Path) -> None:
    arrays = dict(np.load(TRACE))
    trace = changed(tmp_path, arrays | {"bn1": np.zeros_like(arrays["bn1"])})
    found = facts(weights, "--against", trace, "--tol", "inf")
    assert found["first_divergence"] == "bn1"
    (row,) = [one for one in found["layers"] if one["max_rel"] is None]
    assert row["why"] == "is zero everywhere in the reference"
    assert row["max_abs"] > 0
    assert found["tol"] is None


def test_another_size_differs(weights: Path, tmp_path: Path) -> None:
    arrays = dict(np.load(TRACE))
    arrays["maxpool"] = arrays["maxpool"][..., :-1]
    done = run(weights, "--against", changed(tmp_path, arrays))
    assert "it is (1, 4, 12, 13) where the reference is (1, 4, 12, 12) (tolerance 1e-05)" in done.stdout


def test_two_sizes_cannot_be_added(weights: Path, tmp_path: Path) -> None:
    """With --isolate a block gets what the reference has, and our own where it has nothing."""
    arrays = dict(np.load(TRACE))
    kept = {name: arrays[name] for name in ("input", "layer1.0.bn3", *MAPS)}
    kept["layer1.0.bn3"] = kept["layer1.0.bn3"][..., :-1]
    trace = changed(tmp_path, kept)
    refused(run(weights, "--against", trace, "--isolate"), "layer1.0", "are of two sizes")
    assert facts(weights, "--against", trace)["first_divergence"] == "layer1.0.bn3"


def test_a_loss_that_does_not_fit_is_one_line(weights: Path, tmp_path: Path) -> None:
    arrays = dict(np.load(TRACE))
    arrays["loss.c3"] = arrays["loss.c3"][:, :, :-1]
    trace = changed(tmp_path, arrays)
    refused(
        run(weights, "--against", trace, "--gradients"), trace, "`loss.c3` is (1, 16, 5, 7), but c3 is (1, 16, 6, 7)"
    )


def test_the_picture_goes_through_the_recipe(weights: Path, tmp_path: Path) -> None:
    """Of a trace it is the one that the input was made of: the recipe is checked, resize and crop too."""
    arrays = dict(np.load(TRACE))
    del arrays["image"]
    trace = changed(tmp_path, arrays)
    Image.fromarray(CASE.picture).save(tmp_path / "same.png")
    Image.fromarray(CASE.picture[::-1]).save(tmp_path / "other.png")
    source = read(weights)
    write(replace(source, recipe=replace(source.recipe, resize=None, crop=None), recipe_of="test"), tmp_path / "w.npz")
    assert facts(tmp_path / "w.npz", "--against", trace, "--image", tmp_path / "same.png")["ok"]
    wrong = facts(tmp_path / "w.npz", "--against", trace, "--image", tmp_path / "other.png")
    assert wrong["first_divergence"] == "input"


def test_onnx_as_the_reference() -> None:
    """tiny-bn.onnx was exported by PyTorch, of the weights in tiny.pth."""
    found = facts(DATA / "tiny.pth", "--against", DATA / "tiny-bn.onnx")
    assert found["ok"]
    assert [one["name"] for one in found["layers"]] == MAPS
    wrong = facts(DATA / "tiny.pth", "--against", DATA / "tiny-folded.onnx")  # its stride sits in the 1x1
    assert wrong["first_divergence"] == "c3"


def test_an_onnx_of_four_maps_needs_no_names(tmp_path: Path) -> None:
    """Exporters name outputs by their nodes; ours does, too."""
    model = onnx.load(DATA / "tiny-bn.onnx")
    for index, output in enumerate(model.graph.output):
        for node in model.graph.node:
            node.output[:] = [f"node{index}" if name == output.name else name for name in node.output]
            node.input[:] = [f"node{index}" if name == output.name else name for name in node.input]
        output.name = f"node{index}"
    onnx.save(model, tmp_path / "a.onnx")
    done = run(DATA / "tiny.pth", "--against", tmp_path / "a.onnx")
    assert done.exit_code == 0
    assert "taken as c2 to c5 in their order" in done.stderr
    del model.graph.output[1]
    onnx.save(model, tmp_path / "b.onnx")
    done = run(DATA / "tiny.pth", "--against", tmp_path / "b.onnx")
    assert done.exit_code == 0
    assert "its weights and settings are compared, run here: has no output called c2" in done.stderr


def test_onnx_by_openvino_gives_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from resnetfea.parity import onnx_run

    monkeypatch.setattr(onnx_run, "find_spec", lambda name: None)
    Image.fromarray(CASE.picture).save(tmp_path / "a.png")  # 48x49; the graph takes 64x64
    assert facts(DATA / "tiny.pth", "--against", DATA / "tiny-bn.onnx", "--image", tmp_path / "a.png")["ok"]


def test_other_weights_as_the_reference(weights: Path, tmp_path: Path) -> None:
    """Each runs as its own file says."""
    same = facts(weights, "--against", weights)
    assert (same["max_rel"], len(same["layers"])) == (0, 127)
    port = planted(weights, tmp_path, pool="ceil", color="bgr")
    done = run(weights, "--against", port)
    assert "its recipe is another" in done.stderr
    assert done.stdout.splitlines()[-1].startswith("maxpool is the first of 127 layers to differ: it is (1, 4, 32, 33)")


def test_tol_is_what_agrees(weights: Path, tmp_path: Path) -> None:
    state = CASE.weights
    one_filter(state)
    wrong = saved(tmp_path / "w.safetensors", state)
    assert facts(wrong, "--against", TRACE, "--tol", "0.1")["ok"]
    assert not facts(weights, "--against", TRACE, "--tol", "0")["ok"]


def without(*names: str) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {name: array for name, array in arrays.items() if name not in names}


def test_the_document_names_every_field() -> None:
    text = (GOLDEN.parents[2] / "docs" / "trace.md").read_text()
    found = facts(DATA / "tiny.pth", "--against", DATA / "tiny-bn.onnx")
    assert [name for name in (*found, *found["layers"][0], "gradients", "why") if f"`{name}`" not in text] == []


def with_(name: str, array: NDArray[Any]) -> Callable[[Arrays], Arrays]:
    return lambda arrays: arrays | {name: array}


ZEROS = np.zeros((1, 3, 48, 49), np.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("input"), "it has no `input`"),
        (without("c4", "layer3.5"), "lacks c4; a reference needs c2 to c5 at least"),
        (lambda arrays: {"input": arrays["input"]}, "no layer under torchvision's names"),
        (with_("input", ZEROS[:, :1]), "`input` is (1, 1, 48, 49); (1, 3, H, W) is wanted, H x W up to"),
        (with_("input", np.zeros((1, 3, 2048, 2049), np.float32)), "(1, 3, H, W) is wanted, H x W up to"),
        (with_("input", ZEROS[0]), "`input` is float32 (3, 48, 49); float32 (1, C, H, W) is wanted"),
        (with_("input", ZEROS + np.float32(np.nan)), "`input` holds numbers that are not finite"),
        (with_("image", np.zeros((3, 48, 49), np.uint8)), "`image` is uint8 (3, 48, 49); uint8 (48, 49, 3) is wanted"),
        (with_("conv1", np.zeros((1, 4, 24, 25), np.int32)), "`conv1` is int32 (1, 4, 24, 25)"),
        (with_("conv1", np.zeros((2, 4, 24, 25), np.float32)), "`conv1` is of 2 images"),
        (with_("conv1", np.zeros((1, 64, 24, 25), np.float32)), "conv1 has 64 channels there, 4 with these weights"),
        (with_("layer3.6", np.zeros((1, 64, 3, 4), np.float32)), "of another network: these weights have no layer3.6"),
        (with_("note", np.array("resnet")), "array note: it holds '<U6', not plain numbers"),
    ],
)
def test_bad_traces_are_one_line(
    change: Callable[[Arrays], Arrays], message: str, weights: Path, tmp_path: Path
) -> None:
    trace = changed(tmp_path, change(dict(np.load(TRACE))))
    refused(run(weights, "--against", trace), trace, message)
    refused(run(weights, "--against", trace, "--isolate"), trace, message)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.npz", b"not an npz", "it is no .npz"),
        ("t.npz", TRACE.read_bytes()[:-100], "its zip is broken or cut short"),
        ("t.npz", b"", "it is no .npz"),
        ("t.onnx", b"\x08\x07nothing", "cannot be run as ONNX"),
        ("t.pth", b"nothing", "cannot be read as weights"),
    ],
)
def test_other_bad_references_are_one_line(
    name: str, content: bytes, message: str, weights: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    refused(run(weights, "--against", tmp_path / name), tmp_path / name, message)


def test_what_is_no_file_is_one_line(weights: Path, tmp_path: Path) -> None:
    refused(run(weights, "--against", tmp_path), tmp_path, "not a regular file")
    refused(run(weights, "--against", tmp_path / "t.npz"), tmp_path / "t.npz", "No such file")
    os.mkfifo(tmp_path / "pipe.npz")
    refused(run(weights, "--against", tmp_path / "pipe.npz"), tmp_path / "pipe.npz", "not a regular file")


def test_other_networks_are_one_line(weights: Path, tmp_path: Path) -> None:
    other = saved(tmp_path / "o.safetensors", rich_state(replace(CASE.variant, stem_channels=6), 1))
    refused(run(other, "--against", weights), weights, "of another network: conv1 has 4 channels there, 6 with these")
    refused(run(weights, "--against", GOLDEN / "detectron2.npz", "--gradients"), "detectron2.npz", "has no gradients")
    refused(run(weights, "--against", weights, "--gradients"), weights, "which only a trace can have")
    refused(run(weights, "--against", TRACE, "--image", TRACE), TRACE, "not an image of a known format")


def test_an_onnx_that_gives_no_maps_is_compared_by_its_weights() -> None:
    """A classifier's graph, of another layout: its structure is read as that of any weights file."""
    done = run("opennsfw", "--against", read("opennsfw").path)
    assert done.exit_code == 0
    assert "its weights and settings are compared, run here" in done.stderr
    assert "All 127 layers agree" in done.stdout


def refused(done: Any, file: Path | str, message: str) -> None:
    assert done.exit_code == 1
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("MindSpore ")]  # the guard's, once
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("resnetfea: ")
    assert str(file) in lines[0]
    assert message in lines[0]


def changed(folder: Path, arrays: Arrays) -> Path:
    np.savez(folder / "trace.npz", **arrays)
    return folder / "trace.npz"

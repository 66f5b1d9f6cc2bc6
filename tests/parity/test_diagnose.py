"""diagnose against traces that PyTorch wrote (tests/golden/traces), and against other weights files.

Who is wrong is turned around here where the trace is golden: the weights' card says another variant or recipe than the
trace was computed with, so that the trace is the port. make diagnoses has the ports that PyTorch computed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file
from typer.testing import CliRunner

from parity.port_edits import affine_lost, copied, not_loaded, turned
from parity.traces import CASES
from resnetfea.cli import app
from resnetfea.weights import read
from resnetfea.weights.writing import write
from rich_weights import State

pytestmark = pytest.mark.slow
GOLDEN = Path(__file__).parents[1] / "golden" / "traces"
TRACE = GOLDEN / "torchvision.npz"
DATA = Path(__file__).parents[1] / "data"
CASE = CASES["torchvision"]
MAPS = ("c2", "c3", "c4", "c5")
RECIPE = ("color", "scale", "mean", "std")
Differences = list[dict[str, Any]]


def facts(weights: Path, against: Path) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["diagnose", str(weights), "--against", str(against), "--json"])
    found: dict[str, Any] = json.loads(done.stdout, parse_constant=lambda text: pytest.fail(f"{text} is not JSON"))
    assert done.exit_code == (0 if found["explained"] else 1)
    return found


def named(weights: Path, against: Path) -> dict[str, Any]:
    """Setting -> (expected, found), nothing left open."""
    found = facts(weights, against)
    assert found["explained"]
    settings = {one["setting"]: (one["expected"], one["found"]) for one in found["differences"]}
    assert len(settings) == len(found["differences"])
    return settings


def saved(path: Path, state: State, **settings: Any) -> Path:
    """A file whose card says what these weights need: torchvision's variant and recipe, but for the settings."""
    save_file(state, path.with_suffix(".safetensors"))
    source = read(path.with_suffix(".safetensors"))
    recipe = {name: value for name, value in settings.items() if name in RECIPE}
    variant = {name: value for name, value in settings.items() if name not in RECIPE}
    write(
        replace(
            source,
            variant=replace(source.variant, **variant),
            recipe=replace(source.recipe, **recipe),
            recipe_of="test",
        ),
        path,
    )
    return path


def only_maps(folder: Path) -> Path:
    """What an ONNX has: no layer between c2, c3, c4, c5."""
    arrays: dict[str, NDArray[Any]] = dict(np.load(TRACE))
    np.savez(folder / "maps.npz", **{name: arrays[name] for name in ("input", *MAPS)})
    return folder / "maps.npz"


@pytest.mark.parametrize("name", CASES)
def test_a_correct_port_shows_no_difference(name: str, tmp_path: Path) -> None:
    """Dense, with its picture; one has gradients and a pyramid, too."""
    case = CASES[name]
    save_file(case.file, tmp_path / "w.safetensors")
    write(replace(read(tmp_path / "w.safetensors"), variant=case.variant), tmp_path / "w.npz")
    assert facts(tmp_path / "w.npz", GOLDEN / f"{name}.npz")["differences"] == []


@pytest.mark.parametrize(
    ("needs", "found"),
    [
        ({"pool": "ceil"}, {"pool": "pad1"}),
        ({"bn_eps": 1.001e-5}, {"bn_eps": pytest.approx(1e-5, abs=2e-9)}),
        ({"color": "bgr"}, {"color": "rgb"}),
        (
            {"std": (0.229, 0.224, 0.226), "conv_pad": "same"},
            {"std": pytest.approx([0.229, 0.224, 0.225], rel=1e-4), "conv_pad": "symmetric"},
        ),
    ],
)
def test_settings_are_named_layer_by_layer(needs: dict[str, Any], found: dict[str, Any], tmp_path: Path) -> None:
    expected = {name: list(value) if isinstance(value, tuple) else value for name, value in needs.items()}
    differences = named(saved(tmp_path / "w.npz", CASE.weights, **needs), TRACE)
    assert differences == {name: (expected[name], value) for name, value in found.items()}


@pytest.mark.parametrize(
    ("needs", "found"),
    [
        ({"stride_in": "1x1"}, {"stride_in": "3x3"}),
        ({"pool": "same", "bn_eps": 1e-3}, {"pool": "pad1", "bn_eps": pytest.approx(1e-5, abs=2e-9)}),
    ],
)
def test_settings_are_named_by_the_maps_alone(needs: dict[str, Any], found: dict[str, Any], tmp_path: Path) -> None:
    differences = named(saved(tmp_path / "w.npz", CASE.weights, **needs), only_maps(tmp_path))
    assert differences == {name: (needs[name], value) for name, value in found.items()}


@pytest.mark.parametrize(
    ("plant", "setting", "found"),
    [
        (affine_lost("layer3"), "bn_affine", "layer3"),
        (not_loaded("layer2"), "weights", "layer2"),
        (turned("layer4.1.conv2"), "weights", "layer4.1.conv2"),
        (copied("layer1.1.bn1", "layer1.2.bn1", "running_mean", "running_var"), "weights", "layer1.1.bn1"),
    ],
)
def test_what_is_wrong_with_the_ports_tensors_is_named(
    plant: Callable[[State], None], setting: str, found: str, tmp_path: Path
) -> None:
    """The port is a weights file here, which our own cell runs."""
    state = CASE.weights
    right = saved(tmp_path / "right.npz", dict(state))
    plant(state)
    differences = named(right, saved(tmp_path / "port.npz", state))
    assert {name: value for name, (_, value) in differences.items()} == {setting: found}


@pytest.mark.parametrize(("onnx", "found"), [("tiny-bn.onnx", {}), ("tiny-folded.onnx", {"stride_in": ("3x3", "1x1")})])
def test_an_onnx_of_pytorch_is_compared_layer_by_layer(onnx: str, found: dict[str, Any]) -> None:
    """Of the second the norms are folded into the convolutions, which are then no layers to compare; maps of 2x2."""
    assert named(DATA / "tiny.pth", DATA / onnx) == found


@pytest.mark.parametrize(("value", "why"), [(np.nan, "not finite"), (0, "zero everywhere")])
def test_a_layer_that_is_no_evidence_ends_the_search(value: float, why: str, tmp_path: Path) -> None:
    arrays: dict[str, NDArray[Any]] = dict(np.load(TRACE))
    arrays["layer2.1.conv2"] = np.full_like(arrays["layer2.1.conv2"], value)
    np.savez(tmp_path / "dead.npz", **arrays)
    found = facts(saved(tmp_path / "w.npz", CASE.weights, pool="ceil"), tmp_path / "dead.npz")
    assert [one["setting"] for one in found["differences"]] == ["pool"]
    assert [one["layer"] for one in found["unexplained"]] == ["layer2.1.conv2"]
    assert why in found["unexplained"][0]["why"]


@pytest.mark.parametrize("layer", ["conv1", "layer1.0.bn1"])
def test_what_nothing_explains_stays_unexplained(layer: str, tmp_path: Path) -> None:
    """Noise that no kernel, no scale and shift can make: the layer's numbers are not blamed for it, nor any setting."""
    arrays: dict[str, NDArray[Any]] = dict(np.load(TRACE))
    arrays[layer] = np.random.default_rng(3).random(arrays[layer].shape, np.float32)
    np.savez(tmp_path / "noise.npz", **arrays)
    found = facts(saved(tmp_path / "w.npz", CASE.weights), tmp_path / "noise.npz")
    assert layer in [one["layer"] for one in found["unexplained"]]
    assert {one["setting"] for one in found["differences"]} <= {"weights"}
    assert layer not in [one["found"] for one in found["differences"]]

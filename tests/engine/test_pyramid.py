"""A feature pyramid as further layers of both engines, and its export for images of any size."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import openvino as ov
import pyarrow.parquet as pq
import pytest
from openvino import opset13 as ops
from PIL import Image
from safetensors.numpy import save_file

from parity.fpn_cases import CASES, IMAGES, NET, NETS, SEED, error, load, state
from parity.references import GOLDEN
from resnetfea import CompiledEngine, MindSporeEngine, ResnetFeaError, Weights, read
from resnetfea.engine.layers import channels
from resnetfea.features.extract import extract
from rich_weights import rich_input, rich_state

TOLERANCE = 1e-5


def weights_of(case: str, folder: Path, prefix: str = "fpn.") -> Weights:
    pyramid = {prefix + name: array for name, array in state(CASES[case]).items()}
    save_file(rich_state(NET, SEED) | pyramid, folder / "w.safetensors")
    found = read(folder / "w.safetensors")
    assert found.variant == NET
    return found


@pytest.mark.slow
@pytest.mark.parametrize("engine", [CompiledEngine, MindSporeEngine])
@pytest.mark.parametrize("case", NETS)
def test_every_map_is_pytorchs(case: str, engine: type[CompiledEngine] | type[MindSporeEngine], tmp_path: Path) -> None:
    weights, reference = weights_of(case, tmp_path), load(GOLDEN / "fpn" / "net" / f"{case}.npz", CASES[case])
    layers = [name for name in channels(weights) if name[0] == "p"]
    runs = engine(weights, layers=layers)
    for shape in IMAGES:
        found = runs.maps(rich_input(shape, SEED))
        assert list(found) == layers
        for index, ours in enumerate(found.values()):
            assert error(reference, f"{shape[2]}x{shape[3]}/{index}", ours) <= TOLERANCE, (shape, index)


@pytest.mark.slow
@pytest.mark.parametrize("engine", [CompiledEngine, MindSporeEngine])
def test_layers_of_both_and_pooled(engine: type[CompiledEngine] | type[MindSporeEngine], tmp_path: Path) -> None:
    weights = weights_of("default", tmp_path)
    picture = np.random.default_rng(1).integers(0, 256, (224, 224, 3), np.uint8)
    (row,) = engine(weights, layers=("p6", "c3", "p2")).features([picture])
    assert {layer: len(feature) for layer, feature in row.items()} == {"p6": 32, "c3": 48, "p2": 32}
    (alone,) = engine(weights, layers=("c3",)).features([picture])
    assert np.abs(alone["c3"] - row["c3"]).max() <= TOLERANCE * np.abs(row["c3"]).max()


def test_the_pyramid_is_no_layer_unless_asked_for(tmp_path: Path) -> None:
    weights = weights_of("retinanet-c5", tmp_path)
    sizes = {"c2": 24, "c3": 48, "c4": 96, "c5": 192}
    assert channels(weights) == sizes | dict.fromkeys(("p3", "p4", "p5", "p6", "p7"), 32)
    with pytest.raises(ResnetFeaError, match="these weights give c2, c3, c4, c5, p3, p4, p5, p6, p7, not all of p2"):
        CompiledEngine(weights, layers=["p2"])
    with pytest.raises(ValueError, match=r"choose from .*'c5'.* and .*'p7'"):
        CompiledEngine(weights, layers=["p8"])
    (tmp_path / "bare").mkdir()
    save_file(rich_state(NET, SEED), tmp_path / "bare" / "w.safetensors")
    bare = read(tmp_path / "bare" / "w.safetensors")
    assert channels(bare) == sizes
    with pytest.raises(ResnetFeaError, match="these weights give c2, c3, c4, c5, not all of p2"):
        CompiledEngine(bare, layers=["p2"])


@pytest.mark.slow
def test_a_bilinear_pyramid_has_no_export(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    weights = replace(weights_of("modelzoo", tmp_path), recipe_of="resnetfea", unused=("rcnn_mask.mask_fcn1.weight",))
    only = r"no bilinear resize to ONNX, so only the MindSpore engine runs p2"
    with pytest.raises(ResnetFeaError, match=only):
        CompiledEngine(weights, layers=["p2"])
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (64, 64), "red").save(tmp_path / "photos" / "a.png")
    for layer, engine in (("c5", "openvino"), ("p2", "mindspore")):
        with caplog.at_level("INFO", "resnetfea"):
            extract(tmp_path / "photos", tmp_path / layer, weights=weights, layers=[layer])
        assert json.loads((tmp_path / layer / "manifest.json").read_text())["engine"] == engine
        assert bool(re.search(only, caplog.text)) == (engine == "mindspore")


@pytest.mark.slow
def test_extracted(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (300, 260), "red").save(tmp_path / "photos" / "a.png")
    with pytest.raises(ResnetFeaError, match="not all of p7"):
        extract(tmp_path / "photos", tmp_path / "out", weights=weights_of("default", tmp_path), layers=["p7"])
    extract(tmp_path / "photos", tmp_path / "out", weights=weights_of("default", tmp_path), layers=["c5", "p5"])
    (row,) = pq.read_table(tmp_path / "out" / "features-00000.parquet").to_pylist()
    assert (len(row["c5"]), len(row["p5"])) == (192, 32)


def test_openvinos_nearest_pixel_is_the_half_of_each() -> None:
    """So is PyTorch's, for a map of half the size, rounded up: floor(i * float32(half / size)) is i // 2."""
    coarse, fine = ops.parameter([1, 1, -1, 1], np.float32), ops.parameter([1, 1, -1, 1], np.float32)
    mode = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    resized = ops.interpolate(coarse, ops.shape_of(fine), shape_calculation_mode="sizes", **mode)
    run = ov.Core().compile_model(ov.Model([resized], [coarse, fine]), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for size in range(1, 2200):
        half = (size + 1) // 2
        x, like = np.arange(half, dtype=np.float32), np.zeros((1, 1, size, 1), np.float32)
        wanted = np.arange(size) // 2
        assert np.array_equal(run([x.reshape(1, 1, -1, 1), like])[0].reshape(-1), wanted)
        assert np.array_equal(np.floor(np.arange(size, dtype=np.float32) * np.float32(half / size)), wanted)

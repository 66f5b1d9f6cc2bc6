"""`resnetfea bench`: what it counts, and what it says where something can't run. Never how fast."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data import tiny
from engine.arithmetic import bf16_here, possible
from resnetfea import CompiledEngine, ResnetFeaError, read
from resnetfea.bench import contender, photos, run
from resnetfea.bench.contender import Contender, contenders, engine_of
from resnetfea.bench.run import Turn
from resnetfea.cli_bench import _table
from resnetfea.engine.export import export
from resnetfea.engine.precision import PRECISIONS, Calibration, Precision
from resnetfea.features.images import decode
from resnetfea.features.source import file
from weights.test_variants import carded

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "data" / "tiny.safetensors"


def test_a_row_is_the_median_turn_and_the_medians_ratio() -> None:
    turns = [Turn(10, seconds) for seconds in (1, 2, 1, 5, 1)]
    peer = [Turn(10, seconds) for seconds in (2, 4, 2, 20, 4)]  # a slow machine in turns 2 and 4: slow for both
    row = run._row(Contender("openvino", "fp32"), turns, peer, price_per_hour=0.36)
    assert (row["images_per_second"], row["slowest"], row["fastest"]) == (10, 2, 10)
    assert row["times_onnxruntime"] == 2
    assert row["hours_per_million"] == pytest.approx(1e5 / 3600)
    assert row["cost_per_million"] == pytest.approx(10)  # 1e5 seconds of 0.0001 each


def test_no_price_no_cost_and_no_peer_no_ratio() -> None:
    row = run._row(Contender("openvino", "fp32"), [Turn(1, 1)], None, price_per_hour=None)
    assert (row["cost_per_million"], row["times_onnxruntime"]) == (None, None)
    told: dict[str, Any] = {
        "machine": {"cpu": "A CPU", "cpu_isa": "avx2", "cores": 1},
        "photos": {"source": "drawn", "count": 64, "mean_kilobytes": 49},
        "weights": "opennsfw",
        "layers": ["c5"],
        "price_per_hour": None,
        "rows": [row],
        "not_run": [{"engine": "mindspore", "precision": "fp32", "reason": "mindspore is not installed"}],
    }
    table = _table(told)
    assert table[0] == "A CPU (avx2), 1 core"
    assert "cost" not in "".join(table)
    assert table[-2].split() == ["openvino", "fp32", "1.0", "1.0..1.0", "-", "277.8"]
    assert table[-1] == "mindspore fp32: not run, mindspore is not installed"
    told["price_per_hour"], row["cost_per_million"] = 0.0, 0.0  # a price of nothing is a price
    assert _table(told)[-2].split()[-1] == "0.00"


def test_turns_go_round_and_round(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    class Process:
        def __init__(self, name: str, rate: float) -> None:
            self.name, self.rate = name, rate

        def turn(self, files: int) -> Turn:
            asked.append((self.name, files))
            return Turn(files, files / self.rate)

    started: Any = {Contender("a", "fp32"): Process("a", 100), Contender("b", "fp32"): Process("b", 2)}
    turns = run._in_turns(started, 2, lambda done, total: None)
    assert [name for name, _ in asked] == ["a", "b"] * (1 + run.ROUNDS)
    assert asked[:2] == [("a", run.FIRST), ("b", run.FIRST)]
    assert asked[2:4] == [("a", 200), ("b", run.FIRST)]  # two seconds each, but some files at least
    assert {len(list_of) for list_of in turns.values()} == {run.ROUNDS}


def test_drawn_photos_are_photos(tmp_path: Path) -> None:
    paths = photos.drawn(tmp_path)
    assert len(paths) == photos.DRAWN
    sizes = [os.stat(path).st_size for path in paths]
    assert 30_000 < min(sizes) <= max(sizes) < 70_000  # a photo of 500x375 has 40 kB; blank ones would decode sooner
    with Image.open(os.fsdecode(paths[0])) as picture:
        assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", photos.SIZE)
    assert len({Path(os.fsdecode(path)).read_bytes() for path in paths}) == len(paths)


def test_your_own_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(5):
        (tmp_path / f"{index}.jpg").write_bytes(bytes(1000 * index))
    monkeypatch.setattr(photos, "MOST", 3)
    paths = photos.own(tmp_path)
    assert paths == [os.fsencode(tmp_path / f"{index}.jpg") for index in range(3)]
    assert photos.described(paths, "mine") == {"source": "mine", "count": 3, "mean_kilobytes": 1}
    (tmp_path / "empty").mkdir()
    with pytest.raises(ResnetFeaError, match="empty: no images in it"):
        photos.own(tmp_path / "empty")


def test_who_can_run_and_why_others_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = read(TINY)
    others = ("mindspore", "onnxruntime")
    able, unable = contenders(weights, 224)
    assert able == [*(Contender("openvino", one) for one in PRECISIONS), *(Contender(one, "fp32") for one in others)]
    assert unable == {}
    wide = replace(weights, recipe=replace(weights.recipe, crop=None, resize=800))
    able, unable = contenders(wide, 224)
    assert "pictures of 224x224" in unable[Contender("onnxruntime", "fp32")]
    carded(replace(tiny.TINY, deform=("none", "v1", "v1", "v1")), tmp_path / "w")
    able, unable = contenders(read(tmp_path / "w"), 224)
    assert [one.engine for one in able] == ["mindspore"]
    assert "no deformable convolution" in unable[Contender("openvino", "fp32")]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    able, unable = contenders(weights, 224)
    assert able == []
    assert unable[Contender("mindspore", "fp32")] == "mindspore is not installed"


def test_a_process_that_dies_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nexit 7\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    with run._Process({"contender": Contender("openvino", "fp32")}) as process:
        assert process.answer() == {"error": "its process ended with 7"}
        with pytest.raises(ResnetFeaError, match="openvino fp32: its process ended with 7"):
            process.turn(1)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(contender.OFFERED))
def test_all_of_them_compute_the_same(name: str, tmp_path: Path) -> None:
    weights = read("opennsfw")
    export(weights, tmp_path / "network.onnx")
    picture = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    photos = Calibration("one", lambda: [picture])
    (ours,) = engine_of(Contender(name, "fp32"), weights, tmp_path / "network.onnx", photos).features([picture])
    (theirs,) = engine_of(Contender("mindspore", "fp32"), weights, Path(), photos).features([picture])
    assert list(ours) == list(theirs)
    for layer, feature in theirs.items():
        assert np.abs(ours[layer] - feature).max() < 1e-5 * np.abs(feature).max()


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_is_its_own(precision: Precision) -> None:
    possible(precision)
    weights = read(TINY)
    photo = decode(file(os.fsencode(min((ROOT / "samples").rglob("*.jpg")))), weights.recipe, "exact").pixels
    engine = engine_of(Contender("openvino", precision), weights, Path(), Calibration("one photo", lambda: [photo]))
    assert isinstance(engine, CompiledEngine)
    assert (engine.precision, engine.quality is not None) == (precision, precision == "int8")
    (ours,), (exact,) = engine.features([photo]), CompiledEngine(weights).features([photo])
    assert np.array_equal(ours["c5"], exact["c5"]) == (precision == "fp32")
    assert ours["c5"] @ exact["c5"] > 0.99 * np.linalg.norm(ours["c5"]) * np.linalg.norm(exact["c5"])


@pytest.mark.slow
def test_from_end_to_end_with_a_broken_photo_among_them(tmp_path: Path) -> None:
    for index, photo in enumerate(sorted((ROOT / "samples").rglob("*.jpg"))[:3]):
        shutil.copy(photo, tmp_path / f"{index}.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    shutil.copy(TINY, tmp_path / "tiny.safetensors")
    done = bench(tmp_path, ".", "--weights", "tiny.safetensors", "--seconds", "0.1", "--price-per-hour", "2", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    offered = [(engine, precision) for engine, precisions in contender.OFFERED.items() for precision in precisions]
    without = [] if bf16_here() else [("openvino", "bf16")]
    assert [(row["engine"], row["precision"]) for row in told["rows"]] == [one for one in offered if one not in without]
    assert [(one["engine"], one["precision"]) for one in told["not_run"]] == without
    assert all("no bf16 arithmetic" in one["reason"] for one in told["not_run"])
    for row in told["rows"]:
        assert row["slowest"] <= row["images_per_second"] <= row["fastest"]
        assert row["cost_per_million"] == pytest.approx(2 * row["hours_per_million"])
    assert told["photos"]["count"] == 4
    assert told["rows"][-1]["times_onnxruntime"] == 1


@pytest.mark.slow
def test_photos_of_which_none_is_one(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    shutil.copy(TINY, tmp_path / "tiny.safetensors")
    done = bench(tmp_path, ".", "--weights", "tiny.safetensors", "--seconds", "0.1")
    assert done.returncode == 1
    assert "none of these photos can be decoded" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_who_is_ended_while_it_starts_leaves_nothing_half_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNETFEA_CACHE", str(tmp_path))
    weights = read(TINY)
    told = {"weights": str(TINY), "identity": weights.identity, "graph": "", "paths": [str(TINY)]}
    with run._Process({**told, "contender": Contender("openvino", "fp32")}) as process:
        while not (begun := list(tmp_path.glob("graphs/.*"))) and process._process.poll() is None:
            pass  # until it exports the network
    assert len(begun) == 1
    assert list(tmp_path.glob("graphs/*")) == []


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    search = os.pathsep.join(map(os.path.abspath, paths))  # it starts in another folder
    environment = os.environ | {"PYTHONPATH": search, "RESNETFEA_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "resnetfea", "bench", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)

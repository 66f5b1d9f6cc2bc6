"""`resnetfea extract --pool none` from end to end: whole maps keep every promise that pooled features keep."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from data import tiny
from resnetfea.weights import safetensors_file
from resnetfea.weights.card import Card
from resnetfea.weights.recipe import TORCHVISION
from rich_weights import rich_state
from test_cli_extract import (
    EXTRACT,
    PHOTOS,
    ROOT,
    SAMPLES,
    TINY,
    WITH_PEAK,
    content,
    extract,
    failures,
    features,
    refused,
    some_broken,
)

pytestmark = pytest.mark.slow

MAPS = ("--pool", "none")
LAYERS = ("c2", "c3", "c4", "c5")
Map = NDArray[np.float32]


def maps(out: Path) -> dict[str, dict[str, Map]]:
    """By path and layer, of all shards, in their order; one image is read at a time."""
    found = {}
    for path in sorted(out.glob("features-*.parquet")):
        shard = pq.ParquetFile(path)
        for index in range(shard.num_row_groups):
            (row,) = shard.read_row_group(index).to_pylist()
            found[row["path"]] = {
                layer: np.frombuffer(row[layer]["data"], "<f4").reshape(row[layer]["shape"])
                for layer in LAYERS
                if layer in row
            }
    return found


def same(some: dict[str, dict[str, Map]], others: dict[str, dict[str, Map]]) -> bool:
    """Path for path in order, bit for bit."""
    return list(some) == list(others) and all(
        one.tobytes() == others[path][layer].tobytes() and one.shape == others[path][layer].shape
        for path, layers in some.items()
        for layer, one in layers.items()
    )


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The maps of samples/, all defaults."""
    out = tmp_path_factory.mktemp("reference") / "out"
    assert extract(SAMPLES, "-o", out, *MAPS).returncode == 0
    return out


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return some_broken(70, tmp_path_factory.mktemp("many"))


@pytest.fixture(scope="module")
def undisturbed(many: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert extract(many, "-o", out, *MAPS, "--shard-size", 2).returncode == 3
    return content(out)


def test_a_folder(reference: Path, tmp_path: Path) -> None:
    assert sorted(content(reference)) == ["failures.parquet", "features-00000.parquet", "manifest.json"]
    table = pq.read_table(reference / "features-00000.parquet", columns=["path", "width", "height"])
    assert extract(SAMPLES, "-o", tmp_path / "avg").returncode == 0
    pooled = pq.read_table(tmp_path / "avg" / "features-00000.parquet", columns=["path", "width", "height"])
    assert table.equals(pooled)
    found = maps(reference)
    for layer, shape in {"c2": (128, 56, 56), "c3": (256, 28, 28), "c4": (512, 14, 14), "c5": (1024, 7, 7)}.items():
        assert {one[layer].shape for one in found.values()} == {shape}
        mean = np.stack([one[layer].mean(axis=(1, 2)) for one in found.values()])
        wanted = features(tmp_path / "avg", layer)
        assert np.abs(mean - wanted).max() <= 1e-6 * np.abs(wanted).max(), layer
    manifest = json.loads((reference / "manifest.json").read_text())
    assert (manifest["complete"], manifest["pool"], manifest["shard_size"]) == (True, "none", 64)


@pytest.mark.parametrize("document", ["docs/maps.md", "README.md", "README.zh.md"])
def test_the_documents_examples_read_them(
    reference: Path, document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").symlink_to(reference)
    (tmp_path / "maps").symlink_to(reference)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL):
        if "shard" in block and "shards" not in block:
            exec(block, names)
    path, layers = list(maps(reference).items())[7]
    assert names["row"]["path"] == path
    assert np.array_equal(names["c5"], layers["c5"])
    if "table" in names:
        assert names["table"].num_rows == len(PHOTOS)
        assert names["table"]["c5"][7].as_py() == {"shape": [1024, 7, 7]}


@pytest.mark.parametrize(
    "flags", [("--shard-size", 3), ("--workers", 1), ("--workers", 4), ("--batch", 7, "--shard-size", 5)], ids=str
)
def test_maps_do_not_depend_on_how_the_work_is_cut(reference: Path, tmp_path: Path, flags: tuple[object, ...]) -> None:
    assert extract(SAMPLES, "-o", tmp_path, *MAPS, *flags).returncode == 0
    assert same(maps(tmp_path), maps(reference))
    if "--shard-size" not in flags:
        assert content(tmp_path) == content(reference)


def test_the_cell_itself_agrees(reference: Path, tmp_path: Path) -> None:
    assert extract(SAMPLES, "-o", tmp_path, *MAPS, "--engine", "mindspore").returncode == 0
    cell, compiled = maps(tmp_path), maps(reference)
    assert list(cell) == list(compiled)
    for path, layers in cell.items():
        for layer, one in layers.items():
            assert np.abs(one - compiled[path][layer]).max() <= 1e-5 * np.abs(one).max(), (path, layer)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)], ids=["kill", "int"])
def test_an_interrupted_run_goes_on_to_the_same_bytes(
    many: Path, undisturbed: dict[str, bytes], tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    out = tmp_path / "out"
    arguments = [many, "-o", out, *MAPS, "--shard-size", 2]
    process = subprocess.Popen([*EXTRACT, *map(str, arguments)], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (out / "features-00001.parquet").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(sent)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in stderr
    if sent is signal.SIGINT:
        assert [path.name for path in out.glob(".*")] == [".inputs"]
    finished = {path.name: path.stat().st_mtime_ns for path in out.glob("features-*.parquet")}
    assert 2 <= len(finished) < 35
    assert extract(*arguments, "--resume").returncode == 3
    assert content(out) == undisturbed
    assert {name: (out / name).stat().st_mtime_ns for name in finished} == finished
    assert extract(*arguments, "--resume").returncode == 3  # a complete run
    assert {name: (out / name).stat().st_mtime_ns for name in finished} == finished
    (out / "features-00003.parquet").write_bytes(undisturbed["features-00003.parquet"][:-100])
    (out / "features-00007.parquet").unlink()
    assert extract(*arguments, "--resume").returncode == 3  # a damaged one
    assert content(out) == undisturbed


def test_broken_pictures_are_failures(many: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    for name, data in undisturbed.items():
        (tmp_path / name).write_bytes(data)
    assert failures(tmp_path) == {f"{index:03}.png": "cut short" for index in range(4, 70, 10)}
    assert list(maps(tmp_path)) == [f"{index:03}.png" for index in range(70) if index % 10 != 4]


def test_a_recipe_that_keeps_the_aspect_ratio_gives_maps_of_each_photos_own_size(tmp_path: Path) -> None:
    recipe = replace(TORCHVISION, resize=96, crop=None)
    card = Card(variant=tiny.TINY, recipe=recipe, recipe_of="made up", ecosystem="made up", sha256="0" * 64)
    with (tmp_path / "w").open("wb") as stream:
        safetensors_file.write(stream, rich_state(tiny.TINY, 3), card.to_json())
    (tmp_path / "photos").mkdir()
    sizes = {"a": (96, 96), "b": (96, 192), "c": (300, 96), "d": (96, 96)}  # width, height
    for name, size in sizes.items():
        Image.effect_noise(size, 60).convert("RGB").save(tmp_path / "photos" / f"{name}.png")
    found = {}
    for engine in ("openvino", "mindspore"):
        arguments = [tmp_path / "photos", "-o", tmp_path / engine, "--weights", tmp_path / "w", "--engine", engine]
        assert extract(*arguments, *MAPS, "--batch", 2).returncode == 0
        found[engine] = maps(tmp_path / engine)
    for (name, (width, height)), layers in zip(sizes.items(), found["openvino"].values(), strict=True):
        for index, (layer, one) in enumerate(layers.items()):
            assert one.shape == (8 << index, -(-height // (4 << index)), -(-width // (4 << index))), name
            cell = found["mindspore"][f"{name}.png"][layer]
            assert np.abs(one - cell).max() <= 1e-5 * np.abs(cell).max(), (name, layer)


def test_resume_and_overwrite_know_pooled_features_from_maps(many: Path, tmp_path: Path) -> None:
    out, flags = tmp_path / "out", ("--weights", TINY, "--layers", "c5")
    assert extract(many, "-o", out, *flags, "--shard-size", 9).returncode == 3
    done = extract(many, "-o", out, *flags, *MAPS, "--shard-size", 9, "--resume")
    assert (done.returncode, done.stderr.count("began it: pool;")) == (1, 1)
    refused(many, "-o", out, *flags, *MAPS, says="not empty; use --resume")
    assert extract(many, "-o", out, *flags, *MAPS, "--overwrite").returncode == 3
    names = ["failures.parquet", "features-00000.parquet", "features-00001.parquet", "manifest.json"]
    assert sorted(content(out)) == names
    assert pq.read_schema(out / "features-00001.parquet").field("c5").type == pa.struct(
        [("shape", pa.list_(pa.int32(), 3)), ("data", pa.binary())]
    )


def test_names_need_not_be_utf_8(tmp_path: Path) -> None:
    out, source = os.fsencode(tmp_path) + b"/o\xff", os.fsencode(tmp_path) + b"/p\xff"
    os.mkdir(source)
    shutil.copy(os.fsencode(PHOTOS[0]), source + b"/\xfe.jpg")
    subprocess.run([*EXTRACT, source, "-o", out, "--layers", "c5", *MAPS], capture_output=True, check=True)
    assert sorted(os.listdir(out)) == [b"failures.parquet", b"features-00000.parquet", b"manifest.json"]
    with open(out + b"/features-00000.parquet", "rb") as file:
        assert pq.read_table(file, columns=["path"])["path"].to_pylist() == ["\\xfe.jpg"]


def test_a_full_disk(many: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk; it is met between two images of a shard."""
    limited = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, 4_000_000)); "
    limited += "sys.argv[0] = 'resnetfea'; runpy.run_module('resnetfea', run_name='__main__')"
    arguments = [str(one) for one in ("extract", many, "-o", tmp_path / "out", *MAPS, "--shard-size", 2)]
    done = subprocess.run([sys.executable, "-c", limited, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert str(tmp_path / "out") in done.stderr
    assert "File too large" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert sorted(content(tmp_path / "out")) == [".inputs", "manifest.json"]
    assert extract(*arguments[1:], "--resume").returncode == 3
    assert content(tmp_path / "out") == undisturbed


def test_memory_grows_with_neither_the_folder_nor_the_shard(tmp_path: Path) -> None:
    peaks = []
    for count, shard_size in ((20, 5), (150, 150)):  # 3 MB of maps an image
        source = tmp_path / str(count)
        source.mkdir()
        for index in range(count):
            photo = PHOTOS[index % len(PHOTOS)]
            (source / f"{index}{photo.suffix}").symlink_to(photo)
        arguments = ["extract", source, "-o", tmp_path / f"out-{count}", *MAPS, "--shard-size", shard_size]
        command = [sys.executable, "-c", WITH_PEAK, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.split()[-1]) / 1024)  # MB
        shutil.rmtree(tmp_path / f"out-{count}")
    assert peaks[1] < 1000
    assert peaks[1] < peaks[0] + 100

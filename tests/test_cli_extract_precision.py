"""`resnetfea extract --precision`: rows, manifests and refusals, with the default weights where quality counts."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from PIL import Image

from data import tiny
from engine.arithmetic import bf16_here, possible
from engine.samples import cosine
from resnetfea import ResnetFeaError, Weights, cpu_guard, read
from resnetfea.cache_folder import VARIABLE
from resnetfea.features.extract import extract
from test_cli_extract import SAMPLES, content, features, good, refused, rows
from test_cli_extract import extract as command
from test_cli_extract_maps import maps
from weights.test_variants import carded

pytestmark = pytest.mark.slow

TINY = tiny.HERE / "tiny.safetensors"
COARSE: tuple[Literal["bf16", "int8"], ...] = ("bf16", "int8")
LAYERS = ("c2", "c3", "c4", "c5")


@pytest.fixture(scope="module")
def opennsfw() -> Weights:
    return read("opennsfw")


@pytest.fixture(scope="module")
def runs(opennsfw: Weights, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The features of samples/ in each precision of this CPU, in shards of five."""
    precisions = ("fp32", *(one for one in COARSE if one == "int8" or bf16_here()))
    found = {one: tmp_path_factory.mktemp("runs") / one for one in precisions}
    for precision, out in found.items():
        run(out, opennsfw, precision=precision)
    return found


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four small ones."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, path in enumerate(sorted(SAMPLES.rglob("*.jpg"))[:4]):
        with Image.open(path) as image:
            image.resize((120, 100)).save(folder / f"{index}.png")
    return folder


def run(out: Path, weights: Weights, source: Path = SAMPLES, **options: Any) -> None:
    extract(source, out, weights=weights, **({"shard_size": 5} | options))


def manifest(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    return found


@pytest.mark.parametrize("precision", COARSE)
def test_near_fp32_and_the_manifest_says_how_near(precision: str, runs: dict[str, Path]) -> None:
    possible(precision)
    out, said = runs[precision], manifest(runs[precision])
    near = {}
    for layer in LAYERS:
        pairs = zip(features(out, layer), features(runs["fp32"], layer), strict=True)
        near[layer] = min(cosine(a, b) for a, b in pairs)
    assert min(near.values()) > {"bf16": 0.9995, "int8": 0.99}[precision]
    assert not rows(out).equals(rows(runs["fp32"]))
    assert (said["precision"], said["complete"], said["images"]) == (precision, True, 16)
    if precision == "bf16":
        assert (said["calibration"], said["min_cosine"]) == (None, None)
        assert not {"kept_in_float", "worst_cosine"} & set(said)
    else:
        assert (len(said["calibration"]), said["min_cosine"]) == (64, 0.99)
        assert said["kept_in_float"][0] == "conv1"
        assert said["worst_cosine"] == pytest.approx(near, abs=1e-6)  # all 16 were calibrated on
        assert min(near.values()) >= 0.995


@pytest.mark.parametrize(
    "options", [{"shard_size": 1024, "workers": 1}, {"batch": 4, "workers": 3}, {"batch": 7, "shard_size": 3}], ids=str
)
@pytest.mark.parametrize("precision", COARSE)
def test_rows_do_not_depend_on_how_the_work_is_cut(
    precision: str, options: dict[str, Any], runs: dict[str, Path], opennsfw: Weights, tmp_path: Path
) -> None:
    possible(precision)
    run(tmp_path / "out", opennsfw, precision=precision, **options)
    assert rows(tmp_path / "out").combine_chunks().equals(rows(runs[precision]).combine_chunks())
    if "shard_size" not in options:
        assert content(tmp_path / "out") == content(runs[precision])


@pytest.mark.parametrize("precision", COARSE)
def test_an_interrupted_run_goes_on_to_the_same_bytes(
    precision: str, runs: dict[str, Path], opennsfw: Weights, tmp_path: Path
) -> None:
    possible(precision)

    def stop(done: int, total: int) -> None:
        if done == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", opennsfw, precision=precision, progress=stop)
    begun = manifest(tmp_path / "out")
    assert begun["complete"] is False
    assert ("worst_cosine" in begun) == (precision == "int8")
    run(tmp_path / "out", opennsfw, precision=precision, existing="resume")
    assert content(tmp_path / "out") == content(runs[precision])


@pytest.mark.parametrize("precision", COARSE)
def test_a_complete_run_resumed_stays_as_it_is(
    precision: str, runs: dict[str, Path], opennsfw: Weights, tmp_path: Path
) -> None:
    """No engine is made then; what int8 lost is still in the manifest."""
    possible(precision)
    shutil.copytree(runs[precision], tmp_path / "out")
    run(tmp_path / "out", opennsfw, precision=precision, existing="resume")
    assert content(tmp_path / "out") == content(runs[precision])


def test_another_precision_overwrites_what_was_said(runs: dict[str, Path], opennsfw: Weights, tmp_path: Path) -> None:
    shutil.copytree(runs["int8"], tmp_path / "out")
    run(tmp_path / "out", opennsfw, precision="fp32", existing="overwrite")
    assert content(tmp_path / "out") == content(runs["fp32"])


def test_resume_with_something_else_is_refused(
    runs: dict[str, Path], opennsfw: Weights, photos: Path, tmp_path: Path
) -> None:
    before = content(runs["int8"])
    for options, differing in (
        ({"precision": "fp32"}, "calibration, int8_format, min_cosine, precision"),
        ({"precision": "int8", "min_cosine": 0.98}, "min_cosine"),
        ({"precision": "int8", "calibration": photos}, "calibration"),
    ):
        with pytest.raises(ResnetFeaError, match=f"began it: {differing};"):
            run(runs["int8"], opennsfw, existing="resume", **options)
    if "bf16" in runs:
        with pytest.raises(ResnetFeaError, match="began it: precision;"):
            run(runs["fp32"], opennsfw, existing="resume", precision="bf16")
    assert content(runs["int8"]) == before


def test_a_run_goes_on_with_what_it_was_measured_to_be(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where a photo has changed that it was measured on, unless the cache has lost what came of it."""
    weights, out = read(TINY), tmp_path / "out"
    run(out, weights, photos, precision="int8", shard_size=2)
    whole = content(out)
    Image.new("RGB", (120, 100), "red").save(photos / "2.png")
    (out / "features-00000.parquet").unlink()
    run(out, weights, photos, precision="int8", shard_size=2, existing="resume")
    assert content(out) == whole
    (out / "features-00000.parquet").unlink()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    with pytest.raises(ResnetFeaError, match="measured on is neither in the cache any more nor what SRC has now"):
        run(out, weights, photos, precision="int8", shard_size=2, existing="resume")


def test_calibration_by_folder_list_or_one_photo(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{photos}/0.png\n{photos}/1.png\n{photos}/2.png\n{photos}/3.png\n")
    said = []
    for index, source in enumerate((photos, tmp_path / "list.txt", photos / "0.png")):
        flags = ("--precision", "int8", "--weights", TINY, "--calibration", source)
        done = command(SAMPLES, "-o", tmp_path / f"{index}", *flags)
        assert done.returncode == 0, done.stderr
        said.append(manifest(tmp_path / f"{index}"))
    assert said[0] == said[1]  # the same photos, and the features of the same source
    assert content(tmp_path / "0") == content(tmp_path / "1")
    assert said[2]["calibration"] != said[0]["calibration"]
    alone = command(photos / "0.png", "-o", tmp_path / "alone", "--precision", "int8", "--weights", TINY)
    assert alone.returncode == 0, alone.stderr
    assert rows(tmp_path / "alone").num_rows == 1


def test_broken_photos_are_left_out_of_the_calibration(photos: Path, tmp_path: Path) -> None:
    (photos / "1.png").write_text("no picture")
    (photos / "3.png").write_bytes(b"")
    flags = ("-o", tmp_path / "out", "--weights", TINY, "--precision", "int8")
    done = command(photos, *flags)
    assert done.returncode == 3, done.stderr
    assert (manifest(tmp_path / "out")["images"], manifest(tmp_path / "out")["failures"]) == (2, 2)
    for path in photos.iterdir():
        path.write_text("no picture")
    shutil.rmtree(tmp_path / "out")
    bad(photos, *flags, says="none of the 4 images chosen to calibrate on can be read; give others with --calibration")
    assert not (tmp_path / "out").exists()


def bad(*arguments: object, says: str) -> None:
    """Exit code 1, and one line behind what is told of the choice of int8."""
    done = command(*arguments)
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("choosing what of ", "compiling "))]
    assert len(lines) == 1, done.stderr
    assert says in lines[0]
    assert done.stdout == ""


def test_what_cannot_be_is_one_line(photos: Path, tmp_path: Path) -> None:
    out, int8 = tmp_path / "out", ("--precision", "int8", "--weights", TINY)
    (tmp_path / "empty").mkdir()
    carded(replace(tiny.TINY, deform=("none", "v1", "v1", "v1")), tmp_path / "deform")
    refused(photos, "-o", out, *int8, "--calibration", tmp_path / "missing", says="missing: no such folder or file")
    refused(
        photos, "-o", out, *int8, "--calibration", tmp_path / "empty", says="empty: no images in it to calibrate on"
    )
    refused(photos, "-o", out, *int8, "--engine", "mindspore", says="the MindSpore engine computes in fp32 only")
    only = "only the MindSpore engine runs it, in fp32 and not with --precision int8"
    refused(photos, "-o", out, "--precision", "int8", "--weights", tmp_path / "deform", says=only)
    refused(photos, "-o", out, *int8, "--min-cosine", "1.01", says="--min-cosine", code=2)
    bad(photos, "-o", out, *int8, "--min-cosine", 1, says="int8 loses too much for a cosine of 1.0")
    assert not out.exists()


def test_a_failing_choice_leaves_an_earlier_run_alone(photos: Path, tmp_path: Path) -> None:
    weights = read(TINY)
    run(tmp_path / "out", weights, photos)
    before = content(tmp_path / "out")
    with pytest.raises(ResnetFeaError, match="loses too much"):
        run(tmp_path / "out", weights, photos, precision="int8", min_cosine=1, existing="overwrite")
    assert content(tmp_path / "out") == before


def test_auto_falls_back_where_8_bits_are_too_coarse(photos: Path, tmp_path: Path) -> None:
    weights = read(TINY)
    run(tmp_path / "strict", weights, photos, precision="auto", min_cosine=1)
    said = manifest(tmp_path / "strict")
    assert (said["precision"], said["min_cosine"], len(said["calibration"])) == ("fp32", 1, 64)
    assert "worst_cosine" not in said
    flags = ("-o", tmp_path / "out", "--weights", TINY, "--precision", "auto")
    done = command(photos, *flags)
    assert done.returncode == 0, done.stderr
    chosen = manifest(tmp_path / "out")["precision"]
    assert f"--precision auto takes {chosen}: fp32 " in done.stderr
    before = content(tmp_path / "out")
    assert command(photos, *flags, "--resume").returncode == 0
    assert content(tmp_path / "out") == before


@pytest.mark.parametrize("precision", COARSE)
def test_whole_maps(precision: str, photos: Path, tmp_path: Path) -> None:
    possible(precision)
    weights = read(TINY)
    for one in ("fp32", precision):
        run(tmp_path / one, weights, photos, precision=one, pool="none", layers=["c3", "c5"])
        again = tmp_path / f"{one}-batch"
        run(again, weights, photos, precision=one, pool="none", layers=["c3", "c5"], batch=3, workers=1)
        assert content(again) == content(tmp_path / one)
    exact, coarse = maps(tmp_path / "fp32"), maps(tmp_path / precision)
    assert list(exact) == list(coarse) == sorted(path.name for path in photos.iterdir())
    for path, of_path in exact.items():
        assert {layer: found.shape for layer, found in of_path.items()} == {"c3": (16, 28, 28), "c5": (64, 7, 7)}
        for layer, of_layer in of_path.items():
            assert coarse[path][layer].shape == of_layer.shape
            assert cosine(coarse[path][layer], of_layer) > 0.99
            assert (coarse[path][layer] != of_layer).any()


def test_under_the_users_limit(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cpu_guard.LIMIT, "AVX2")
    monkeypatch.delenv(cpu_guard.OVERRULE, raising=False)
    flags = (photos, "--weights", TINY)
    says = "this CPU has no bf16 arithmetic (AVX512-BF16, AMX), or a limit forbids it; take fp32 or int8"
    bad(*flags, "-o", tmp_path / "bf16", "--precision", "bf16", says=says)
    assert not (tmp_path / "bf16").exists()
    kept = Path(os.environ["RESNETFEA_CACHE"]) / "int8"
    before = set(kept.iterdir()) if kept.exists() else set()
    int8 = ("--precision", "int8", "--min-cosine", 0.973)
    limited = command(*flags, "-o", tmp_path / "limited", *int8)
    assert limited.returncode == 0, limited.stderr
    monkeypatch.delenv(cpu_guard.LIMIT)
    free = command(*flags, "-o", tmp_path / "free", *int8)
    assert free.returncode == 0, free.stderr
    assert len(set(kept.iterdir()) - before) == 2
    again = good(*flags, "-o", tmp_path / "again", *int8)  # from the cache: nothing is told
    assert "4 images" in again.stdout
    assert content(tmp_path / "again") == content(tmp_path / "free")

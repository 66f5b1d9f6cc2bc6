"""`resnetfea extract` from end to end, in processes of its own, with the default weights' real network."""

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from data import tiny
from weights.test_variants import carded

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "samples"
PHOTOS = sorted(path for path in SAMPLES.rglob("*") if path.suffix in (".jpg", ".png", ".webp"))
TINY = ROOT / "tests" / "data" / "tiny.pth"
EXTRACT = [sys.executable, "-m", "resnetfea", "extract"]


def extract(*arguments: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*EXTRACT, *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def good(*arguments: object) -> subprocess.CompletedProcess[str]:
    done = extract(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # it is not a terminal, so there is no progress
    return done


def refused(*arguments: object, says: str, code: int = 1) -> None:
    done = extract(*arguments)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    if code == 1:
        assert len(done.stderr.splitlines()) == 1, done.stderr


def rows(out: Path) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in sorted(out.glob("features-*.parquet")))


def failures(out: Path) -> dict[str, str]:
    table = pq.read_table(out / "failures.parquet")
    return dict(zip(table["path"].to_pylist(), table["reason"].to_pylist(), strict=True))


def features(out: Path, layer: str) -> NDArray[np.float32]:
    column = rows(out)[layer].combine_chunks()
    return np.asarray(column.flatten()).reshape(-1, column.type.list_size)


def upright(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image)


def content(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The features of samples/, all defaults."""
    out = tmp_path_factory.mktemp("reference") / "out"
    done = extract(SAMPLES, "-o", out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return some_broken(120, tmp_path_factory.mktemp("many"))


def some_broken(count: int, folder: Path) -> Path:
    """A folder of small pictures, every tenth broken."""
    chance = np.random.default_rng(3)
    for index in range(count):
        path = folder / f"{index:03}.png"
        Image.fromarray(chance.integers(0, 256, (60, 80, 3), np.uint8)).save(path)
        if index % 10 == 4:
            path.write_bytes(path.read_bytes()[:-1])
    return folder


@pytest.fixture(scope="module")
def undisturbed(many: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """All files of a run over `many` that nothing disturbed."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert extract(many, "-o", out, "--shard-size", 3).returncode == 3
    return content(out)


@pytest.fixture
def begun(many: Path, tmp_path: Path) -> Iterator[Callable[[], tuple[subprocess.Popen[str], Path]]]:
    """Begins a run over `many` and comes back when its second shard is finished, of 40."""
    started = []

    def begin() -> tuple[subprocess.Popen[str], Path]:
        out = tmp_path / "begun"
        command = [*EXTRACT, str(many), "-o", str(out), "--shard-size", "3"]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        deadline = time.monotonic() + 120
        while not (out / "features-00001.parquet").exists():
            assert started[0].poll() is None, started[0].communicate()
            assert time.monotonic() < deadline
            time.sleep(0.002)
        return started[0], out

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_what_cannot_be_compiled_runs_on_mindspore_and_says_so(tmp_path: Path) -> None:
    carded(replace(tiny.TINY, pool="pad1", deform=("none", "v2", "v2", "v2")), tmp_path / "w")
    done = extract(PHOTOS[0], "-o", tmp_path / "out", "--weights", tmp_path / "w")
    assert (done.returncode, done.stderr.count("only the MindSpore engine runs it")) == (0, 1)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["engine"] == "mindspore"
    done = extract(PHOTOS[0], "-o", tmp_path / "other", "--weights", tmp_path / "w", "--engine", "openvino")
    assert (done.returncode, done.stderr.count("only the MindSpore engine runs it")) == (1, 1)


def test_a_folder(reference: Path) -> None:
    assert sorted(content(reference)) == ["failures.parquet", "features-00000.parquet", "manifest.json"]
    table = rows(reference)
    assert table["path"].to_pylist() == sorted(str(path.relative_to(SAMPLES)) for path in PHOTOS)
    sizes = {str(path.relative_to(SAMPLES)): upright(path).size for path in PHOTOS}
    assert list(sizes.values()) == list(zip(table["width"].to_pylist(), table["height"].to_pylist(), strict=True))
    for layer, size in {"c2": 128, "c3": 256, "c4": 512, "c5": 1024}.items():
        assert table.schema.field(layer).type == pa.list_(pa.float32(), size)
    c5 = features(reference, "c5")
    assert np.isfinite(c5).all()
    assert len(np.unique(c5, axis=0)) == len(PHOTOS)
    assert failures(reference) == {}
    manifest = json.loads((reference / "manifest.json").read_text())
    assert manifest["complete"] is True
    assert (manifest["images"], manifest["failures"], manifest["shards"]) == (len(PHOTOS), 0, 1)
    assert manifest["source"] == str(SAMPLES)
    assert manifest["recipe"]["color"] == "bgr"
    assert manifest["recipe"]["mean"] == [104, 117, 123]
    assert manifest["recipe"]["resize"] == [256, 256]
    assert manifest["recipe"]["crop"] == 224


def test_broken_files_are_failures_and_the_rest_is_written(reference: Path, tmp_path: Path) -> None:
    source = tmp_path / "photos"
    shutil.copytree(SAMPLES, source)
    jpeg = (source / "animals/cat-kitten.jpg").read_bytes()
    (source / "animals/cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    Image.new("RGB", (9, 9)).save(source / "samples.tif")
    tiff = bytearray((source / "samples.tif").read_bytes())
    tiff[tiff.index(struct.pack("<HHI", 277, 3, 1)) + 8] = 99  # SamplesPerPixel, which Pillow writes to its log
    (source / "samples.tif").write_bytes(tiff)
    (source / "empty.png").touch()
    (source / "text.jpg").write_text("not a picture\n")
    (source / "zeros.tif").write_bytes(bytes(5000))
    (source / "nature/nowhere.jpg").symlink_to("missing")
    os.mkfifo(source / "nature/pipe.gif")
    with open(os.fsencode(source) + b"/\xff\n.jpg", "wb") as file:
        file.write(b"II*\0\x08\0\0\0\xff\xff")
    done = extract(source, "-o", tmp_path / "out")
    assert done.returncode == 3
    assert "8 failed" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert failures(tmp_path / "out") == {
        "animals/cut.jpg": "cut short",
        "empty.png": "empty file",
        "nature/nowhere.jpg": "no such file",
        "nature/pipe.gif": "not a regular file",
        "samples.tif": "not an image of a known format",
        "text.jpg": "not an image of a known format",
        "zeros.tif": "not an image of a known format",
        "\\xff\n.jpg": "cut short",
    }
    assert rows(tmp_path / "out").equals(rows(reference))


def test_only_broken_files(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    assert extract(tmp_path / "a.jpg", "-o", tmp_path / "out").returncode == 3
    assert failures(tmp_path / "out") == {"a.jpg": "empty file"}
    assert rows(tmp_path / "out").num_rows == 0


def test_layers(reference: Path, tmp_path: Path) -> None:
    good(SAMPLES, "-o", tmp_path, "--layers", "c5, c3")
    assert rows(tmp_path).schema.names == ["path", "width", "height", "c3", "c5"]
    assert np.allclose(features(tmp_path, "c5"), features(reference, "c5"), rtol=1e-5, atol=1e-5)


def test_max_pool(reference: Path, tmp_path: Path) -> None:
    good(SAMPLES, "-o", tmp_path, "--pool", "max", "--layers", "c5")
    largest, mean = features(tmp_path, "c5"), features(reference, "c5")
    assert (largest >= mean).all()
    assert (largest > mean).any()


@pytest.mark.parametrize(
    "flags",
    [("--shard-size", 3), ("--workers", 1), ("--workers", 4), ("--batch", 4), ("--batch", 7, "--shard-size", 5)],
    ids=str,
)
def test_rows_do_not_depend_on_how_the_work_is_cut(reference: Path, tmp_path: Path, flags: tuple[object, ...]) -> None:
    good(SAMPLES, "-o", tmp_path, *flags)
    assert rows(tmp_path).combine_chunks().equals(rows(reference).combine_chunks())
    if "--shard-size" not in flags:
        assert content(tmp_path) == content(reference)


def test_a_list_keeps_its_order_and_one_image_is_enough(reference: Path, tmp_path: Path) -> None:
    photo = PHOTOS[3]
    (tmp_path / "list.txt").write_text(f"{photo}\r\nmissing.jpg\r\n../nowhere.jpg\r\n")
    assert extract(tmp_path / "list.txt", "-o", tmp_path / "out").returncode == 3
    assert rows(tmp_path / "out")["path"].to_pylist() == [str(photo)]
    assert failures(tmp_path / "out") == {"missing.jpg": "no such file", "../nowhere.jpg": "no such file"}
    good(photo, "-o", tmp_path / "one")
    assert rows(tmp_path / "one")["path"].to_pylist() == [photo.name]
    assert np.array_equal(features(tmp_path / "one", "c5")[0], features(reference, "c5")[3])


def test_the_cell_itself_agrees(reference: Path, tmp_path: Path) -> None:
    assert extract(SAMPLES, "-o", tmp_path, "--engine", "mindspore", "--batch", 4).returncode == 0
    for layer in ("c2", "c3", "c4", "c5"):
        cell, compiled = features(tmp_path, layer), features(reference, layer)
        assert np.abs(cell - compiled).max() <= 1e-5 * np.abs(cell).max(), layer


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["kill", "term", "int"]
)
def test_an_interrupted_run_goes_on_to_the_same_bytes(
    many: Path,
    undisturbed: dict[str, bytes],
    begun: Callable[[], tuple[subprocess.Popen[str], Path]],
    sent: signal.Signals,
    code: int,
) -> None:
    process, out = begun()
    process.send_signal(sent)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in stderr
    if sent is not signal.SIGKILL:
        assert "--resume" in stderr
        assert [path.name for path in out.glob(".*")] == [".inputs"]
    assert json.loads((out / "manifest.json").read_text())["complete"] is False
    finished = {path.name: path.stat().st_mtime_ns for path in out.glob("features-*.parquet")}
    assert 2 <= len(finished) < 40
    assert extract(many, "-o", out, "--shard-size", 3, "--resume").returncode == 3
    assert content(out) == undisturbed
    assert {name: (out / name).stat().st_mtime_ns for name in finished} == finished


def test_a_complete_run_is_not_computed_again(many: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    write(tmp_path, undisturbed)
    times = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("features-*")}
    assert extract(many, "-o", tmp_path, "--shard-size", 3, "--resume").returncode == 3
    assert content(tmp_path) == undisturbed
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("features-*")} == times


def test_a_damaged_or_missing_shard_is_made_again(many: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    write(tmp_path, undisturbed)
    (tmp_path / "features-00003.parquet").write_bytes(undisturbed["features-00003.parquet"][:-100])
    (tmp_path / "features-00007.parquet").unlink()
    (tmp_path / ".features-00007.parquet.partial").write_bytes(b"half")
    assert extract(many, "-o", tmp_path, "--shard-size", 3, "--resume").returncode == 3
    assert content(tmp_path) == undisturbed


def test_resume_on_an_empty_or_missing_folder_starts_anew(reference: Path, tmp_path: Path) -> None:
    good(SAMPLES, "-o", tmp_path / "new", "--resume")
    assert content(tmp_path / "new") == content(reference)


@pytest.mark.parametrize(
    ("flags", "differs"),
    [
        (("--weights", TINY), "weights"),
        (("--layers", "c5"), "layers"),
        (("--pool", "max"), "pool"),
        (("--shard-size", 7), "shard_size"),
        (("--engine", "mindspore"), "engine"),
        (("--decode", "fast"), "decode"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_resume_with_something_else_is_refused(reference: Path, flags: tuple[object, ...], differs: str) -> None:
    before = content(reference)
    done = extract(SAMPLES, "-o", reference, "--resume", *flags)
    assert done.returncode == 1
    assert differs in done.stderr.splitlines()[-1].split("began it: ")[1].split(";")[0].split(", ")
    assert content(reference) == before


def test_fast_decoding_is_near_and_only_where_it_gains(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    source.mkdir()
    large = upright(PHOTOS[0]).convert("RGB").resize((2400, 1800), Image.Resampling.LANCZOS)
    large.save(source / "large.jpg", quality=90)
    large.save(source / "large.png")
    shutil.copy(PHOTOS[1], source / "small.jpg")
    (source / "cut.jpg").write_bytes((source / "large.jpg").read_bytes()[:-5000])
    for mode in ("exact", "fast"):
        assert extract(source, "-o", tmp_path / mode, "--decode", mode).returncode == 3
        assert json.loads((tmp_path / mode / "manifest.json").read_text())["decode"] == mode
        assert failures(tmp_path / mode) == {"cut.jpg": "cut short"}
    assert rows(tmp_path / "exact").select(["path", "width", "height"]).to_pylist() == (
        rows(tmp_path / "fast").select(["path", "width", "height"]).to_pylist()
    )
    for layer in ("c2", "c3", "c4", "c5"):
        exact, fast = features(tmp_path / "exact", layer), features(tmp_path / "fast", layer)
        assert np.array_equal(exact[1:], fast[1:])  # large.png, small.jpg
        assert not np.array_equal(exact[0], fast[0])
        assert exact[0] @ fast[0] > 0.9995 * np.linalg.norm(exact[0]) * np.linalg.norm(fast[0])


def test_resume_with_another_source_is_refused(reference: Path, many: Path, tmp_path: Path) -> None:
    refused(many, "-o", reference, "--resume", says="source")
    shutil.copytree(SAMPLES, tmp_path / "photos")
    good(tmp_path / "photos", "-o", tmp_path / "out", "--layers", "c5")
    (tmp_path / "photos/another.jpg").touch()
    refused(tmp_path / "photos", "-o", tmp_path / "out", "--layers", "c5", "--resume", says="inputs")


def test_a_folder_that_is_not_empty(reference: Path, many: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(reference, out)
    refused(SAMPLES, "-o", out, says="not empty; use --resume")
    (out / "features-00001.parquet").write_bytes(b"of an earlier, larger run")
    good(SAMPLES, "-o", out, "--overwrite")
    assert content(out) == content(reference)
    (out / "notes.txt").write_text("mine")
    before = content(out)
    for flags in ((), ("--overwrite",)):
        refused(SAMPLES, "-o", out, *flags, says="notes.txt")
    assert content(out) == before
    refused(SAMPLES, "-o", many, "--resume", says="no manifest.json")


def test_overwrite_removes_nothing_before_there_is_something_to_do(reference: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    before = content(reference)
    refused(tmp_path / "empty", "-o", reference, "--overwrite", says="no images")
    refused(tmp_path / "missing", "-o", reference, "--overwrite", says="no such folder")
    refused(SAMPLES, "-o", reference, "--overwrite", "--weights", tmp_path / "missing.pth", says="missing.pth")
    assert content(reference) == before


def test_two_runs_at_once_on_one_folder(
    many: Path, begun: Callable[[], tuple[subprocess.Popen[str], Path]], undisturbed: dict[str, bytes]
) -> None:
    process, out = begun()
    process.send_signal(signal.SIGSTOP)  # so that it is still there, however long the others take
    for flags in ((), ("--resume",), ("--overwrite",)):
        refused(many, "-o", out, "--shard-size", 3, *flags, says="another run is writing there")
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=120)
    assert process.returncode == 3
    assert content(out) == undisturbed


def test_the_features_may_lie_within_the_photos(reference: Path, tmp_path: Path) -> None:
    shutil.copytree(SAMPLES, tmp_path / "photos")
    for flags in ((), ("--resume",), ("--overwrite",)):
        good(tmp_path / "photos", "-o", tmp_path / "photos/features", *flags)
        assert rows(tmp_path / "photos/features").equals(rows(reference))
    refused(tmp_path / "photos", "-o", tmp_path / "photos", "--overwrite", says="did not write")


def test_sources_that_give_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused(tmp_path / "missing", "-o", out, says="missing: no such folder or file")
    assert not out.exists()
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "-o", out, says="empty: no images")
    (tmp_path / "empty/notes.txt").write_text("")
    refused(tmp_path / "empty", "-o", out, says="no images")
    refused(tmp_path / "empty/notes.txt", "-o", out, says="no images")
    (tmp_path / "empty/notes.txt").write_bytes("photo.jpg\n".encode("utf-16"))
    refused(tmp_path / "empty/notes.txt", "-o", out, says="notes.txt: cannot be read as a UTF-8 list")
    assert not out.exists()


def test_folders_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file/below", Path("/proc/features"), Path("/sys/features")):
        refused(SAMPLES, "-o", out, says=f"{out}: cannot be used as output folder")


def test_a_full_disk(many: Path, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    """A limit on the size of files stands for the full disk: the writer meets the same error in the same place."""
    limited = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000)); "
    limited += "sys.argv[0] = 'resnetfea'; runpy.run_module('resnetfea', run_name='__main__')"
    arguments = ["extract", many, "-o", tmp_path / "out"]
    command = [sys.executable, "-c", limited, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert str(tmp_path / "out") in done.stderr
    assert "File too large" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert sorted(content(tmp_path / "out")) == [".inputs", "manifest.json"]
    assert extract(*arguments[1:], "--resume").returncode == 3


def test_weights_that_cannot_be_used(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    out = tmp_path / "out"
    save_file({"features.0.weight": np.ones((64, 3, 3, 3), np.float32)}, tmp_path / "vgg.safetensors")
    (tmp_path / "cut.pth").write_bytes(TINY.read_bytes()[:-500])
    (tmp_path / "text.pth").write_text("<html>404</html>")
    for name in ("vgg.safetensors", "cut.pth", "text.pth", "missing.pth"):
        done = extract(SAMPLES, "-o", out, "--weights", tmp_path / name)
        assert done.returncode == 1
        assert name in done.stderr
        assert not out.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        ("--layers", "c6"),
        ("--layers", ""),
        ("--pool", "sum"),
        ("--precision", "fp7"),
        ("--engine", "abacus"),
        ("--decode", "slow"),
        ("--workers", "0"),
        ("--batch", "-1"),
        ("--shard-size", "0"),
        ("--shard-size", "many"),
        ("--resume", "--overwrite"),
        ("--no-such-flag",),
    ],
    ids=" ".join,
)
def test_wrong_usage(tmp_path: Path, wrong: tuple[str, ...]) -> None:
    refused(SAMPLES, "-o", tmp_path / "out", *wrong, says=wrong[0], code=2)
    assert not (tmp_path / "out").exists()


def test_missing_arguments() -> None:
    refused(SAMPLES, says="--out", code=2)
    refused("-o", "out", says="SRC", code=2)


def test_a_failing_export_leaves_an_earlier_run_alone_and_nothing_new(tmp_path: Path) -> None:
    run = [*EXTRACT, str(SAMPLES), "--layers", "c5", "-o"]
    subprocess.run([*run, str(tmp_path / "old")], check=True, capture_output=True)
    before = {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()}
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "mindspore.py").write_text("raise ImportError('broken')")
    broken = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "RESNETFEA_CACHE": str(tmp_path / "cold")}
    for out, flags in (("old", ["--overwrite"]), ("new", [])):
        done = subprocess.run(
            [*run, str(tmp_path / out), *flags], env=broken, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert "could not export the network: ImportError: broken" in done.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()} == before
    assert not (tmp_path / "new").exists()


def test_out_need_not_be_utf_8(tmp_path: Path) -> None:
    out = os.fsencode(tmp_path) + b"/o\xff"
    done = subprocess.run([*EXTRACT, str(SAMPLES), "--layers", "c5", "-o", out], capture_output=True, check=True)
    assert b"o\\xff/features-*.parquet: 16 images" in done.stdout
    assert sorted(os.listdir(out)) == [b"failures.parquet", b"features-00000.parquet", b"manifest.json"]


# not ru_maxrss: that counts pytest's own peak in, which the child has between fork and exec
WITH_PEAK = """
import re
from resnetfea.cli import app
app(standalone_mode=False)
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


def test_memory_does_not_grow_with_the_folder(tmp_path: Path) -> None:
    peaks = {}
    for count in (30, 300):
        source = tmp_path / str(count)
        source.mkdir()
        for index in range(count):
            photo = PHOTOS[index % len(PHOTOS)]
            (source / f"{index}{photo.suffix}").symlink_to(photo)
        command = [sys.executable, "-c", WITH_PEAK, "extract", str(source), "-o", str(tmp_path / f"out-{count}")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[count] = int(done.stdout.split()[-1]) / 1024  # MB
    assert peaks[300] < 1536
    assert peaks[300] < peaks[30] + 150


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).write_bytes(data)

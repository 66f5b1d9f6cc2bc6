"""resnetfea.extract: the same rows and failures as in files, from sources, paths and contents."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import resnetfea
from features.quick import TINY, Runs, draw, run
from resnetfea import Failure, Limits, ResnetFeaError, Row
from resnetfea.features.stream import Image

__all__ = ["run"]  # a fixture

NAMES = [f"{number:02}.png" for number in range(9)]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    draw(tmp_path / "photos", *NAMES)
    (tmp_path / "photos/03.png").write_bytes(b"no picture")
    return tmp_path / "photos"


def test_a_source_gives_what_files_have(run: Runs, photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path / "out", shard_size=20)
    table = pq.read_table(tmp_path / "out/features-00000.parquet").to_pylist()
    results = list(resnetfea.extract(photos, weights=TINY, layers=["c5"]))
    assert [one.path for one in results] == NAMES
    rows = [one for one in results if isinstance(one, Row)]
    assert [(one.path, one.width, one.height) for one in rows] == [
        (one["path"], one["width"], one["height"]) for one in table
    ]
    assert [one.features["c5"].tolist() for one in rows] == [one["c5"] for one in table]
    assert results[3] == Failure("03.png", "unknown format", "not an image of a known format")


def test_paths_and_contents(run: Runs, photos: Path) -> None:
    from_source = list(resnetfea.extract(photos, weights=run.weights, layers=["c5"]))
    named = ("any name", (photos / "02.png").read_bytes())
    images: list[Image] = [photos / "00.png", str(photos / "missing.png"), named, ("no", b"")]
    path, missing, name, empty = resnetfea.extract(images, weights=run.weights, layers=["c5"])
    assert isinstance(path, Row)
    assert isinstance(name, Row)
    assert (path.path, name.path) == (str(photos / "00.png"), "any name")
    for ours, theirs in ((path, from_source[0]), (name, from_source[2])):
        assert isinstance(theirs, Row)
        assert np.array_equal(ours.features["c5"], theirs.features["c5"])
    assert missing == Failure(str(photos / "missing.png"), "missing", "no such file")
    assert empty == Failure("no", "empty", "empty file")


def test_it_may_be_endless_and_left(run: Runs, photos: Path) -> None:
    content = (photos / "00.png").read_bytes()
    taken = 0

    def images() -> Iterator[Image]:
        nonlocal taken
        for number in count():
            taken += 1
            yield str(number), content

    stream = resnetfea.extract(images(), weights=run.weights, layers=["c5"], workers=2)
    assert [next(stream).path for _ in range(5)] == ["0", "1", "2", "3", "4"]
    assert taken <= 5 + 4 * 2 + 1
    stream.close()
    assert list(stream) == []


def test_limits_are_the_callers(run: Runs, photos: Path) -> None:
    (one,) = resnetfea.extract([photos / "00.png"], weights=run.weights, layers=["c5"], limits=Limits(pixels=63))
    assert one == Failure(str(photos / "00.png"), "too large", "too many pixels (8x8)")


def test_what_is_wrong_shows_at_once(run: Runs, photos: Path) -> None:
    with pytest.raises(ResnetFeaError, match="nowhere: no such folder or file"):
        resnetfea.extract(photos / "nowhere", weights=run.weights)
    with pytest.raises(ResnetFeaError, match=r"nothing\.pth: no such weights file"):
        resnetfea.extract(photos, weights=photos / "nothing.pth")
    with pytest.raises(ResnetFeaError, match=r"int8.*calibration=FOLDER"):
        resnetfea.extract([photos / "00.png"], weights=run.weights, precision="int8")


@pytest.mark.slow
def test_a_script_without_a_main_guard(tmp_path: Path) -> None:
    """With the real network; the processes that decode do not run the script again, and it ends though one result was
    taken of many."""
    samples = Path(__file__).parents[2] / "samples"
    script = tmp_path / "script.py"
    script.write_text(
        f"import resnetfea\nstream = resnetfea.extract({str(samples)!r})\nprint(next(stream).features['c5'].shape)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300, check=True)
    assert (done.stdout, done.stderr) == ("(1024,)\n", "")

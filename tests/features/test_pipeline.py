"""Rows and failures in the order of the names, whatever the pattern, with a bounded look-ahead."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from resnetfea.engine.layers import Maps
from resnetfea.features import engines
from resnetfea.features import extract as extracting
from resnetfea.features.bad_image import BadImage
from resnetfea.features.images import Picture, decode
from resnetfea.features.pipeline import IN_A_ROW, results
from resnetfea.features.source import Content, Named, file
from resnetfea.features.store import Failure, Row
from resnetfea.weights import read
from resnetfea.weights.recipe import TORCHVISION

AS_IS = replace(TORCHVISION, resize=None, crop=None)


class ChannelMeans:
    """An engine that, as the compiled one does, takes some pictures more than it has given back."""

    def __init__(self, ahead: int) -> None:
        self.ahead, self.taken, self.given = ahead, 0, 0

    def features(self, pictures: Iterable[NDArray[np.uint8]]) -> Iterator[Maps]:
        running: deque[NDArray[np.uint8]] = deque()
        for picture in pictures:
            self.taken += 1
            running.append(picture)
            if len(running) > self.ahead:
                yield self._one(running)
        while running:
            yield self._one(running)

    def _one(self, running: deque[NDArray[np.uint8]]) -> Maps:
        self.given += 1
        return {"c5": running.popleft().mean(axis=(0, 1), dtype=np.float32)}


class Threads(ThreadPoolExecutor):
    """Decoders without processes."""

    def submit(self, content: Content) -> Future[Picture | BadImage]:  # type: ignore[override]
        return super().submit(self._one, content)

    def _one(self, content: Content) -> Picture | BadImage:
        try:
            return decode(content, AS_IS)
        except BadImage as bad:
            return bad


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 pictures, each of its own colour and size."""
    folder = tmp_path_factory.mktemp("pictures")
    for index in range(30):
        Image.new("RGB", (index + 1, 2), (index, 2 * index, 3 * index)).save(folder / f"{index}.png")
    return folder


def named(folder: Path, names: Iterable[str]) -> Iterator[Named]:
    return (Named(name, file(folder / name)) for name in names)


@settings(max_examples=80, deadline=None)
@given(pattern=st.lists(st.booleans(), max_size=30), ahead=st.integers(1, 9), engine_ahead=st.integers(0, 7))
@example(pattern=[False] * 30, ahead=2, engine_ahead=3)
@example(pattern=[False] * 5 + [True] + [False] * 5, ahead=1, engine_ahead=7)
def test_each_name_once_in_order_with_its_own_features(
    pictures: Path, pattern: list[bool], ahead: int, engine_ahead: int
) -> None:
    names = [f"{index}.png" if good else f"missing-{index}.png" for index, good in enumerate(pattern)]
    with Threads(3) as decoders:
        engine = ChannelMeans(engine_ahead)
        got = list(
            results(
                named(pictures, names),
                engine=engine,
                decoders=decoders,
                ahead=ahead,
            )
        )
    assert [result.path for result in got] == names
    for index, (good, result) in enumerate(zip(pattern, got, strict=True)):
        if good:
            assert isinstance(result, Row)
            assert (result.width, result.height) == (index + 1, 2)
            assert result.features["c5"].tolist() == [index, 2 * index, 3 * index]
        else:
            assert result == Failure(names[index], "missing", "no such file")


def test_names_are_taken_no_further_ahead_than_told(pictures: Path) -> None:
    taken = 0

    def names() -> Iterator[str]:
        nonlocal taken
        for _ in range(300):
            taken += 1
            yield "7.png"

    with Threads(2) as decoders:
        engine = ChannelMeans(3)
        stream = results(named(pictures, names()), engine=engine, decoders=decoders, ahead=4)
        for given_out, _ in enumerate(stream, start=1):
            assert taken <= given_out + 3 + 4 + 1
            assert engine.taken <= given_out + 3
    assert taken == given_out == 300


def test_failures_come_out_though_no_picture_follows(pictures: Path) -> None:
    """As where a server is dead: what was computed before is given out, and memory does not grow."""
    taken = 0

    def names() -> Iterator[str]:
        nonlocal taken
        for index in range(5000):
            taken += 1
            yield "7.png" if index in (3, 4998) else f"missing-{index}.png"

    with Threads(2) as decoders:
        stream = results(named(pictures, names()), engine=ChannelMeans(3), decoders=decoders, ahead=4)
        kinds = []
        for given_out, result in enumerate(stream, start=1):
            kinds.append(isinstance(result, Row))
            assert taken <= given_out + IN_A_ROW + 3 + 4 + 1
    assert [index for index, row in enumerate(kinds) if row] == [3, 4998]
    assert len(kinds) == 5000


def test_an_engines_error_comes_through(pictures: Path) -> None:
    class Broken:
        def features(self, pictures: Iterable[NDArray[np.uint8]]) -> Iterator[Maps]:
            next(iter(pictures))
            raise RuntimeError("the device is gone")
            yield

    with Threads(1) as decoders, pytest.raises(RuntimeError, match="device is gone"):
        list(results(named(pictures, ["1.png"] * 9), engine=Broken(), decoders=decoders, ahead=2))


def test_one_stream_for_all_shards(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a shard's end the engine has pictures of the next already; what the shards hold is theirs."""
    taken: list[int] = []

    class Counting(ChannelMeans):
        precision, quality = "fp32", None

        def prepare(self) -> None:
            """Nothing to do."""

        def features(self, pictures: Iterable[NDArray[np.uint8]]) -> Iterator[Maps]:
            for maps in super().features(pictures):
                taken.append(self.taken)
                yield {"c5": np.resize(maps["c5"], 64)}

    for name in ("7.png", "8.png"):
        (tmp_path / name).symlink_to(pictures / name)
    names = ["7.png", "missing.png", "8.png", "missing.png", "7.png", "7.png", "missing.png", "missing.png", "8.png"]
    (tmp_path / "list.txt").write_text("\n".join(names) + "\n")
    weights = read(Path(__file__).parents[1] / "data" / "tiny.safetensors")
    monkeypatch.setattr(engines, "made", lambda *_, **__: Counting(3))
    done = extracting.extract(tmp_path / "list.txt", tmp_path / "out", weights=weights, layers=("c5",), shard_size=2)
    assert (done.images, done.failures, done.shards) == (5, 4, 5)
    assert taken[0] == 4
    tables = [pq.read_table(path) for path in sorted((tmp_path / "out").glob("features-*.parquet"))]
    assert [table["path"].to_pylist() for table in tables] == [["7.png"], ["8.png"], ["7.png", "7.png"], [], ["8.png"]]

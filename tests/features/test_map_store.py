"""Whole maps in Parquet: every bit comes back, of any size, one image at a time; nothing is ever half-written."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from resnetfea.features import map_store, writeback
from resnetfea.features.map_store import MapStore
from resnetfea.features.store import Failure, Row

Map = NDArray[np.float32]
CHANNELS = {"c2": 2, "c5": 3}
ODD = np.array([np.nan, -0.0, np.inf, np.float32(1e-45)], np.float32)


def new(folder: Path) -> MapStore:
    return MapStore(folder, CHANNELS)


def row(index: int, side: int = 4) -> Row:
    chance = np.random.default_rng(index)
    features = {
        layer: chance.normal(size=(size, side, side + index % 3)).astype(np.float32) for layer, size in CHANNELS.items()
    }
    return Row(f"é/{index}.jpg", 640 + index, 480, features)


def read(path: Path, index: int, layer: str) -> Map:
    """As docs/maps.md shows it."""
    cell = pq.ParquetFile(path).read_row_group(index, columns=[layer]).to_pylist()[0][layer]
    return np.frombuffer(cell["data"], "<f4").reshape(cell["shape"])


sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))


@settings(max_examples=50, deadline=None)
@given(results=st.lists(st.one_of(sizes, st.none()), max_size=12), seed=st.integers(0, 9))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, results: list[tuple[int, int] | None], seed: int
) -> None:
    chance, target = np.random.default_rng(seed), new(tmp_path_factory.mktemp("store"))
    given: list[Row | Failure] = []
    for index, size in enumerate(results):
        if size is None:
            given.append(Failure(f"{index}.jpg", "cut short", "cut short"))
            continue
        some = {layer: chance.choice(ODD, (channels, *size)) for layer, channels in CHANNELS.items()}
        given.append(Row(f"{index}.jpg", index + 1, index + 2, some))
    target.write_shard(0, iter(given))
    target.write_shard(1, given)
    assert target.shard(0).read_bytes() == target.shard(1).read_bytes()
    rows = [one for one in given if isinstance(one, Row)]
    assert target.finished(0, len(given))
    assert not target.finished(0, len(given) + 1)
    assert target.finish(1, {}) == (len(rows), len(given) - len(rows))
    table = pq.read_table(target.shard(0), columns=["path", "width", "height"])
    assert [tuple(one.values()) for one in table.to_pylist()] == [one[:3] for one in rows]
    for index, one in enumerate(rows):
        for layer, whole in one.features.items():
            found = read(target.shard(0), index, layer)
            assert (found.shape, found.tobytes()) == (whole.shape, whole.tobytes())


def test_an_image_is_a_row_group_and_a_layers_numbers_lie_together(tmp_path: Path) -> None:
    target, rows = new(tmp_path), [row(index, side=200) for index in range(3)]
    target.write_shard(0, rows)
    footer = pq.read_metadata(target.shard(0))
    assert footer.num_row_groups == 3
    file = target.shard(0).read_bytes()
    for index, one in enumerate(rows):
        for layer, whole in one.features.items():
            (chunk,) = (
                footer.row_group(index).column(number)
                for number in range(footer.num_columns)
                if footer.row_group(index).column(number).path_in_schema == f"{layer}.data"
            )
            assert chunk.compression == "UNCOMPRESSED"
            lies = file[chunk.data_page_offset : chunk.data_page_offset + chunk.total_compressed_size]
            assert whole.tobytes() in lies
            assert len(lies) < whole.nbytes + 100


def test_maps_need_not_be_contiguous(tmp_path: Path) -> None:
    batch = np.arange(2 * 5 * 4 * 3, dtype=np.float32).reshape(2, 5, 4, 3)
    maps = {"c2": batch[1].transpose(2, 0, 1), "c5": batch[0, :, ::2, ::-1]}
    new(tmp_path).write_shard(0, [Row("a", 1, 1, maps)])
    for layer, whole in maps.items():
        assert np.array_equal(read(new(tmp_path).shard(0), 0, layer), whole)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, GeneratorExit])
@pytest.mark.parametrize("after", [0, 1, 30])
def test_nothing_is_left_where_the_maps_end_in_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], after: int
) -> None:
    monkeypatch.setattr(writeback, "STEP", 1)

    def breaking() -> Iterator[Row]:
        yield from map(row, range(after))
        raise error

    with pytest.raises(error):
        new(tmp_path).write_shard(0, breaking())
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fails_behind_the_writer_commits_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(handle: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(writeback, "STEP", 1)
    monkeypatch.setattr(writeback, "_sync", broken)
    with pytest.raises(OSError, match="Input/output error"):
        new(tmp_path).write_shard(0, map(row, range(5)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[: len(data) // 2], lambda data: b""])
def test_a_damaged_shard_is_not_finished(tmp_path: Path, damage: object) -> None:
    assert callable(damage)
    target = new(tmp_path)
    target.write_shard(0, map(row, range(5)))
    target.shard(0).write_bytes(damage(target.shard(0).read_bytes()))
    assert not target.finished(0, 5)


def test_an_image_whose_map_no_value_can_hold_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_store, "LARGEST", 1000)
    target = new(tmp_path)
    target.write_shard(0, [row(0), row(1, side=20), row(2)])
    assert target.finish(1, {}) == (2, 1)
    assert pq.read_table(tmp_path / "failures.parquet").to_pylist() == [
        {"path": "é/1.jpg", "kind": "too large", "reason": "its maps are too large (641x480)"}
    ]
    assert pq.read_table(target.shard(0), columns=["path"])["path"].to_pylist() == ["é/0.jpg", "é/2.jpg"]

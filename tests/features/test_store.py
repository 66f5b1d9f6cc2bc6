"""The files of OUT: their schema and bytes, and that nothing half-written ever has a final name."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resnetfea.errors import ResnetFeaError
from resnetfea.features import store
from resnetfea.features.folder import Existing, opened, remove_run
from resnetfea.features.store import Failure, Row, Store


def row(index: int) -> Row:
    features = {"c2": np.full(2, index, np.float32), "c5": np.arange(3, dtype=np.float32) + index}
    return Row(f"é/{index}.jpg", 640 + index, 480, features)


def some(count: int) -> list[Row | Failure]:
    return [
        Failure(f"{index}.jpg", "cut short", "cut short") if index % 5 == 3 else row(index) for index in range(count)
    ]


def new(folder: Path) -> Store:
    return Store(folder, {"c2": 2, "c5": 3})


def held(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_schema_and_values(tmp_path: Path) -> None:
    new(tmp_path).write_shard(7, some(10))
    assert held(tmp_path) == ["features-00007.parquet"]
    table = pq.read_table(tmp_path / "features-00007.parquet")
    assert [(field.name, field.type) for field in table.schema] == [
        ("path", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("c2", pa.list_(pa.float32(), 2)),
        ("c5", pa.list_(pa.float32(), 3)),
    ]
    assert table["path"].to_pylist() == [f"é/{index}.jpg" for index in (0, 1, 2, 4, 5, 6, 7, 9)]
    assert table["width"].to_pylist() == [640, 641, 642, 644, 645, 646, 647, 649]
    assert table["c5"].to_pylist()[-1] == [9, 10, 11]


def test_features_keep_every_bit(tmp_path: Path) -> None:
    odd = np.array([np.nan, -0.0, np.float32(1e-45)], np.float32)
    new(tmp_path).write_shard(0, [Row("a", 1, 1, {"c2": odd[:2], "c5": odd})])
    column = pq.read_table(tmp_path / "features-00000.parquet")["c5"].combine_chunks()
    assert column.values.to_numpy().tobytes() == odd.tobytes()


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    new(tmp_path).write_shard(0, some(50))
    new(tmp_path).write_shard(1, iter(some(50)))
    assert (tmp_path / "features-00000.parquet").read_bytes() == (tmp_path / "features-00001.parquet").read_bytes()


def test_row_groups_bound_the_memory_of_a_large_shard(tmp_path: Path) -> None:
    new(tmp_path).write_shard(0, (row(index) for index in range(2 * store.GROUP_ROWS + 1)))
    footer = pq.read_metadata(tmp_path / "features-00000.parquet")
    assert [footer.row_group(index).num_rows for index in range(footer.num_row_groups)] == [1024, 1024, 1]


def test_a_shard_of_failures_only(tmp_path: Path) -> None:
    target = new(tmp_path)
    target.write_shard(0, [Failure("a.jpg", "empty", "empty file"), Failure("b.jpg", "cut short", "cut short")])
    assert target.finished(0, 2)
    assert target.finish(1, {"format": 1}) == (0, 2)
    assert pq.read_table(target.shard(0)).num_rows == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, GeneratorExit])
@pytest.mark.parametrize("after", [0, 3, 2000])
def test_nothing_is_left_where_the_rows_end_in_an_error(tmp_path: Path, error: type[BaseException], after: int) -> None:
    def breaking() -> Iterator[Row]:
        for index in range(after):
            yield row(index)
        raise error

    with pytest.raises(error):
        new(tmp_path).write_shard(0, breaking())
    assert held(tmp_path) == []


def test_an_error_leaves_the_earlier_file(tmp_path: Path) -> None:
    store.write_manifest(tmp_path, {"format": 1})
    before = (tmp_path / "manifest.json").read_bytes()
    with pytest.raises(TypeError):
        store.write_manifest(tmp_path, {"format": object()})
    assert (tmp_path / "manifest.json").read_bytes() == before
    assert held(tmp_path) == ["manifest.json"]


def test_finish_gathers_the_failures_in_order_and_commits(tmp_path: Path) -> None:
    (tmp_path / store.INPUTS).write_bytes(b"a\0")
    target = new(tmp_path)
    target.write_shard(0, [Failure("b\n.jpg", "broken", 'a "reason"'), row(1)])
    target.write_shard(1, [row(2)])
    target.write_shard(2, [row(3), Failure("a.jpg", "broken", "雪")])
    assert target.finish(3, {"format": 1, "layers": ["c2", "c5"]}) == (3, 2)
    assert held(tmp_path) == [
        "failures.parquet",
        "features-00000.parquet",
        "features-00001.parquet",
        "features-00002.parquet",
        "manifest.json",
    ]
    failures = pq.read_table(tmp_path / "failures.parquet")
    assert failures.schema.names == ["path", "kind", "reason"]
    assert failures.schema.types == [pa.string()] * 3
    assert failures.to_pylist() == [
        {"path": "b\n.jpg", "kind": "broken", "reason": 'a "reason"'},
        {"path": "a.jpg", "kind": "broken", "reason": "雪"},
    ]
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest == {
        "format": 1,
        "layers": ["c2", "c5"],
        "images": 3,
        "failures": 2,
        "shards": 3,
        "complete": True,
    }


def test_without_failures_the_table_is_there_and_empty(tmp_path: Path) -> None:
    target = new(tmp_path)
    target.write_shard(0, [row(1)])
    target.finish(1, {})
    table = pq.read_table(tmp_path / "failures.parquet")
    assert (table.num_rows, table.schema.names) == (0, ["path", "kind", "reason"])


def test_only_a_readable_shard_of_the_right_size_is_finished(tmp_path: Path) -> None:
    target = new(tmp_path)
    assert not target.finished(0, 20)
    target.write_shard(0, some(20))
    assert target.finished(0, 20)
    assert not target.finished(0, 19)
    whole = target.shard(0).read_bytes()
    for damaged in (whole[:-1], whole[: len(whole) // 2], b"", b"\0" * len(whole)):
        target.shard(0).write_bytes(damaged)
        assert not target.finished(0, 20)


@pytest.mark.parametrize("content", ["", "[]", "{", "{}", '"format"', '{"format": 2}'])
def test_what_is_no_manifest_is_said_so(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ResnetFeaError, match=r"manifest\.json: not a manifest of resnetfea"):
        store.read_manifest(tmp_path)


OURS = [".inputs", "manifest.json", "failures.parquet", "features-00000.parquet", "features-123456.parquet"]
HALF_DONE = [
    ".listed",
    ".new",
    ".manifest.json.partial",
    ".failures.parquet.partial",
    ".features-00001.parquet.partial",
]
FOREIGN = ["features-cats.parquet", "features-1.parquet", ".bashrc", "x.partial", ".x.partial", "features-00000.csv"]


def test_what_is_ours(tmp_path: Path) -> None:
    for name in OURS + HALF_DONE:
        assert store.ours(tmp_path / name), name
    for name in FOREIGN:
        assert not store.ours(tmp_path / name), name
    assert [name for name in OURS + HALF_DONE + FOREIGN if store.half_done(tmp_path / name)] == HALF_DONE


def test_removing_takes_our_files_only(tmp_path: Path) -> None:
    for name in OURS + HALF_DONE + FOREIGN:
        (tmp_path / name).touch()
    remove_run(tmp_path)
    assert held(tmp_path) == sorted(FOREIGN + HALF_DONE)


@pytest.mark.parametrize("existing", ["refuse", "resume", "overwrite"])
def test_a_folder_with_half_done_files_only_counts_as_empty(tmp_path: Path, existing: Existing) -> None:
    """A run that was killed before it wrote its manifest."""
    for name in HALF_DONE:
        (tmp_path / name).touch()
    with opened(tmp_path, existing) as before:
        assert before is None
        assert held(tmp_path) == []


def test_a_folder_is_opened_once_at_a_time(tmp_path: Path) -> None:
    with (
        opened(tmp_path, "refuse"),
        pytest.raises(ResnetFeaError, match="another run"),
        opened(tmp_path, "overwrite"),
    ):
        raise AssertionError("opened twice")
    with opened(tmp_path, "refuse"):
        pass

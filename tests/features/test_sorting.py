"""Sorting more records than memory may hold."""

import os
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from resnetfea.features import sorting
from resnetfea.features.sorting import in_order

RECORD = st.binary(max_size=6).map(lambda data: data.replace(b"\0", b"\1")) | st.sampled_from([b"", b"a", b"\xff"])


@settings(max_examples=200, deadline=None)
@given(st.lists(RECORD, max_size=60), st.integers(1, 9))
@example([b""] * 5, 2)
def test_as_sorted_does(records: list[bytes], run_records: int) -> None:
    assert list(in_order(iter(records), run_records=run_records)) == sorted(records)


def test_long_records_and_many_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 4 KB: records longer than one, and runs of many."""
    monkeypatch.setattr(sorting, "MERGE_BYTES", 0)
    records = [str(index * 7919 % 10_007).encode() * (1 if index % 50 else 2_000) for index in range(5_000)]
    assert list(in_order(records, run_records=900)) == sorted(records)


def test_long_records_make_short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorting, "RUN_BYTES", 100)
    records = [bytes([200 - index]) * 60 for index in range(20)]
    assert [len(run) for run in sorting._sorted_runs(records, 1_000)] == [2] * 10
    assert list(in_order(records)) == sorted(records)


def test_few_records_need_no_file() -> None:
    assert list(in_order([b"b", b"a"], folder="/nonexistent", run_records=3)) == [b"a", b"b"]
    with pytest.raises(FileNotFoundError):
        list(in_order([b"b", b"a"], folder="/nonexistent", run_records=1))


def test_the_file_has_no_name_and_goes_with_the_iterator(tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    merged = in_order((str(index).encode() for index in range(100)), folder=tmp_path, run_records=7)
    assert next(merged) == b"0"
    assert len(set(os.listdir("/proc/self/fd")) - before) == 1
    assert os.listdir(tmp_path) == []
    merged.close()
    assert set(os.listdir("/proc/self/fd")) <= before

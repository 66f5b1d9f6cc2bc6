"""Sorted order for more records than memory holds: sorted runs in one temporary file, merged block by block."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

END = b"\0"  # behind each record in the file
RUN_RECORDS = 200_000  # what is sorted in memory: some 20 MB of paths
RUN_BYTES = 32 << 20  # or fewer records, where they are long
MERGE_BYTES = 16 << 20  # of all runs together while they are merged


def in_order(
    records: Iterable[bytes], *, folder: str | Path | None = None, run_records: int = RUN_RECORDS
) -> Generator[bytes, None, None]:
    """The records sorted by their bytes, equal ones all kept, in memory that does not grow with them.

    Up to run_records are sorted in memory. More go through a temporary file as large as all of them. It has no name,
    so it is gone when the iterator is exhausted or closed, and when the process is killed.

    Args:
        records: none holds a zero byte.
        folder: where the temporary file lies; None for the system's, which some systems keep in memory.
        run_records: sorted in memory at a time.

    Raises:
        OSError: the temporary file can't be written.
    """
    runs = _sorted_runs(records, run_records)
    first, second = next(runs, []), next(runs, None)
    if second is None:
        yield from first
        return
    with TemporaryFile(dir=folder) as file:
        spans: list[tuple[int, int]] = []
        for run in chain((first, second), runs):
            start = file.tell()
            file.write(END.join([*run, b""]))
            spans.append((start, file.tell()))
            run.clear()  # `first` and `second` would keep theirs until the end
        yield from _merged(file, spans)


def _sorted_runs(records: Iterable[bytes], run_records: int) -> Iterator[list[bytes]]:
    run: list[bytes] = []
    size = 0
    for record in records:
        run.append(record)
        size += len(record)
        if len(run) >= run_records or size >= RUN_BYTES:
            run.sort()
            yield run
            run, size = [], 0
    if run:
        run.sort()
        yield run


def _merged(file: IO[bytes], spans: list[tuple[int, int]]) -> Iterator[bytes]:
    """Sorts what is at hand of all runs up to where the first of them must be read on.

    list.sort finds the sorted stretches and merges them, in C: several times as fast as heapq.merge.
    """
    size = max(MERGE_BYTES // len(spans), 1 << 12)
    runs = [_Run(file, start, end, size) for start, end in spans]
    while runs:
        bounds = [run.records[-1] for run in runs if not run.at_end]
        bound = min(bounds) if bounds else None
        ready: list[bytes] = []
        for run in runs:
            ready += run.take(bound)
        ready.sort()
        yield from ready
        runs = [run for run in runs if run.records]


class _Run:
    """A sorted run in the file, and its next records in memory: none left only behind its end."""

    def __init__(self, file: IO[bytes], start: int, end: int, size: int) -> None:
        self.file, self.start, self.end, self.size = file, start, end, size
        self.records: list[bytes] = []
        self._read()

    @property
    def at_end(self) -> bool:
        """Nothing follows the records at hand."""
        return self.start == self.end

    def take(self, bound: bytes | None) -> list[bytes]:
        """The records at hand up to the bound, itself included; None for all."""
        count = len(self.records) if bound is None else bisect_right(self.records, bound)
        taken, self.records = self.records[:count], self.records[count:]
        if not self.records and not self.at_end:
            self._read()
        return taken

    def _read(self) -> None:
        """The whole records of the next block, or the one record that is longer."""
        size = self.size
        while True:
            self.file.seek(self.start)
            data = self.file.read(min(size, self.end - self.start))
            if (last := data.rfind(END)) >= 0:
                break
            size *= 2
        self.records = data[:last].split(END)
        self.start += last + 1

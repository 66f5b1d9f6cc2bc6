"""The folder that holds the features: Parquet shards, failures, and the manifest that commits them.

While a run goes on, OUT holds finished shards, manifest.json with complete=false, the list of images, and files whose
names begin with a dot. A shard carries its own failures in its metadata, with their places among its images, so that
one rename commits both, and failures alone can be tried again. Nothing is ever half-written under a final name:
temporary name in the same folder, flush, fsync, rename, fsync of the folder.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from resnetfea.atomic import committed
from resnetfea.errors import ResnetFeaError
from resnetfea.features.writeback import writeback

FAILURES_KEY = b"resnetfea.failures"
MANIFEST, FAILURES = "manifest.json", "failures.parquet"
INPUTS = ".inputs"  # the list of images, while a run goes on
LISTED, NEW = ".listed", ".new"  # what the source lists now, and what of it is new
PARTIAL = ".partial"
TOKEN = re.compile(r"\.[0-9a-f]{16}$")  # in the partial names of shards
SHARD = re.compile(r"features-\d{5,}\.parquet")
GROUP_ROWS = 1024  # rows of one row group, so that a shard of any size needs little memory
FAILURE_SCHEMA = pa.schema([("path", pa.string()), ("kind", pa.string()), ("reason", pa.string())])


class Row(NamedTuple):
    """One image's features."""

    path: str
    width: int
    height: int
    features: dict[str, NDArray[np.float32]]  # by layer, (C,); (C, H, W) where maps are kept whole


class Failure(NamedTuple):
    """One image that has none, and why (bad_image.py)."""

    path: str
    kind: str
    reason: str


class Store:
    """The shards of one run, with pooled features. MapStore has others' columns.

    Args:
        folder: OUT.
        channels: of each layer, e.g. {"c5": 2048}; one column each.
    """

    shard_images = 1024  # of one file, unless the user says otherwise
    group_rows = GROUP_ROWS

    def __init__(self, folder: Path, channels: dict[str, int]) -> None:
        self.folder, self.channels = folder, channels
        self.schema = pa.schema(
            [("path", pa.string()), ("width", pa.int32()), ("height", pa.int32())]
            + [(layer, self._type(layer)) for layer in channels]
        )

    def shard(self, index: int) -> Path:
        """The file of the index-th shard."""
        return self.folder / f"features-{index:05d}.parquet"

    def write_shard(self, index: int, results: Iterable[Row | Failure]) -> None:
        """One finished shard: its rows, and its failures beside them."""
        with committed(self.shard(index), self.partial(index)) as path, self.writing(path) as put:
            for result in results:
                put(result)

    def partial(self, index: int) -> Path:
        """A file for a shard under way that no other process, here or elsewhere, takes."""
        return self.folder / f".{self.shard(index).name}.{secrets.token_hex(8)}{PARTIAL}"

    @contextmanager
    def writing(self, path: Path) -> Iterator[Callable[[Row | Failure], None]]:
        """Takes a shard's results one after another into a file, which is whole where the block ends well."""
        failures: list[tuple[int, Failure]] = []
        with path.open("wb") as file, writeback(file) as go_on, _writer(file, self.schema) as writer:
            rows: list[Row] = []
            places = count()

            def put(result: Row | Failure) -> None:
                place = next(places)
                if isinstance(result, Failure):
                    failures.append((place, result))
                    return
                rows.append(result)
                if len(rows) == self.group_rows:
                    writer.write_table(self._table(rows))
                    rows.clear()
                    go_on()

            yield put
            if rows:
                writer.write_table(self._table(rows))
            writer.add_key_value_metadata(
                {FAILURES_KEY: json.dumps([[place, *failure] for place, failure in failures]).encode()}
            )

    def finished(self, index: int, images: int) -> bool:
        """Whether the index-th shard is there, for as many images. One that can't be read is not: it is made again."""
        try:
            footer = self._footer(index)
            return int(footer.num_rows) + len(_failures(footer)) == images
        except (OSError, ValueError):  # missing; cut short (pyarrow.ArrowInvalid is a ValueError)
            return False

    def failed(self, index: int) -> dict[int, Failure]:
        """A finished shard's failures, by their place among its images."""
        return dict(_failures(self._footer(index)))

    def paths(self, index: int) -> Iterator[str]:
        """Of all images of a finished shard: those of the rows, then those of the failures."""
        with self.shard(index).open("rb") as file:
            for batch in pq.ParquetFile(file).iter_batches(self.group_rows, columns=["path"]):
                yield from batch["path"].to_pylist()
        yield from (failure.path for failure in self.failed(index).values())

    def mended(self, index: int, again: Iterator[Row | Failure]) -> Iterator[Row | Failure]:
        """A finished shard's results in their order, with what `again` gives in place of each failure."""
        footer = self._footer(index)
        failed = dict(_failures(footer))
        with self.shard(index).open("rb") as file:  # stays this file where another takes its name
            rows = self._rows(pq.ParquetFile(file))
            for place in range(footer.num_rows + len(failed)):
                yield next(again) if place in failed else next(rows)

    def finish(self, shards: int, manifest: dict[str, Any]) -> tuple[int, int]:
        """Gather the failures, then commit the run by its manifest. Gives rows and failures."""
        rows = failed = 0
        with (
            _committed(self.folder / FAILURES) as path,
            path.open("wb") as file,
            _writer(file, FAILURE_SCHEMA) as writer,
        ):
            for index in range(shards):
                footer = self._footer(index)
                failures = _failures(footer)
                rows, failed = rows + footer.num_rows, failed + len(failures)
                if failures:
                    told = zip(*(failure for _, failure in failures), strict=True)
                    columns = [pa.array(column, pa.string()) for column in told]
                    writer.write_table(pa.Table.from_arrays(columns, schema=FAILURE_SCHEMA))
        counts = {"images": rows, "failures": failed, "shards": shards}
        write_manifest(self.folder, {**manifest, **counts, "complete": True})
        (self.folder / INPUTS).unlink(missing_ok=True)  # behind the manifest: nobody needs it any more
        return rows, failed

    def _footer(self, index: int) -> Any:
        with self.shard(index).open("rb") as file:  # pyarrow itself takes only paths of UTF-8
            return pq.read_metadata(file)

    def _table(self, rows: list[Row]) -> pa.Table:
        columns = [
            pa.array([row.path for row in rows], pa.string()),
            pa.array([row.width for row in rows], pa.int32()),
            pa.array([row.height for row in rows], pa.int32()),
        ]
        columns += [self._column(rows, layer) for layer in self.channels]
        return pa.Table.from_arrays(columns, schema=self.schema)

    def _type(self, layer: str) -> pa.DataType:
        return pa.list_(pa.float32(), self.channels[layer])

    def _rows(self, file: pq.ParquetFile) -> Iterator[Row]:
        for batch in file.iter_batches(self.group_rows):
            columns = {layer: self._features(batch[layer]) for layer in self.channels}
            told = (batch[name].to_pylist() for name in ("path", "width", "height"))
            for index, (path, width, height) in enumerate(zip(*told, strict=True)):
                yield Row(path, width, height, {layer: column[index] for layer, column in columns.items()})

    def _features(self, column: pa.Array) -> list[NDArray[np.float32]]:
        """A layer's, of each row."""
        return list(np.asarray(column.flatten()).reshape(len(column), -1))  # (N, C)

    def _column(self, rows: list[Row], layer: str) -> pa.Array:
        flat = np.concatenate([row.features[layer] for row in rows])
        return pa.FixedSizeListArray.from_arrays(pa.array(flat, pa.float32()), self.channels[layer])


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """manifest.json, whole or not at all."""
    with _committed(folder / MANIFEST) as path:
        path.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> dict[str, Any]:
    """manifest.json of a run.

    Raises:
        ResnetFeaError: it is missing or not ours.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ResnetFeaError(
            f"{folder}: not empty, but there is no {MANIFEST}, so no run of resnetfea to go on with; "
            "choose another output folder"
        ) from error
    except (OSError, ValueError) as error:
        raise ResnetFeaError(f"{path}: not a manifest of resnetfea ({error}); use --overwrite to start anew") from error
    if not isinstance(manifest, dict) or not {"format", "complete"} <= manifest.keys():
        raise ResnetFeaError(f"{path}: not a manifest of resnetfea; use --overwrite to start anew")
    return manifest


def ours(path: Path) -> bool:
    """Whether a file in OUT is one that a run writes."""
    return path.name in (MANIFEST, FAILURES, INPUTS) or SHARD.fullmatch(path.name) is not None or half_done(path)


def half_done(path: Path) -> bool:
    """Whether a file in OUT is one that is only there while a run goes on."""
    if path.name in (LISTED, NEW):
        return True
    if not path.name.endswith(PARTIAL):
        return False
    return ours(path.with_name(TOKEN.sub("", path.name.removeprefix(".").removesuffix(PARTIAL))))


def _failures(footer: Any) -> list[tuple[int, Failure]]:
    """Of a shard, with their places."""
    told = json.loads((footer.metadata or {}).get(FAILURES_KEY, b"[]"))
    return [(place, Failure(*failure)) for place, *failure in told]


def _committed(final: Path) -> AbstractContextManager[Path]:
    """A temporary path that becomes the final one where the block ends well, and vanishes where it does not."""
    return committed(final, final.with_name(f".{final.name}{PARTIAL}"))


def _writer(file: BinaryIO, schema: pa.Schema) -> pq.ParquetWriter:
    """No dictionaries and no compression: pooled features gain below 8%, maps 27% at 3 times the CPU (docs/maps.md)."""
    return pq.ParquetWriter(file, schema, compression="none", use_dictionary=False, write_statistics=False)

"""What measure_maps.py compares: each writes the maps of some images into a folder, and reads a layer of one image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from resnetfea.features.map_store import MapStore
from resnetfea.features.store import Row

Map = NDArray[np.float32]  # (C, H, W)
Maps = dict[str, Map]  # of one image, by layer
Write = Callable[[Path, list[Maps]], None]
Read = Callable[[Path, int, str], Map]
Shapes = dict[str, tuple[int, ...]]
BLOCK = 4 << 20
SHARDED = 8  # images of one zarr shard: they are held in memory until it is written


class Way(NamedTuple):
    """One of the candidates."""

    name: str
    write: Write
    read: Read
    held: str  # images that its writer has in memory at a time
    sizes: str  # whether maps of one shard may differ in height and width


def all_ways(shapes: Shapes) -> list[Way]:
    """The bare disk first; zarr's only where it is installed."""
    return [bare(shapes), ours(shapes), *safetensors_ways(), *arrow_ways(list(shapes)), *zarr_ways(shapes)]


def bare(shapes: Shapes) -> Way:
    sizes = {layer: 4 * math.prod(shape) for layer, shape in shapes.items()}
    starts = dict(zip(sizes, accumulate(sizes.values(), initial=0), strict=False))

    def write(out: Path, some: list[Maps]) -> None:
        out.mkdir()
        with (out / "raw").open("wb", buffering=0) as file:
            for maps in some:
                for array in maps.values():
                    view = array.data.cast("B")
                    for start in range(0, len(view), BLOCK):
                        file.write(view[start : start + BLOCK])

    def read(out: Path, index: int, layer: str) -> Map:
        with (out / "raw").open("rb") as file:
            file.seek(index * sum(sizes.values()) + starts[layer])
            return np.frombuffer(file.read(sizes[layer]), np.float32).reshape(shapes[layer])

    return Way("the disk", write, read, "1", "")


def ours(shapes: Shapes) -> Way:
    """What `extract --pool none` writes: Parquet, bytes, on their way to the disk while more are written."""
    channels = {layer: shape[0] for layer, shape in shapes.items()}

    def write(out: Path, some: list[Maps]) -> None:
        out.mkdir()
        MapStore(out, channels).write_shard(0, (Row("photo.jpg", 640, 480, maps) for maps in some))

    def read(out: Path, index: int, layer: str) -> Map:
        row = pq.ParquetFile(MapStore(out, channels).shard(0)).read_row_group(index, columns=[layer])
        cell = row[layer][0]
        return np.frombuffer(cell["data"].as_buffer(), "<f4").reshape(cell["shape"].as_py())

    return Way("resnetfea (parquet, bytes)", write, read, "1", "yes")


def safetensors_ways() -> Iterator[Way]:
    def write_each(out: Path, some: list[Maps]) -> None:
        out.mkdir()
        for index, maps in enumerate(some):
            save_file(maps, out / f"{index}.safetensors")

    def read_each(out: Path, index: int, layer: str) -> Map:
        with safe_open(out / f"{index}.safetensors", "np") as file:
            return np.asarray(file.get_tensor(layer))

    def write_shard(out: Path, some: list[Maps]) -> None:
        out.mkdir()
        tensors = {f"{index}.{layer}": maps[layer] for index, maps in enumerate(some) for layer in maps}
        save_file(tensors, out / "shard.safetensors")

    def read_shard(out: Path, index: int, layer: str) -> Map:
        with safe_open(out / "shard.safetensors", "np") as file:
            return np.asarray(file.get_tensor(f"{index}.{layer}"))

    yield Way("safetensors, a file an image", write_each, read_each, "1", "yes")
    yield Way("safetensors, a file a shard", write_shard, read_shard, "all", "yes")


def arrow_ways(layers: list[str]) -> Iterator[Way]:
    def of_bytes(array: Map) -> pa.Array:
        ends = pa.py_buffer(np.array([0, array.nbytes], np.int32))
        return pa.Array.from_buffers(pa.binary(), 1, [None, ends, pa.py_buffer(array)])

    def of_list(array: Map) -> pa.Array:
        return pa.ListArray.from_arrays(pa.array([0, array.size], pa.int32()), pa.array(array.reshape(-1)))

    def table(maps: Maps, column: Callable[[Map], pa.Array]) -> pa.Table:
        columns: dict[str, pa.Array] = {"path": pa.array(["photo.jpg"])}
        for layer, array in maps.items():
            columns |= {layer: column(array), f"{layer}_shape": pa.array([array.shape], pa.list_(pa.int32(), 3))}
        return pa.table(columns)

    def parquet(column: Callable[[Map], pa.Array], **options: Any) -> tuple[Write, Read]:
        def write(out: Path, some: list[Maps]) -> None:
            out.mkdir()
            schema = table(some[0], column).schema
            with (
                (out / "shard.parquet").open("wb") as file,
                pq.ParquetWriter(file, schema, use_dictionary=False, write_statistics=False, **options) as writer,
            ):
                for maps in some:
                    writer.write_table(table(maps, column))

        def read(out: Path, index: int, layer: str) -> Map:
            row = pq.ParquetFile(out / "shard.parquet").read_row_group(index, columns=[layer, f"{layer}_shape"])
            cell, shape = row[layer][0], row[f"{layer}_shape"][0].as_py()
            values = np.frombuffer(cell.as_buffer(), np.float32) if column is of_bytes else cell.values.to_numpy()
            return np.asarray(values).reshape(shape)

        return write, read

    def ipc(**options: Any) -> tuple[Write, Read]:
        def write(out: Path, some: list[Maps]) -> None:
            out.mkdir()
            schema = table(some[0], of_list).schema
            with (
                pa.OSFile(str(out / "shard.arrow"), "wb") as file,
                pa.ipc.new_file(file, schema, options=pa.ipc.IpcWriteOptions(**options)) as writer,
            ):
                for maps in some:
                    writer.write_table(table(maps, of_list))

        def read(out: Path, index: int, layer: str) -> Map:
            with pa.memory_map(str(out / "shard.arrow")) as file:
                batch = pa.ipc.open_file(file).get_batch(index)
                values = batch[layer][0].values.to_numpy().reshape(batch[f"{layer}_shape"][0].as_py())
                return np.array(values)

        return write, read

    split = {"column_encoding": {f"{layer}.list.element": "BYTE_STREAM_SPLIT" for layer in layers}}
    yield Way("parquet, bytes", *parquet(of_bytes, compression="none"), "1", "yes")
    yield Way("parquet, bytes, lz4", *parquet(of_bytes, compression="lz4"), "1", "yes")
    yield Way("parquet, bytes, zstd 1", *parquet(of_bytes, compression="zstd", compression_level=1), "1", "yes")
    yield Way("parquet, lists of floats", *parquet(of_list, compression="none"), "1", "yes")
    yield Way(
        "parquet, lists, byte stream split, zstd 1",
        *parquet(of_list, compression="zstd", compression_level=1, **split),
        "1",
        "yes",
    )
    yield Way("Arrow IPC", *ipc(), "1", "yes")
    yield Way("Arrow IPC, zstd 1", *ipc(compression=pa.Codec("zstd", 1)), "1", "yes")


def zarr_ways(shapes: Shapes) -> Iterator[Way]:
    try:
        zarr, codecs = import_module("zarr"), import_module("zarr.codecs")
    except ImportError:
        return

    def opened(out: Path, mode: str, zipped: bool) -> Any:
        if not zipped:
            return zarr.open_group(out, mode=mode, zarr_format=3)
        out.mkdir(exist_ok=True)
        return zarr.open_group(zarr.storage.ZipStore(out / "shard.zip", mode=mode), mode=mode, zarr_format=3)

    def read_group(out: Path, index: int, layer: str) -> Map:
        return np.asarray(opened(out, "r", zipped=False)[f"{index}/{layer}"][:])

    def write_each(out: Path, some: list[Maps]) -> None:
        group = opened(out, "w", zipped=False)
        for index, maps in enumerate(some):
            for layer, array in maps.items():
                group.create_array(f"{index}/{layer}", data=array, chunks=array.shape, compressors=None)

    def layers(*, zipped: bool, compressors: Any = None, at_once: int = 1) -> tuple[Write, Read]:
        def write(out: Path, some: list[Maps]) -> None:
            group, arrays = opened(out, "w", zipped), {}
            for layer, shape in shapes.items():
                arrays[layer] = group.create_array(
                    layer,
                    shape=(len(some), *shape),
                    chunks=(1, *shape),
                    shards=(at_once, *shape) if at_once > 1 else None,
                    dtype=np.float32,
                    compressors=compressors,
                )
            for index in range(0, len(some), at_once):
                for layer, array in arrays.items():
                    array[index : index + at_once] = np.stack([maps[layer] for maps in some[index : index + at_once]])
            group.store.close()

        def read(out: Path, index: int, layer: str) -> Map:
            return np.asarray(opened(out, "r", zipped)[layer][index])

        return write, read

    blosc = codecs.BloscCodec(cname="zstd", clevel=1, shuffle="shuffle", typesize=4)
    yield Way("zarr, an array an image and layer", write_each, read_group, "1", "yes")
    yield Way("zarr, an array a layer", *layers(zipped=False), "1", "no")
    yield Way("zarr, an array a layer, blosc zstd 1", *layers(zipped=False, compressors=blosc), "1", "no")
    yield Way(f"zarr, shards of {SHARDED}", *layers(zipped=False, at_once=SHARDED), f"{SHARDED}", "no")
    yield Way("zarr, an array a layer, in a zip", *layers(zipped=True), "1", "no")

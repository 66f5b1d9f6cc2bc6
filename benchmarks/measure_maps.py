"""Ways to write whole feature maps, measured beside each other and beside the bare disk; docs/maps.md has the outcome.

benchmarks/measure_maps.py FOLDER [--weights W] [--images N] [--rounds N]

FOLDER is an empty place on the disk in question. The maps are those of the sample photos. zarr is no part of the
product's environment; where it is missing its rows are left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from resnetfea import CompiledEngine, read
from resnetfea.engine.mindspore_engine import normalised
from resnetfea.features.images import decode

Maps = dict[str, NDArray[np.float32]]  # of one image: by layer, (C, H, W)
Write = Callable[[Path, list[Maps]], None]
Read = Callable[[Path, int, str], NDArray[np.float32]]
SAMPLES = Path(__file__).parents[1] / "samples"
BLOCK = 4 << 20
SHARDED = 8  # images of one zarr shard: they are held in memory until it is written


class Way(NamedTuple):
    """One of the candidates."""

    name: str
    write: Write
    read: Read
    held: str  # images that its writer has in memory at a time
    sizes: str  # whether maps of one shard may differ in height and width


class Result(NamedTuple):
    wall: float
    cpu: float
    size: int
    files: int
    one: float  # seconds to read one layer of one image, not in the page cache


def main(folder: Path, weights: str, images: int, rounds: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    of_photos = list(maps_of_samples(weights))
    some = [of_photos[index % len(of_photos)] for index in range(images)]
    total = sum(array.nbytes for maps in some for array in maps.values())
    print(f"{images} images, {total / images / 1e6:.2f} MB each; zeros: {zeros(some)}\n")
    ways = [bare(), *safetensors_ways(), *arrow_ways(), *zarr_ways()]
    results: dict[str, list[Result]] = {way.name: [] for way in ways}
    for _ in range(rounds):  # in alternation: the machine's other work falls on all alike
        for way in ways:
            results[way.name].append(measured(way, folder / "out", some))
    disk = [one.wall for one in results["the disk"]]
    print(
        "| way | speed / the disk's | CPU ms an image | size | files | read c5 of one image, ms | in memory | sizes |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for way in ways:
        found = results[way.name]
        ratio = statistics.median(d / one.wall for d, one in zip(disk, found, strict=True))
        cpu = statistics.median(one.cpu for one in found) / images * 1000
        one = statistics.median(result.one for result in found) * 1000
        size, files = found[0].size / total, found[0].files
        print(f"| {way.name} | {ratio:.2f} | {cpu:.1f} | {size:.2f} | {files} | {one:.1f} | {way.held} | {way.sizes} |")
    print(f"\nthe disk: {statistics.median(total / wall for wall in disk) / 1e6:.0f} MB a second")


def measured(way: Way, out: Path, some: list[Maps]) -> Result:
    """Write, sync, read, check, remove."""
    wall, cpu = time.perf_counter(), time.process_time()
    way.write(out, some)
    files = [path for path in out.rglob("*") if path.is_file()]
    for path in files:
        sync(path)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    size = sum(path.stat().st_size for path in files)
    reads = []
    for index in range(0, len(some), max(1, len(some) // 8)):
        for path in files:
            forget(path)
        began = time.perf_counter()
        c5 = way.read(out, index, "c5")
        reads.append(time.perf_counter() - began)
        assert c5.tobytes() == some[index]["c5"].tobytes(), way.name
    shutil.rmtree(out)
    return Result(wall, cpu, size, len(files), statistics.median(reads))


def maps_of_samples(weights: str) -> Iterator[Maps]:
    found = read(weights)
    engine = CompiledEngine(found)
    for path in sorted(path for path in SAMPLES.rglob("*") if path.suffix in (".jpg", ".png", ".webp")):
        x = normalised(decode(path, found.recipe).pixels, found.recipe)[None]
        yield {layer: np.ascontiguousarray(maps[0]) for layer, maps in engine.maps(x).items()}


def zeros(some: list[Maps]) -> str:
    return ", ".join(f"{layer} {np.mean([np.mean(maps[layer] == 0) for maps in some]):.0%}" for layer in some[0])


def bare() -> Way:
    def write(out: Path, some: list[Maps]) -> None:
        out.mkdir()
        with (out / "raw").open("wb", buffering=0) as file:
            for maps in some:
                for array in maps.values():
                    view = memoryview(array).cast("B")
                    for start in range(0, len(view), BLOCK):
                        file.write(view[start : start + BLOCK])

    def read(out: Path, index: int, layer: str) -> NDArray[np.float32]:
        with (out / "raw").open("rb") as file:
            shape = SHAPES[layer]
            file.seek(index * sum(4 * int(np.prod(one)) for one in SHAPES.values()) + OFFSETS[layer])
            return np.frombuffer(file.read(4 * int(np.prod(shape))), np.float32).reshape(shape)

    return Way("the disk", write, read, "1", "")


def safetensors_ways() -> Iterator[Way]:
    def write_each(out: Path, some: list[Maps]) -> None:
        out.mkdir()
        for index, maps in enumerate(some):
            save_file(maps, out / f"{index}.safetensors")

    def read_each(out: Path, index: int, layer: str) -> NDArray[np.float32]:
        with safe_open(out / f"{index}.safetensors", "np") as file:
            return np.asarray(file.get_tensor(layer))

    def write_shard(out: Path, some: list[Maps]) -> None:
        out.mkdir()
        tensors = {f"{index}.{layer}": maps[layer] for index, maps in enumerate(some) for layer in maps}
        save_file(tensors, out / "shard.safetensors")

    def read_shard(out: Path, index: int, layer: str) -> NDArray[np.float32]:
        with safe_open(out / "shard.safetensors", "np") as file:
            return np.asarray(file.get_tensor(f"{index}.{layer}"))

    yield Way("safetensors, a file an image", write_each, read_each, "1", "yes")
    yield Way("safetensors, a file a shard", write_shard, read_shard, "all", "yes")


def arrow_ways() -> Iterator[Way]:
    def of_bytes(array: NDArray[np.float32]) -> pa.Array:
        ends = pa.py_buffer(np.array([0, array.nbytes], np.int32))
        return pa.Array.from_buffers(pa.binary(), 1, [None, ends, pa.py_buffer(array)])

    def of_list(array: NDArray[np.float32]) -> pa.Array:
        return pa.ListArray.from_arrays(pa.array([0, array.size], pa.int32()), pa.array(array.reshape(-1)))

    def table(maps: Maps, column: Callable[[NDArray[np.float32]], pa.Array]) -> pa.Table:
        columns: dict[str, pa.Array] = {"path": pa.array(["photo.jpg"])}
        for layer, array in maps.items():
            columns |= {layer: column(array), f"{layer}_shape": pa.array([array.shape], pa.list_(pa.int32(), 3))}
        return pa.table(columns)

    def parquet(column: Callable[[NDArray[np.float32]], pa.Array], **options: Any) -> tuple[Write, Read]:
        def write(out: Path, some: list[Maps]) -> None:
            out.mkdir()
            schema = table(some[0], column).schema
            with (
                (out / "shard.parquet").open("wb") as file,
                pq.ParquetWriter(file, schema, use_dictionary=False, write_statistics=False, **options) as writer,
            ):
                for maps in some:
                    writer.write_table(table(maps, column))

        def read(out: Path, index: int, layer: str) -> NDArray[np.float32]:
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

        def read(out: Path, index: int, layer: str) -> NDArray[np.float32]:
            with pa.memory_map(str(out / "shard.arrow")) as file:
                batch = pa.ipc.open_file(file).get_batch(index)
                values = batch[layer][0].values.to_numpy().reshape(batch[f"{layer}_shape"][0].as_py())
                return np.array(values)

        return write, read

    split = {"column_encoding": {f"{layer}.list.element": "BYTE_STREAM_SPLIT" for layer in SHAPES}}
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


def zarr_ways() -> Iterator[Way]:
    try:
        import zarr
        from zarr.codecs import BloscCodec
    except ImportError:
        return

    def opened(out: Path, mode: str, zipped: bool) -> Any:
        if not zipped:
            return zarr.open_group(out, mode=mode, zarr_format=3)
        out.mkdir(exist_ok=True)
        return zarr.open_group(zarr.storage.ZipStore(out / "shard.zip", mode=mode), mode=mode, zarr_format=3)

    def read_group(out: Path, index: int, layer: str) -> NDArray[np.float32]:
        return np.asarray(opened(out, "r", zipped=False)[f"{index}/{layer}"][:])

    def write_each(out: Path, some: list[Maps]) -> None:
        group = opened(out, "w", zipped=False)
        for index, maps in enumerate(some):
            for layer, array in maps.items():
                group.create_array(f"{index}/{layer}", data=array, chunks=array.shape, compressors=None)

    def layers(*, zipped: bool, compressors: Any = None, at_once: int = 1) -> tuple[Write, Read]:
        def write(out: Path, some: list[Maps]) -> None:
            group, arrays = opened(out, "w", zipped), {}
            for layer, shape in SHAPES.items():
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

        def read(out: Path, index: int, layer: str) -> NDArray[np.float32]:
            return np.asarray(opened(out, "r", zipped)[layer][index])

        return write, read

    blosc = BloscCodec(cname="zstd", clevel=1, shuffle="shuffle", typesize=4)
    yield Way("zarr, an array an image and layer", write_each, read_group, "1", "yes")
    yield Way("zarr, an array a layer", *layers(zipped=False), "1", "no")
    yield Way("zarr, an array a layer, blosc zstd 1", *layers(zipped=False, compressors=blosc), "1", "no")
    yield Way(f"zarr, shards of {SHARDED}", *layers(zipped=False, at_once=SHARDED), f"{SHARDED}", "no")
    yield Way("zarr, an array a layer, in a zip", *layers(zipped=True), "1", "no")


def sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def forget(path: Path) -> None:
    """Out of the page cache."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


SHAPES: dict[str, tuple[int, ...]] = {}
OFFSETS: dict[str, int] = {}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", default="opennsfw")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    first = next(maps_of_samples(arguments.weights))
    for name, array in first.items():
        OFFSETS[name] = sum(4 * int(np.prod(shape)) for shape in SHAPES.values())
        SHAPES[name] = array.shape
    main(**vars(arguments))

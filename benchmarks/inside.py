"""One row from inside its process: where the time goes, and how near the whole is to the engine alone.

    python -m benchmarks.inside LIST WEIGHTS OUT PRECISION DECODE

Prints JSON. extract and the engine alone run in turn, so that both meet the same neighbours. What a run over the first
photos takes is subtracted: compiling the graph, decoding the first pictures, writing the last.
"""

from __future__ import annotations

import json
import resource
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image, JpegImagePlugin

from resnetfea import CompiledEngine, read
from resnetfea.engine import cores
from resnetfea.engine.precision import PRECISIONS, Precision
from resnetfea.features import calibration_photos, images, store
from resnetfea.features.decoding import Decoders
from resnetfea.features.extract import extract
from resnetfea.features.source import file

TURNS = 3
FEW = 8  # images of the run that is subtracted
LAYERS = ("c5",)


def main(source: Path, weights_file: str, out: Path, precision: Precision, decode: images.Decode) -> None:
    weights = read(weights_file)
    paths = source.read_text().splitlines()
    with Decoders(cores.usable()) as decoders:
        decoders.prepare(weights.recipe, decode)
        photos = calibration_photos.of_source(source, decoders)
        engine = CompiledEngine(weights, layers=LAYERS, precision=precision, calibration=photos)
    chosen: dict[str, Any] = {"precision": precision, "decode": decode, "calibration": source}
    pictures = [images.decode(file(path), weights.recipe, decode).pixels for path in paths]
    list(engine.features(pictures[:FEW]))  # compiles
    few = out.with_name("few.txt")
    few.write_text("".join(f"{path}\n" for path in paths[:FEW]))
    count, wanted = len(paths) - FEW, pictures[FEW:]
    turns = []
    for _ in range(TURNS):
        less = extracted(few, out, weights=weights, **chosen)
        turn = {name: took - less[name] for name, took in extracted(source, out, weights=weights, **chosen).items()}
        wall, cpu = time.perf_counter(), time.process_time()
        rows = list(engine.features(wanted))
        turn |= {"engine_wall": time.perf_counter() - wall, "engine_cpu": time.process_time() - cpu}
        turns.append(turn)
    middle = {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}
    within = [turn["wall"] / max(turn["engine_wall"], turn["cpu"] / cores.usable()) for turn in turns]
    parts = decoding(paths, lambda path: images.decode(file(path), weights.recipe, decode))
    parts |= {"network": middle["engine_cpu"] / count, "write": writing(out, rows)}
    parts["rest"] = middle["cpu"] / count - sum(parts.values())
    print(
        json.dumps(
            {
                "within": statistics.median(within),
                "parts": parts,  # CPU seconds an image
            }
        )
    )


def extracted(source: Path, out: Path, **options: Any) -> dict[str, float]:
    """Wall and CPU seconds of extract, from its first word of progress to the end: compiling is in it.

    Of the decoders' processes all CPU time counts, for it is known only when they have ended.
    """
    decoders = children_cpu()
    began: list[float] = []

    def progress(done: int, total: int) -> None:
        if not began:  # told of no image yet: weights are read, and int8 is calibrated
            began.extend((time.perf_counter(), time.process_time()))

    extract(source, out, layers=LAYERS, existing="overwrite", progress=progress, **options)
    cpu = time.process_time() - began[1] + children_cpu() - decoders
    return {"wall": time.perf_counter() - began[0], "cpu": cpu}


def children_cpu() -> float:
    """CPU seconds of all processes that this one has started and seen end."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def decoding(paths: list[str], decode: Callable[[str], Any]) -> dict[str, float]:
    """CPU seconds an image on one thread: read, JPEG (libjpeg-turbo alone), resize, and what decoding adds to them."""
    spent = {"jpeg": 0.0, "resize": 0.0}
    began = time.thread_time()
    for path in paths:
        Path(path).read_bytes()
    reading = time.thread_time() - began
    with (
        timed(JpegImagePlugin.JpegImageFile, "load", spent, "jpeg"),
        timed(Image.Image, "resize", spent, "resize"),
    ):
        began = time.thread_time()
        for path in paths:
            decode(path)
        total = time.thread_time() - began
    if not spent["jpeg"]:
        sys.exit("no JPEG was decoded by Pillow: benchmarks/inside.py must learn who decodes them now")
    whole = {"read": reading, **spent, "beside": total - reading - sum(spent.values())}
    return {name: seconds / len(paths) for name, seconds in whole.items()}


@contextmanager
def timed(owner: Any, name: str, spent: dict[str, float], key: str) -> Iterator[None]:
    """Adds the CPU time of a method's calls to spent[key]. What another such method takes inside is its own."""
    original = getattr(owner, name)

    def wrapper(*arguments: Any, **options: Any) -> Any:
        began, before = time.thread_time(), sum(spent.values())
        try:
            return original(*arguments, **options)
        finally:
            inner = sum(spent.values()) - before
            spent[key] += time.thread_time() - began - inner

    setattr(owner, name, wrapper)
    try:
        yield
    finally:
        setattr(owner, name, original)


def writing(out: Path, rows: list[Any]) -> float:
    """CPU seconds an image of writing a shard of these rows."""
    folder = out.with_name("writing")
    folder.mkdir(exist_ok=True)
    target = store.Store(folder, {layer: len(rows[0][layer]) for layer in LAYERS})
    began = time.process_time()
    target.write_shard(0, [store.Row("photo.jpg", 1, 1, row) for row in rows])
    seconds = time.process_time() - began
    shutil.rmtree(folder)
    return seconds / len(rows)


if __name__ == "__main__":
    (asked,) = (one for one in PRECISIONS if one == sys.argv[4])
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), asked, "fast" if sys.argv[5] == "fast" else "exact")

"""A folder of images to a folder of features."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Literal, NamedTuple

from resnetfea.engine import cores
from resnetfea.engine.layers import Pool, channels, chosen
from resnetfea.engine.precision import INT8_FORMAT, MIN_COSINE, Calibration, Precision, Quality
from resnetfea.errors import ResnetFeaError
from resnetfea.features import calibration_photos, engines, listing, manifest, store
from resnetfea.features.engines import EngineName
from resnetfea.features.folder import Existing, opened, remove_run
from resnetfea.features.images import Decode
from resnetfea.features.inputs import Inputs, spooled
from resnetfea.features.map_store import MapStore
from resnetfea.features.memory import keep_freed
from resnetfea.features.pipeline import Engine, results
from resnetfea.features.source import Source
from resnetfea.features.store import Failure, Row, Store
from resnetfea.network.variant import LAYERS
from resnetfea.weights import Recipe, Weights


class Summary(NamedTuple):
    """What a run did.

    images, failures, shards: all that OUT holds.
    done: images that this run saw.
    start: seconds until the network was ready; seconds: from then to the end.
    quality: what int8 lost on its calibration photos; None of other precisions, and where nothing was left to do.
    """

    images: int
    failures: int
    shards: int
    done: int
    start: float
    seconds: float
    quality: Quality | None


def extract(
    source: str | Path,
    out: str | Path,
    *,
    weights: Weights,
    layers: Sequence[str] = LAYERS,
    pool: Pool = "avg",
    engine: EngineName | Literal["auto"] = "auto",
    precision: Precision | Literal["auto"] = "fp32",
    min_cosine: float = MIN_COSINE,
    calibration: str | Path | None = None,
    decode: Decode = "exact",
    batch: int = 1,
    workers: int | None = None,
    shard_size: int | None = None,
    existing: Existing = "refuse",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Summary:
    """Write the pooled features, or the whole maps, of all images of `source` to `out`.

    Args:
        source: folder, pattern, .txt list, .tar, one image, or the URL of one of these.
        out: folder; made where it is missing.
        weights: what resnetfea.read gave; the recipe is theirs.
        layers: which of c2..c5 and, of weights with a pyramid, p2.., one column each.
        pool: what becomes of a map; "none" keeps it whole (docs/maps.md).
        engine: "openvino" (the compiled cell), "mindspore" (the cell itself), or "auto": the first where it can.
        precision: "fp32", "bf16", "int8", or "auto": the fastest of them here that keeps min_cosine.
        min_cosine: of each photo's averaged maps with those of fp32, that int8 and auto keep.
        calibration: photos that int8 and auto measure themselves on; None for some of `source`.
        decode: "fast" reads large JPEGs at reduced scale (docs/images.md).
        batch: pictures in one request of the compiled engine; the cell takes one at a time.
        workers: decoding threads; None for one each core.
        shard_size: images of one Parquet file; None for 1024, or 64 of whole maps.
        existing: where `out` holds files already: "refuse", "resume" an interrupted run, or "overwrite".
        progress: called with images done and images in all.

    Raises:
        ResnetFeaError: there is nothing to do, `out` can't be used, or the weights do not give these layers.
    """
    layers = chosen(layers, weights)
    began = ready = time.monotonic()
    name = engines.chosen(engine, precision, weights, layers)
    kind = MapStore if pool == "none" else Store
    shard_size = kind.shard_images if shard_size is None else shard_size
    folder = Path(out)
    found = listing.images(source, folder)
    with (
        opened(folder, existing) as before,
        spooled(found.names(), folder / store.INPUTS) as inputs,
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", module=r"PIL\.")  # about odd files; what matters becomes a failure
        if not inputs.count:
            kinds = " ".join(suffix.decode() for suffix in listing.SUFFIXES)
            raise ResnetFeaError(
                f"{source}: no images in it (looked for {kinds}, in sub-folders too; archives need a pattern: '*.tar')"
            )
        photos = _photos(precision, calibration, found, inputs, weights.recipe, decode)
        made = partial(engines.made, name, weights, photos=photos, min_cosine=min_cosine, batch=batch)
        network: engines.ReadyEngine | None = None
        if precision == "auto":
            network = made(precision=precision, layers=layers, pool=pool)
            precision = network.precision
        run = {
            "format": manifest.FORMAT,
            "source": found.where,
            "inputs": inputs.count,
            "inputs_sha256": inputs.sha256,
            **manifest.facts_of(weights),
            "layers": list(layers),
            "pool": pool,
            "precision": precision,
            "calibration": photos.identity if photos else None,
            "min_cosine": min_cosine if photos else None,
            "int8_format": INT8_FORMAT if photos else None,
            "decode": decode,
            "engine": name,
            "engine_version": engines.version(name),
            "shard_size": shard_size,
        }
        if before is not None:
            manifest.check_same(folder, before, run)
            run |= {name: before[name] for name in manifest.OF_QUALITY if name in before}
        sizes = channels(weights)
        target = kind(folder, {layer: sizes[layer] for layer in layers})
        shards = [min(shard_size, inputs.count - first) for first in range(0, inputs.count, shard_size)]
        anew = existing == "overwrite"
        todo = {index for index, images in enumerate(shards) if anew or not target.finished(index, images)}
        saved = sum(images for index, images in enumerate(shards) if index not in todo)
        if todo:
            network = network or made(precision=precision, layers=layers, pool=pool)  # before OUT is touched
            run |= manifest.facts_of_quality(network.quality)
            if anew:
                remove_run(folder)
            store.write_manifest(folder, {"complete": False, **run})
            progress(saved, inputs.count)
            network.prepare()
            ready = time.monotonic()
            keep_freed()
            parts = (part for index, part in enumerate(inputs.parts(shard_size)) if index in todo)
            names = chain.from_iterable(parts)
            with _results(network, found, names, weights.recipe, decode, workers or cores.usable()) as some:
                stream = _counted(some, progress, saved, inputs.count)
                for index in sorted(todo):  # one stream, so that nothing stands still while a shard is finished
                    target.write_shard(index, islice(stream, shards[index]))
        rows, failed = target.finish(len(shards), run)
    quality = network.quality if network else None
    start, seconds = ready - began, time.monotonic() - ready
    return Summary(rows, failed, len(shards), inputs.count - saved, start, seconds, quality)


def _photos(
    precision: Precision | Literal["auto"],
    calibration: str | Path | None,
    source: Source,
    inputs: Inputs,
    recipe: Recipe,
    mode: Decode,
) -> Calibration | None:
    """What int8 and auto are measured on: the user's, or some of the run's own."""
    if precision not in ("int8", "auto"):
        return None
    if calibration is not None:
        return calibration_photos.of_source(calibration, recipe, mode)
    return calibration_photos.of_names(source, inputs.names(), inputs.count, recipe, mode)


@contextmanager
def _results(
    network: Engine, source: Source, names: Iterator[bytes], recipe: Recipe, mode: Decode, threads: int
) -> Iterator[Iterator[Row | Failure]]:
    """Rows and failures, by decoding threads of their own.

    What waits in their queue is dropped when the run ends early, so that Ctrl-C is quick.
    """
    decoders = ThreadPoolExecutor(threads)
    try:
        yield results(source, names, recipe=recipe, engine=network, decoders=decoders, ahead=2 * threads, mode=mode)
    finally:
        decoders.shutdown(cancel_futures=True)


def _counted(
    some: Iterator[Row | Failure], progress: Callable[[int, int], None], done: int, total: int
) -> Iterator[Row | Failure]:
    """Passes results on and tells `progress` of each."""
    for result in some:
        done += 1
        progress(done, total)
        yield result

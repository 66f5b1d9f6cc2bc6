"""A folder of images to a folder of features."""

from __future__ import annotations

import json
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NamedTuple

from resnetfea.engine import cores
from resnetfea.engine.export import check_exportable
from resnetfea.engine.layers import Pool, channels, chosen
from resnetfea.errors import ResnetFeaError
from resnetfea.features import listing, store
from resnetfea.features.folder import Existing, opened, remove_run
from resnetfea.features.inputs import spooled
from resnetfea.features.map_store import MapStore
from resnetfea.features.pipeline import Engine, results
from resnetfea.features.store import Failure, Row, Store
from resnetfea.network.variant import LAYERS
from resnetfea.weights import Weights

log = logging.getLogger("resnetfea")
FORMAT = 1  # of OUT; raised when an old run can't be resumed by a newer program
RESULTS = ("complete", "images", "failures", "shards")  # in the manifest, but not what a run is made from
EngineName = Literal["openvino", "mindspore"]


class Summary(NamedTuple):
    """What a run did.

    images, failures, shards: all that OUT holds.
    done: images that this run saw.
    start: seconds until the network was ready; seconds: from then to the end.
    """

    images: int
    failures: int
    shards: int
    done: int
    start: float
    seconds: float


def extract(
    source: str | Path,
    out: str | Path,
    *,
    weights: Weights,
    layers: Sequence[str] = LAYERS,
    pool: Pool = "avg",
    engine: EngineName | Literal["auto"] = "auto",
    batch: int = 1,
    workers: int | None = None,
    shard_size: int | None = None,
    existing: Existing = "refuse",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Summary:
    """Write the pooled features, or the whole maps, of all images of `source` to `out`.

    Args:
        source: folder, .txt list, or one image.
        out: folder; made where it is missing.
        weights: what resnetfea.read gave; the recipe is theirs.
        layers: which of c2..c5 and, of weights with a pyramid, p2.., one column each.
        pool: what becomes of a map; "none" keeps it whole (docs/maps.md).
        engine: "openvino" (the compiled cell), "mindspore" (the cell itself), or "auto": the first where it can.
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
    name = _chosen(engine, weights, layers)
    kind = MapStore if pool == "none" else Store
    shard_size = kind.shard_images if shard_size is None else shard_size
    found = listing.images(source)
    folder = Path(out)
    with (
        opened(folder, existing) as before,
        spooled(found.names, folder / store.INPUTS) as inputs,
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", module=r"PIL\.")  # about odd files; what matters becomes a failure
        if not inputs.count:
            kinds = " ".join(suffix.decode() for suffix in listing.SUFFIXES)
            raise ResnetFeaError(f"{source}: no images in it (looked for {kinds}, in sub-folders too)")
        manifest = {
            "format": FORMAT,
            "source": listing.shown(os.path.abspath(os.fsencode(source))),
            "inputs": inputs.count,
            "inputs_sha256": inputs.sha256,
            "weights": weights.identity,
            "variant": asdict(weights.variant),
            "recipe": asdict(weights.recipe),
            "recipe_of": weights.recipe_of,
            "layers": list(layers),
            "pool": pool,
            "precision": "fp32",
            "decode": "exact",
            "engine": name,
            "engine_version": _engine_version(name),
            "shard_size": shard_size,
        }
        if before is not None:
            _check_same(folder, before, manifest)
        sizes = channels(weights)
        target = kind(folder, {layer: sizes[layer] for layer in layers})
        shards = [min(shard_size, inputs.count - first) for first in range(0, inputs.count, shard_size)]
        anew = existing == "overwrite"
        todo = {index for index, images in enumerate(shards) if anew or not target.finished(index, images)}
        saved = sum(images for index, images in enumerate(shards) if index not in todo)
        if todo:
            network = _engine(name, weights, layers=layers, pool=pool, batch=batch)  # before OUT is touched
            if anew:
                remove_run(folder)
            store.write_manifest(folder, {"complete": False, **manifest})
            ready = time.monotonic()
            count = _counter(progress, saved, inputs.count)
            threads = workers or cores.usable()
            with _decoders(threads) as decoders:
                options: dict[str, Any] = {
                    "recipe": weights.recipe,
                    "engine": network,
                    "decoders": decoders,
                    "ahead": 2 * threads,
                }
                for index, names in enumerate(inputs.parts(shard_size)):
                    if index in todo:
                        target.write_shard(index, count(results(found.base, names, **options)))
        rows, failed = target.finish(len(shards), manifest)
    return Summary(rows, failed, len(shards), inputs.count - saved, ready - began, time.monotonic() - ready)


def _counter(
    progress: Callable[[int, int], None], done: int, total: int
) -> Callable[[Iterator[Row | Failure]], Iterator[Row | Failure]]:
    """Passes results on and tells `progress` of each."""

    def count(some: Iterator[Row | Failure]) -> Iterator[Row | Failure]:
        nonlocal done
        for result in some:
            done += 1
            progress(done, total)
            yield result

    progress(done, total)
    return count


@contextmanager
def _decoders(threads: int) -> Iterator[Executor]:
    """Decoding threads. What waits in their queue is dropped when the run ends early, so that Ctrl-C is quick."""
    decoders = ThreadPoolExecutor(threads)
    try:
        yield decoders
    finally:
        decoders.shutdown(cancel_futures=True)


def _chosen(engine: EngineName | Literal["auto"], weights: Weights, layers: Sequence[str]) -> EngineName:
    """The compiled engine where what these layers need has an export, and a line where it has none."""
    if engine != "auto":
        return engine
    try:
        check_exportable(weights, pyramid=not set(layers) <= set(LAYERS))
    except ResnetFeaError as error:
        log.info("%s", error)
        return "mindspore"
    return "openvino"


def _engine_version(name: EngineName) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError as error:
        raise ResnetFeaError(f"--engine {name} needs the package {name}: pip install {name}") from error


def _engine(name: EngineName, weights: Weights, *, batch: int, **options: Any) -> Engine:
    """Imported here: each engine brings a framework that the other does not need."""
    if name == "mindspore":
        from resnetfea.engine.mindspore_engine import MindSporeEngine

        return MindSporeEngine(weights, **options)
    from resnetfea.engine.compiled import CompiledEngine

    return CompiledEngine(weights, batch=batch, **options)


def _check_same(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """An interrupted run goes on only as what it was."""
    then = {name: value for name, value in before.items() if name not in RESULTS}
    now = json.loads(json.dumps(now))  # as the file has it: tuples as lists
    differing = sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))
    if differing:
        raise ResnetFeaError(
            f"{folder}: cannot be resumed, these differ from the run that began it: {', '.join(differing)}; "
            "give the same, or use --overwrite to start anew"
        )

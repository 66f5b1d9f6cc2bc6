"""A folder of images to a folder of features."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from resnetfea.engine import cores
from resnetfea.engine.layers import Pool, channels, chosen
from resnetfea.engine.precision import MIN_COSINE, Precision
from resnetfea.features import cluster_ray, engines, listing, store
from resnetfea.features.engines import EngineName
from resnetfea.features.folder import Existing, opened
from resnetfea.features.images import Decode
from resnetfea.features.limits import Limits
from resnetfea.features.map_store import MapStore
from resnetfea.features.run import Progress, Run, Summary
from resnetfea.features.store import Store
from resnetfea.features.work import Work
from resnetfea.network.variant import LAYERS
from resnetfea.weights import Weights


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
    limits: Limits | None = None,
    batch: int = 1,
    workers: int | None = None,
    shard_size: int | None = None,
    existing: Existing = "refuse",
    retry_failed: bool = False,
    update: bool = False,
    cluster: str | None = None,
    progress: Progress = lambda done, total: None,
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
        limits: beyond which an image is a failure; None for those of Limits.
        batch: pictures in one request of the compiled engine; the cell takes one at a time.
        workers: processes that decode; None for one each core. Of a cluster: processes that compute whole shards; None
            for one on each node.
        shard_size: images of one Parquet file; None for 1024, or 64 of whole maps, or what a run that goes on has.
        existing: where `out` holds files already: "refuse", "resume" an interrupted run, or "overwrite".
        retry_failed: with "resume": go through the failures again, too.
        update: with "resume": take in what has come into the source since, as further shards.
        cluster: "local", or the address of a running Ray, whose workers compute the shards (docs/scale.md).
        progress: called with images done and images in all.

    Raises:
        ResnetFeaError: there is nothing to do, `out` can't be used, or the weights do not give these layers.
    """
    if cluster is not None:
        cluster_ray.check(cluster)
    layers, limits = chosen(layers, weights), limits or Limits()
    kind = MapStore if pool == "none" else Store
    folder, sizes = Path(out), channels(weights)
    run = Run(
        source=listing.images(source, folder, limits.bytes),
        work=Work(
            weights=weights,
            layers=tuple(layers),
            pool=pool,
            engine=engines.chosen(engine, precision, weights, layers),
            precision=precision,
            photos=None,
            min_cosine=min_cosine,
            batch=batch,
            decode=decode,
            limits=limits,
            workers=cores.usable() if cluster or not workers else workers,
        ),
        calibration=calibration,
        target=kind(folder, {layer: sizes[layer] for layer in layers}),
        shard_size=shard_size,
        retry_failed=retry_failed,
        progress=progress,
        cluster=cluster,
        cluster_workers=workers,
    )
    with opened(folder, existing) as before:
        if before is None:
            return run.anew(overwrite=existing != "refuse")
        if not update or before["complete"]:
            return run.again(before, "take" if update else "refuse")
        first = replace(run, retry_failed=False).again(before, "leave")  # what was begun, then what is new
        then = replace(run, began=time.monotonic()).again(store.read_manifest(folder), "take")
        start, seconds = first.start + then.start, first.seconds + then.seconds
        return then._replace(done=first.done + then.done, start=start, seconds=seconds)

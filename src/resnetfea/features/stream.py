"""resnetfea.extract: images in, features out, for programs that want no files."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from resnetfea.engine import cores
from resnetfea.engine.layers import Pool, chosen
from resnetfea.engine.precision import MIN_COSINE, Precision
from resnetfea.errors import ResnetFeaError
from resnetfea.features import calibration_photos, engines, listing
from resnetfea.features.engines import EngineName
from resnetfea.features.images import Decode
from resnetfea.features.limits import Limits
from resnetfea.features.source import Named, file
from resnetfea.features.store import Failure, Row
from resnetfea.features.work import Work
from resnetfea.network.variant import LAYERS
from resnetfea.weights import Weights, read

Image = str | Path | tuple[str, bytes]  # a file's path; or any name, and the content of a file


def extract(
    images: str | Path | Iterable[Image],
    *,
    weights: str | Path | Weights = "opennsfw",
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
) -> Generator[Row | Failure]:
    """The features of images, one after another in their order, without any file.

    A broken image is a Failure and ends nothing, as in `resnetfea extract`, and rows have the same numbers. The network
    is made, and processes that decode are started, when the first result is asked for; closing the generator ends them.
    It takes up to some four images for each worker more than it has given back.

    Args:
        images: a source as the command's SRC (a folder, a .txt list, ...), or paths, or names with files' contents.
        weights: a file, URL or known name, or what resnetfea.read gave.
        layers, pool, engine, precision, min_cosine, decode, limits, batch: as the command's.
        calibration: photos that int8 and auto measure themselves on; None for some of a source.
        workers: processes that decode; None for one each core.

    Yields:
        For each image a Row (path, width, height, features by layer: (C,), or (C, H, W) with pool="none") or a Failure
        (path, kind, reason).

    Raises:
        ResnetFeaError: the weights or the source can't be used.
    """
    found = weights if isinstance(weights, Weights) else read(weights)
    asked = chosen(layers, found)
    work = Work(
        weights=found,
        layers=tuple(asked),
        pool=pool,
        engine=engines.chosen(engine, precision, found, asked),
        precision=precision,
        photos=None,
        min_cosine=min_cosine,
        batch=batch,
        decode=decode,
        limits=limits or Limits(),
        workers=workers or cores.usable(),
    )
    if isinstance(images, str | Path):
        source = listing.images(images)
        named: Iterable[Named] = (Named(source.shown(name), source.content(name)) for name in source.names())
        calibration = calibration or images
    else:
        named = map(_named, images)
    measures = precision in ("int8", "auto")
    if measures and calibration is None:
        raise ResnetFeaError(f"precision={precision!r} is measured on photos; give some with calibration=FOLDER")
    return _results(work, named, calibration if measures else None)


def _results(work: Work, named: Iterable[Named], calibration: str | Path | None) -> Generator[Row | Failure]:
    with work.decoders() as decoders:
        if calibration is not None:
            work = replace(work, photos=calibration_photos.of_source(calibration, decoders))
        with work.results(named, work.network(), decoders) as results:
            yield from results


def _named(image: Image) -> Named:
    if isinstance(image, tuple):
        name, content = image
        return Named(name, partial(bytes, content))
    return Named(listing.shown(os.fsencode(image)), file(image))

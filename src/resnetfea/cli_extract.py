"""`resnetfea extract`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from resnetfea.cli_ahead import imported
from resnetfea.cli_collector import resting
from resnetfea.cli_output import SOME_FAILED, OfflineOption, errors, number, text
from resnetfea.errors import printable
from resnetfea.features.limits import Limits


class Engine(StrEnum):
    auto = "auto"
    openvino = "openvino"
    mindspore = "mindspore"


class Pool(StrEnum):
    avg = "avg"
    max = "max"
    none = "none"


class Precision(StrEnum):
    fp32 = "fp32"
    bf16 = "bf16"
    int8 = "int8"
    auto = "auto"


class Decode(StrEnum):
    exact = "exact"
    fast = "fast"


WeightsOption = Annotated[
    str, typer.Option("--weights", "-w", help="Weights file (.pth .safetensors .ckpt .onnx), URL, or known name.")
]


def extract(
    source: Annotated[  # no Path: it makes s3:/x of s3://x
        str,
        typer.Argument(metavar="SRC", help="Folder of images, 'a/**/*.jpg', .txt list, .tar, one image, or their URL."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="OUT", help="Folder for the features.")],
    weights: WeightsOption = "opennsfw",
    layers: Annotated[
        str, typer.Option(help="Which of c2,c3,c4,c5, of a feature pyramid p2,p3,..,p7 too.")
    ] = "c2,c3,c4,c5",
    pool: Annotated[Pool, typer.Option(help="What becomes of a layer's map; none keeps it whole.")] = Pool.avg,
    precision: Annotated[
        Precision, typer.Option(help="Arithmetic of the network; auto is the fastest here that keeps --min-cosine.")
    ] = Precision.fp32,
    min_cosine: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="What int8 and auto keep, of each photo's features with those of fp32.",
            show_default="0.99",
        ),
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(metavar="PHOTOS", help="What int8 and auto measure themselves on.", show_default="64 of SRC"),
    ] = None,
    engine: Annotated[
        Engine, typer.Option(help="auto is openvino, compiled from the MindSpore cell, where it can be.")
    ] = Engine.auto,
    decode: Annotated[Decode, typer.Option(help="fast reads large JPEGs at reduced scale.")] = Decode.exact,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Decoding processes; of a --cluster: processes that compute.",
            show_default="one each core; one each node",
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="local|HOST:PORT", help="Compute on Ray: of this machine, or one whose head is there."),
    ] = None,
    max_pixels: Annotated[int, typer.Option(min=1, help="An image of more is a failure.")] = Limits.pixels,
    max_bytes: Annotated[int, typer.Option(min=1, help="A file of more is a failure.")] = Limits.bytes,
    max_seconds: Annotated[
        float, typer.Option(min=0.001, help="An image that takes longer to read and decode is a failure.")
    ] = Limits.seconds,
    batch: Annotated[int, typer.Option(min=1, help="Pictures that the network takes at a time.")] = 1,
    shard_size: Annotated[
        int | None, typer.Option(min=1, help="Images of one Parquet file.", show_default="1024; of whole maps 64")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="As --resume, and go through the failures again.")
    ] = False,
    update: Annotated[
        bool, typer.Option("--update", help="As --resume, and take in what is new in SRC, as further files.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove an earlier run in OUT first.")] = False,
    offline: OfflineOption = False,
) -> None:
    """Features of a folder of images, as Parquet files.

    Writes OUT/features-NNNNN.parquet (path, width, height, one column each layer: pooled, or its whole map),
    OUT/failures.parquet (path, kind, reason) and OUT/manifest.json. A broken image is a row in the failures and never
    ends the run.

    \b
    Examples:
      resnetfea extract photos/ -o features/
      resnetfea extract photos/ -o features/ --weights imagenet --layers c5
      resnetfea extract 'shards/*.tar' -o features/
      resnetfea extract photos/ -o features/ --resume
      resnetfea extract photos/ -o features/ --update --retry-failed
      resnetfea extract photos/ -o maps/ --pool none

    Exit codes: 0 all done; 1 a fatal error; 2 wrong usage; 3 done, but some images failed; 130 interrupted, 143 by
    SIGTERM.
    """
    resume = resume or retry_failed or update
    if resume and overwrite:
        raise typer.BadParameter(
            "it starts anew, so not with --resume, --retry-failed, --update", param_hint="--overwrite"
        )
    for flag, given in (("--min-cosine", min_cosine), ("--calibration", calibration)):
        if given is not None and precision not in (Precision.int8, Precision.auto):
            raise typer.BadParameter(f"{flag} is for --precision int8 or auto", param_hint=flag)
    wanted = _layers(layers)
    with errors(), resting():
        from resnetfea.features.progress import bar, download_bar
        from resnetfea.weights import read

        needed = ["resnetfea.features.extract"]
        if engine != Engine.mindspore:
            needed.append("resnetfea.engine.compiled")
        with imported(*needed), download_bar() as progress:
            found = read(weights, offline=offline, progress=progress)
        from resnetfea.engine.precision import MIN_COSINE
        from resnetfea.features.extract import extract as run
    with errors(out):
        if found.recipe_of.startswith("assumed"):
            typer.echo(f"{found.path}: its recipe is not known; {found.recipe_of} (see `inspect`)", err=True)
        with bar() as progress:
            done = run(
                source,
                out,
                weights=found,
                layers=wanted,
                pool=pool.value,
                engine=engine.value,
                precision=precision.value,
                min_cosine=MIN_COSINE if min_cosine is None else min_cosine,
                calibration=calibration,
                decode=decode.value,
                limits=Limits(pixels=max_pixels, bytes=max_bytes, seconds=max_seconds),
                batch=batch,
                workers=workers,
                shard_size=shard_size,
                existing="resume" if resume else "overwrite" if overwrite else "refuse",
                retry_failed=retry_failed,
                update=update,
                cluster=cluster,
                progress=progress,
            )
    typer.echo(f"{text(out)}/features-*.parquet: {number(done.images, 'image')} in {number(done.shards, 'file')}")
    if done.new:
        typer.echo(f"{number(done.new, 'image')} new in {text(source)}")
    if done.vanished:
        some = ", ".join(done.some) + (", ..." if done.vanished > len(done.some) else "")
        typer.echo(printable(f"{done.vanished} not in {text(source)} any more, kept in OUT: {some}"))
    if done.done:
        rate = f"{number(done.done, 'image')} in {done.seconds:.1f} s, {done.done / done.seconds:.1f} a second"
        typer.echo(f"this run: {rate}, after {done.start:.1f} s to start")
    if done.quality:
        layer, cosine = min(done.quality.worst.items(), key=lambda one: one[1])
        kept = f"{number(len(done.quality.kept), 'block')} in floating point"
        photos = number(done.quality.photos, "photo")
        typer.echo(f"int8, {kept}: smallest cosine with fp32 on {photos} {cosine:.4f} ({layer})")
    if done.failures:
        typer.echo(f"{done.failures} failed; {text(out)}/failures.parquet says which and why", err=True)
        raise typer.Exit(SOME_FAILED)


def _layers(text: str) -> list[str]:
    """The layers asked for, in the network's order."""
    from resnetfea.network.variant import LAYERS
    from resnetfea.weights.fpn_names import MAPS

    asked = [name.strip() for name in text.split(",")]
    unknown = [name for name in asked if name not in (*LAYERS, *MAPS)]
    if unknown:
        raise typer.BadParameter(
            f"there is no layer {', '.join(unknown)!r}; choose from c2,c3,c4,c5, or p2,..,p7", param_hint="--layers"
        )
    return [layer for layer in (*LAYERS, *MAPS) if layer in asked]

"""`resnetfea bench`."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from resnetfea.cli_output import OfflineOption, errors, number, text
from resnetfea.errors import printable


def bench(
    source: Annotated[
        str | None,
        typer.Argument(metavar="[SRC]", help="Photos of yours: folder, .txt list, image.", show_default="drawn ones"),
    ] = None,
    weights: Annotated[str, typer.Option("--weights", "-w", help="Weights file, URL, or known name.")] = "opennsfw",
    seconds: Annotated[float, typer.Option(min=0.1, help="How long each engine and precision runs.")] = 10,
    price_per_hour: Annotated[
        float | None, typer.Option(min=0, help="Of this machine, in any currency: for the cost of a million images.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    offline: OfflineOption = False,
) -> None:
    """How fast this machine is: images per second of each engine and precision, from the file to the pooled features.

    They run in turns, so that other work on the machine meets all alike; ONNX Runtime runs the exported network beside
    them. The rate is the median of five turns, behind it the slowest and the fastest.

    \b
    Examples:
      resnetfea bench
      resnetfea bench photos/ --weights imagenet --price-per-hour 0.34
      resnetfea bench photos/ --seconds 30 --json
    """
    with errors():
        from resnetfea.bench.run import bench as run
        from resnetfea.features.progress import bar, download_bar
        from resnetfea.weights import read

        with download_bar() as progress:
            found = read(weights, offline=offline, progress=progress)
        with bar() as progress:
            told = run(found, weights, source, seconds=seconds, price_per_hour=price_per_hour, progress=progress)
    if as_json:
        typer.echo(json.dumps(told, indent=2))
        return
    for line in _table(told):
        typer.echo(text(printable(line)))


def _table(told: dict[str, Any]) -> list[str]:
    machine, photos = told["machine"], told["photos"]
    lines = [
        f"{machine['cpu']} ({machine['cpu_isa']}), {number(machine['cores'], 'core')}",
        f"{number(photos['count'], 'photo')} of {photos['mean_kilobytes']} kB on average ({photos['source']}); "
        f"{told['weights']}, {','.join(told['layers'])}",
        "",
    ]
    heads = ["engine", "precision", "images/s", "slowest..fastest", "x ONNX Runtime", "hours/million"]
    priced = told["price_per_hour"] is not None
    lines.append(_line([*heads, *(["cost/million"] if priced else [])]))
    for row in told["rows"]:
        times = row["times_onnxruntime"]
        cells = [row["engine"], row["precision"], f"{row['images_per_second']:.1f}"]
        cells += [f"{row['slowest']:.1f}..{row['fastest']:.1f}", f"{times:.2f}" if times else "-"]
        cells += [f"{row['hours_per_million']:.1f}", *([f"{row['cost_per_million']:.2f}"] if priced else [])]
        lines.append(_line(cells))
    for one in told["not_run"]:
        lines.append(f"{one['engine']} {one['precision']}: not run, {one['reason']}")
    return lines


def _line(cells: list[str]) -> str:
    widths = (12, 10, 10, 18, 16, 15, 14)
    return "".join(
        cell.ljust(width) if place < 2 else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=False))
    ).rstrip()

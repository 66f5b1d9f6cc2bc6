"""`resnetfea diagnose`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from resnetfea.cli_output import FATAL, OfflineOption, errors, text
from resnetfea.errors import printable

if TYPE_CHECKING:
    from resnetfea.parity.diagnose import Diagnosis


def diagnose(
    weights: Annotated[str, typer.Argument(metavar="W", help="Weights file, URL, or known name: what is right.")],
    against: Annotated[str, typer.Option(metavar="REF", help="Trace (.npz), .onnx, or weights, of what differs.")],
    image: Annotated[Path | None, typer.Option(help="Photo that a trace's input was made of.")] = None,
    tol: Annotated[float, typer.Option(min=1e-6, help="Largest max|a-b| / max|b| of a layer that agrees.")] = 1e-5,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    offline: OfflineOption = False,
) -> None:
    """Why does REF give other numbers than W? Names the settings and layers that explain it, with the evidence.

    Searched are the settings in which ResNets differ (stride place, pooling, padding, epsilon, dilation, ...), how the
    input is made (colours, scale, mean, std, resize: where the trace has its picture, or --image gives its photo),
    norms in training mode or never loaded, layers with other numbers, and pairs of these.

    \b
    Examples:
      resnetfea trace-script > tracing.py             # trace the port that is off, then
      resnetfea diagnose resnet50-0676ba61.pth --against trace.npz
      resnetfea diagnose imagenet --against port.onnx --json

    Exit codes: 0 all is explained, or nothing differs; 1 something stays unexplained, or can't be read; 2 wrong usage.
    """
    with errors():
        from resnetfea.features.progress import download_bar
        from resnetfea.parity.diagnose import diagnose as run
        from resnetfea.parity.reference import is_trace, reference
        from resnetfea.weights import read

        with download_bar() as progress:
            found = read(weights, offline=offline, progress=progress)
            photo = image if is_trace(against) else None
            given = reference(against, found, image=None if photo else image, offline=offline, progress=progress)
        diagnosis = run(found, given, photo=photo, tolerance=tol)
    if as_json:
        typer.echo(json.dumps(diagnosis.facts(), indent=2))
    else:
        _show(diagnosis)
    if diagnosis.unexplained:
        raise typer.Exit(FATAL)


def _show(diagnosis: Diagnosis) -> None:
    """A paragraph for each difference, and one sentence."""
    from resnetfea.parity.diagnose import sentence
    from resnetfea.parity.settings import LOADED

    for one in diagnosis.differences:
        instead = "" if one.expected == LOADED else f", where these weights want {_value(one.expected)}"
        typer.echo(text(printable(f"{one.setting}: {_value(one.found)}{instead}")))
        typer.echo(text(printable(f"    {one.evidence}")))
    for note in diagnosis.notes:
        typer.echo(text(printable(f"note: {note}")), err=True)
    typer.echo(text(printable(sentence(diagnosis))))


def _value(value: Any) -> str:
    return " ".join(map(_value, value)) if isinstance(value, list | tuple) else str(value)

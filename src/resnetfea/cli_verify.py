"""`resnetfea verify` and `resnetfea trace-script`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resnetfea.cli_output import FATAL, SHOWN, OfflineOption, errors, text
from resnetfea.errors import printable

if TYPE_CHECKING:
    from resnetfea.parity.compare import Row
    from resnetfea.parity.verify import Verdict

WIDTH = 100  # columns of the table, also where stdout is a file


def verify(
    weights: Annotated[str, typer.Argument(metavar="W", help="Weights file, URL, or known name.")],
    against: Annotated[str, typer.Option(metavar="REF", help="Trace (.npz), .onnx of the original, or weights.")],
    image: Annotated[
        Path | None, typer.Option(help="Picture to run on; beside a trace: the one it was made of.")
    ] = None,
    tol: Annotated[float, typer.Option(min=0, help="Largest max|a-b| / max|b| of a layer that agrees.")] = 1e-5,
    isolate: Annotated[bool, typer.Option("--isolate", help="Give each layer the reference's own input.")] = False,
    gradients: Annotated[bool, typer.Option("--gradients", help="Compare gradients too, within 10 x TOL.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    offline: OfflineOption = False,
) -> None:
    """Layer by layer: does W, run here, give the reference's numbers? Says where and how much it first differs.

    A trace holds what another program's network made of one input; `resnetfea trace-script` prints the lines that write
    one from PyTorch. An ONNX has its outputs named c2 to c5. A weights file is run here, as it wants to be run. Of
    these two, which have no input of their own, the picture is noise where no --image is given.

    \b
    Examples:
      resnetfea trace-script > tracing.py
      resnetfea verify resnet50.ckpt --against trace.npz
      resnetfea verify resnet50.ckpt --against resnet50-0676ba61.pth --isolate

    Exit codes: 0 all agree; 1 something differs, or can't be read; 2 wrong usage.
    """
    with errors():
        from resnetfea.features.progress import download_bar
        from resnetfea.parity.reference import reference
        from resnetfea.parity.verify import verify as run
        from resnetfea.weights import read

        with download_bar() as progress:
            found = read(weights, offline=offline, progress=progress)
            given = reference(against, found, image=image, offline=offline, progress=progress)
        for note in given.notes:
            typer.echo(text(printable(f"{against}: {note}")), err=True)
        verdict = run(found, given, tolerance=tol, isolate=isolate, with_gradients=gradients)
    if as_json:
        typer.echo(json.dumps(verdict.facts(), indent=2))
    else:
        _show(verdict)
    if verdict.first is not None:
        raise typer.Exit(FATAL)


def trace_script() -> None:
    """The lines to paste beside any PyTorch model, to write a trace for `verify` (docs/trace.md has the format).

    \b
    Example:
      resnetfea trace-script > tracing.py     # then: from tracing import trace; trace(model.eval(), x)
    """
    from resnetfea.parity.trace_script import SCRIPT

    typer.echo(SCRIPT, nl=False)


def _show(verdict: Verdict) -> None:
    """The table, and one sentence."""
    from rich.console import Console
    from rich.table import Table

    from resnetfea.parity.verify import LOOSER, sentence

    table = Table(box=None, pad_edge=False)
    for title in ("layer", "shape", "max_abs", "max_rel", "cosine", ""):
        table.add_column(title, justify="left" if title in ("layer", "") else "right", no_wrap=True)
    for rows, tolerance in ((verdict.rows, verdict.tolerance), (verdict.gradients, LOOSER * verdict.tolerance)):
        for row in rows:
            mark = "" if row.within(tolerance) else "<- first to differ" if row is verdict.first else "differs"
            table.add_row(*_cells(row), mark)
    Console(width=WIDTH, highlight=False, markup=False).print(table)
    if verdict.not_compared:
        first = ", ".join(verdict.not_compared[:SHOWN]) + (", ..." if len(verdict.not_compared) > SHOWN else "")
        typer.echo(text(printable(f"not compared ({len(verdict.not_compared)}): {first}")))
    typer.echo(sentence(verdict))
    if verdict.first is not None:
        typer.echo("`resnetfea diagnose` with the same W and REF searches why", err=True)


def _cells(row: Row) -> tuple[str, ...]:
    numbers = (f"{row.max_abs:.2e}", f"{row.max_rel:.2e}", f"{row.cosine:.6f}")
    return row.name, " ".join(map(str, row.shape)), *numbers

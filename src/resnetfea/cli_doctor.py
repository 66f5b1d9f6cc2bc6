"""`resnetfea doctor`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from resnetfea.cli_output import errors, show, text
from resnetfea.errors import printable


def doctor(
    measure: Annotated[
        bool, typer.Option("--measure", help="Run MindSpore's convolutions for some seconds, to say how fast they are.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """What this machine can and cannot do well: CPU, cores, limits in force, versions, cache, and what to change.

    \b
    Examples:
      resnetfea doctor
      resnetfea doctor --measure
      resnetfea doctor --json
    """
    from resnetfea.engine.advice import advice
    from resnetfea.engine.doctor import facts

    with errors():
        found = facts()
        if measure:
            from resnetfea.engine.convolution_speed import measure as run

            found |= run()
        lines = advice(found)
        if as_json:
            typer.echo(json.dumps(found | {"advice": lines}, indent=2))
            return
        found["cache_size"] = f"{found.pop('cache_bytes') / 1e6:.0f} MB"
        show({name: "none" if value is None else value for name, value in found.items()}, as_json=False)
        typer.echo("\nwhat to change:" if lines else "\nnothing to change")
        for line in lines:
            typer.echo(printable(text(f"  {line}")))

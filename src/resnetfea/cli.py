"""The command line: each command is a thin call."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict
from typing import Annotated, TextIO

import typer

from resnetfea import __version__
from resnetfea.cli_bench import bench
from resnetfea.cli_collector import stop_at_the_end
from resnetfea.cli_convert import convert
from resnetfea.cli_diagnose import diagnose
from resnetfea.cli_doctor import doctor
from resnetfea.cli_extract import extract
from resnetfea.cli_output import OfflineOption, errors, show
from resnetfea.cli_verify import trace_script, verify

app = typer.Typer(
    name="resnetfea",
    help="ResNet-50 image features that equal the original's, number for number.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
)
app.command()(extract)


JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


@app.command()
def inspect(
    weights: Annotated[str, typer.Argument(metavar="W", help="Weights file, URL, or known name.")],
    as_json: JsonOption = False,
    offline: OfflineOption = False,
) -> None:
    """What a weights file is: container, ecosystem, variant, recipe, and what is missing or left over.

    \b
    Examples:
      resnetfea inspect resnet50-0676ba61.pth
      resnetfea inspect opennsfw --json
    """
    with errors():
        from resnetfea.features.progress import download_bar
        from resnetfea.weights import look

        with download_bar() as progress:
            found = look(weights, offline=offline, progress=progress)
    facts = {
        "file": str(found.path),
        "container": found.container,
        "ecosystem": found.ecosystem,
        "variant": asdict(found.variant),
        "recipe": asdict(found.recipe),
        "recipe_of": found.recipe_of,
        "assumed": found.assumed,
        "sha256": found.sha256,
        "wrapper": found.wrapper,
        "tensors": found.count,
        "classifier": len(found.fc.get("fc.bias", ())),
        "fpn": len(found.fpn),
        "missing": found.missing,
        "unused": found.unused,
        "problems": found.problems,
    }
    show(facts, as_json)


@app.command()
def weights(as_json: JsonOption = False) -> None:
    """The weights that are known by name: what they are, licence, size, whether a sha256 is known, what is cached.

    \b
    Examples:
      resnetfea weights --json
      resnetfea extract photos/ -o features/ --weights imagenet
    """
    with errors():
        from resnetfea.weights.locate import facts

        found = facts()
    if as_json:
        typer.echo(json.dumps({"weights": found}, indent=2))
        return
    for one in found:
        size = f"{one['size'] / 1e6:.0f} MB" if one["size"] else "-"
        known = "sha256" if one["sha256"] else "first use"
        here = "cached" if one["cached"] else "-"
        typer.echo(f"{one['name']:15} {size:>6}  {known:9}  {here:6}  {one['licence']:23}  {one['what']}")


app.command()(convert)
app.command()(verify)
app.command()(diagnose)
app.command("trace-script")(trace_script)
app.command()(doctor)
app.command()(bench)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"resnetfea {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    stop_at_the_end()
    logging.basicConfig(format="%(message)s", handlers=[_Stderr()])
    logging.getLogger("resnetfea").setLevel(logging.INFO)
    logging.getLogger("PIL").setLevel(logging.CRITICAL)  # what is wrong with a picture stands in the failures


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what sys.stderr is when it writes: while a bar is shown, rich stands there and keeps lines above it."""

    def emit(self, record: logging.LogRecord) -> None:
        self.setStream(sys.stderr)
        super().emit(record)

"""`resnetfea convert`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from resnetfea.cli_output import OfflineOption, errors, text
from resnetfea.errors import printable

SUFFIXES = (".safetensors", ".npz", ".ckpt", ".pkl", ".onnx")  # weights.writing.FORMS', which is too heavy for --help
SHOWN = 4  # names of a long list that a person gets to see


class Names(StrEnum):
    resnetfea = "resnetfea"
    modelzoo = "modelzoo"


def convert(
    weights: Annotated[str, typer.Argument(metavar="W", help="Weights file, URL, or known name.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help=f"File to write: {' '.join(SUFFIXES)}.")],
    names: Annotated[Names | None, typer.Option(help="Of the parameters in a .ckpt.", show_default="resnetfea")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT where it is there already.")] = False,
    offline: OfflineOption = False,
) -> None:
    """Any readable weights file to another format, number for number.

    .safetensors and .npz have torchvision's names, .ckpt ResNetFea's or ModelZoo's, .pkl Detectron's (its norms are
    scale and shift only, so others are folded); .onnx is the exported network. How the network computes and what its
    pixels look like goes along, inside the file. What the format cannot hold is said on stderr.

    \b
    Examples:
      resnetfea convert R-50.pkl resnet50.ckpt
      resnetfea convert resnet50-0676ba61.pth resnet50.ckpt --names modelzoo
      resnetfea convert resnet50_weights_tf_dim_ordering_tf_kernels.h5 resnet50.safetensors

    Exit codes: 0 written; 1 W is not the weights of a complete ResNet, or OUT can't be written; 2 wrong usage.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise typer.BadParameter(f"{out}: choose a name that ends in {', '.join(SUFFIXES)}", param_hint="OUT")
    if names is not None and out.suffix.lower() != ".ckpt":
        raise typer.BadParameter("is for .ckpt; the other formats have one kind of names", param_hint="--names")
    with errors():
        from resnetfea.convert import convert as run
        from resnetfea.features.progress import download_bar

        with download_bar() as progress:
            source, written = run(
                weights,
                out,
                names=(names or Names.resnetfea).value,
                overwrite=overwrite,
                offline=offline,
                progress=progress,
            )
    typer.echo(f"{text(out)}: {written.tensors} tensors, from {text(source.path)} ({source.ecosystem})")
    if source.left_out:
        first = ", ".join(source.left_out[:SHOWN]) + (", ..." if len(source.left_out) > SHOWN else "")
        typer.echo(printable(f"left out, as no backbone needs them: {len(source.left_out)} ({first})"))
    for note in written.notes:
        typer.echo(f"{text(out)}: {printable(note)}", err=True)

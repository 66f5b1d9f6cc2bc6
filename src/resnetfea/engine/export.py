"""The cell as an ONNX graph: the network is defined once, in network/, and every other engine runs its export.

It runs in a process of its own (`python -m resnetfea.engine.export`), because importing MindSpore and exporting takes
0.9 GB that would stay, sets MindSpore's global context, and is needed only once for each weights file.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

from resnetfea.errors import ResnetFeaError
from resnetfea.network.variant import Variant
from resnetfea.weights import Weights, fpn_names, read

SIDE = 224  # of the exported input; the graph is fully convolutional and is reshaped afterwards
FORMAT = 2  # raised when the same weights would give another graph


def export(weights: Weights, out: Path, *, pyramid: bool = False) -> None:
    """Write the weights' network as ONNX: input x (1, 3, 224, 224), outputs c2..c5, those of variant.out.

    pyramid: and p2.. behind them. Its resizes have sizes for 224x224 only (resizing.py).

    Raises:
        ResnetFeaError: it has no ONNX form; or MindSpore is not there or failed: the message has its last line.
    """
    check_exportable(weights, pyramid=pyramid)
    variant = json.dumps(asdict(weights.variant))
    arguments = [
        os.path.abspath(weights.path),
        weights.identity,
        variant,
        os.path.abspath(out),
        *(["pyramid"] if pyramid else []),
    ]
    # -P: no module of that name in the user's current folder takes a library's place
    command = [sys.executable, "-P", "-m", "resnetfea.engine.export", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not out.exists():
        raise ResnetFeaError(f"{weights.path}: MindSpore could not export the network: {_reason(done)}")


def check_exportable(weights: Weights, *, pyramid: bool = False) -> None:
    """Whether MindSpore's ONNX export has all that this network computes.

    Raises:
        ResnetFeaError: it has not.
    """
    if weights.variant.deforms:
        raise ResnetFeaError(
            f"{weights.path}: MindSpore exports no deformable convolution to ONNX, so only the MindSpore engine runs it"
        )
    if pyramid and fpn_names.resize_of(weights.recipe_of, weights.unused) == "bilinear":
        raise ResnetFeaError(
            f"{weights.path}: MindSpore exports no bilinear resize to ONNX, so only the MindSpore engine runs p2.."
        )


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """The exception's line of a traceback, or else the last line."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception): ", line)]
    return (errors or lines or [f"it ended with {done.returncode}"])[-1]


def _main(path: str, identity: str, variant: str, out: str, pyramid: str = "") -> None:
    import mindspore as ms
    import numpy as np

    from resnetfea.network.build import loaded, with_pyramid

    weights = read(path)
    if weights.identity != identity:
        raise ResnetFeaError(f"{path}: changed while it was being used")
    weights = replace(weights, variant=Variant(**json.loads(variant)))
    cell = with_pyramid(weights) if pyramid else loaded(weights, weights.variant)
    folder, name = os.path.split(out)
    os.chdir(folder)  # MindSpore refuses paths with a space, an umlaut, a tilde, ...
    ms.export(cell, ms.Tensor(np.zeros((1, 3, SIDE, SIDE), np.float32)), file_name=name, file_format="ONNX")


if __name__ == "__main__":
    _main(*sys.argv[1:])

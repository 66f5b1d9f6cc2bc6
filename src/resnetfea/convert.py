"""Any weights file to a file of another format: reads, then writes by the suffix. ONNX is an export of the cell."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

from resnetfea.engine.export import export
from resnetfea.weights import Weights, onnx_notes, read
from resnetfea.weights.locate import Progress
from resnetfea.weights.writing import DEFAULT_NAMES, Written, card_of, check_target, lost, new_file, write

ONNX = ".onnx"


class Converted(NamedTuple):
    """What was read, and what was written."""

    source: Weights
    written: Written


def convert(
    source: str | Path,
    out: Path,
    *,
    names: str = DEFAULT_NAMES,
    overwrite: bool = False,
    offline: bool = False,
    progress: Progress | None = None,
) -> Converted:
    """Read `source`, a file, a URL or a known name (see `read`), and write it as `out`, whose suffix says the format.

    Everything is read before anything is written, so that both may be one file.

    Raises:
        ResnetFeaError: `source` is not a complete ResNet, or `out` can't be written; then nothing is left of it.
    """
    check_target(out, overwrite=overwrite)  # before the work
    weights = read(source, offline=offline, progress=progress)
    if out.suffix.lower() == ONNX:
        return Converted(weights, _export(weights, out, overwrite))
    return Converted(weights, write(weights, out, names=names, overwrite=overwrite))


def _export(weights: Weights, out: Path, overwrite: bool) -> Written:
    """The cell's own graph, and the card behind it."""
    with tempfile.TemporaryDirectory(prefix="resnetfea.") as folder:
        made = Path(folder, "network.onnx")
        export(weights, made)
        with new_file(out, overwrite=overwrite) as stream:
            stream.write(made.read_bytes())
            stream.write(onnx_notes.entry(card_of(weights, weights.variant)))
    return Written(len(weights.tensors), lost(weights, frozenset()))

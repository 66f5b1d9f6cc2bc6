"""Compare both engines with what real libraries computed, on the very files that they wrote. Runs where mindspore is.

Usage: PYTHONPATH=src:tests python tests/parity/others/compare.py OUT

Exits 0 when each map of each case of write.py agrees to 1e-5 of the map's largest value; 1 otherwise.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from parity.compare import TOLERANCE
from parity.others.case import SEED, Shape, Theirs, load
from parity.references import Floats, label
from resnetfea import CompiledEngine, MindSporeEngine, Weights, read
from rich_weights import digest, rich_input

ENGINES = {"mindspore": MindSporeEngine, "compiled": CompiledEngine}
LAYERS = ("c2", "c3", "c4", "c5", "p2", "p3", "p4", "p5", "p6", "p7")
Ours = dict[str, dict[Shape, dict[str, Floats]]]  # by engine, image and layer


def main() -> int:
    """Print the table of a folder; 1 when a row of it is wrong."""
    rows = wrong = 0
    computed: dict[str, Ours] = {}
    print(f"{'library and case':52}{'input':14}{'engine':10}" + "".join(f"{name:>9}" for name in LAYERS))
    for case in load(Path(sys.argv[1])):
        for row, right in compare(case, computed):
            print(row + ("" if right else "  WRONG"), flush=True)
            rows, wrong = rows + 1, wrong + (not right)
    print(f"{rows - wrong} of {rows} rows agree to {TOLERANCE:g}; {len(computed)} networks")
    return 1 if wrong or not rows else 0  # a folder without cases proves nothing


def compare(case: Theirs, computed: dict[str, Ours]) -> Iterator[tuple[str, bool]]:
    """A line for each image and engine. Files that are read as the same network have it run once, for all of them."""
    weights = read(case.file)
    weights = replace(weights, variant=replace(weights.variant, **case.told))
    layers = tuple(case.maps[next(iter(case.maps))])
    same = f"{digest({**weights.tensors, **weights.fpn})} {weights.variant} {layers} {list(case.maps)}"
    if same not in computed:
        computed[same] = run(weights, layers, tuple(case.maps))
    for engine, found in computed[same].items():
        for shape, theirs in case.maps.items():
            errors = {layer: error(found[shape][layer], theirs[layer]) for layer in layers}
            cells = "".join(f"{errors[name]:9.1e}" if name in errors else f"{'-':>9}" for name in LAYERS)
            right = all(one <= TOLERANCE for one in errors.values())  # False for nan, too
            yield f"{case.name:52}{label(shape):14}{engine:10}{cells}", right


def run(weights: Weights, layers: tuple[str, ...], shapes: tuple[Shape, ...]) -> Ours:
    """All layers of each image, by each engine."""
    found: Ours = {}
    for name, make in ENGINES.items():
        engine = make(weights, layers=layers)
        found[name] = {shape: engine.maps(rich_input(shape, SEED)) for shape in shapes}
    return found


def error(ours: Floats, theirs: Floats) -> float:
    """max|a-b| / max|b|; infinite where the map has another shape or is not finite."""
    if ours.shape != theirs.shape or not np.isfinite(ours).all():
        return math.inf
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


if __name__ == "__main__":
    sys.exit(main())

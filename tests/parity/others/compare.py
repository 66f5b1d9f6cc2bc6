"""Compare both engines with what real libraries computed, on the very files that they wrote. Runs where mindspore is.

Usage: PYTHONPATH=src:tests python tests/parity/others/compare.py OUT

Exits 0 when each map of each case of write.py agrees to 1e-5 of the map's largest value; 1 otherwise.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from parity.compare import TOLERANCE
from parity.others.case import SEED, Shape, Theirs, load
from parity.references import Floats, label
from resnetfea import CompiledEngine, MindSporeEngine, Weights, read
from resnetfea.network.variant import Variant
from rich_weights import digest, rich_input

ENGINES = {"mindspore": MindSporeEngine, "compiled": CompiledEngine}
LAYERS = ("c2", "c3", "c4", "c5", "p2", "p3", "p4", "p5", "p6", "p7")


@dataclass
class Network:
    """What several files are read as, exactly alike: it runs once for all of them."""

    weights: Weights
    cases: list[Theirs] = field(default_factory=list)


def main() -> int:
    """Print the table of a folder; 1 when a row of it is wrong."""
    rows = wrong = 0
    found = networks(Path(sys.argv[1]))
    print(f"{'library and case':52}{'input':14}{'engine':10}" + "".join(f"{name:>9}" for name in LAYERS))
    while found:  # each away behind its rows: all at once would be gigabytes
        for row, right in compare(found.pop(0)):
            print(row + ("" if right else "  WRONG"), flush=True)
            rows, wrong = rows + 1, wrong + (not right)
        print()
    print(f"{rows - wrong} of {rows} rows agree to {TOLERANCE:g}; cases between blank lines are one network")
    return 1 if wrong or not rows else 0  # a folder without cases proves nothing


def networks(folder: Path) -> list[Network]:
    """Every file read, and those put together whose tensors and variant are the same."""
    found: dict[tuple[str, Variant], Network] = {}
    for case in load(folder):
        weights = read(case.file)
        weights = replace(weights, variant=replace(weights.variant, **case.told))
        key = digest({**weights.tensors, **weights.fpn}), weights.variant
        found.setdefault(key, Network(weights)).cases.append(case)
    return list(found.values())


def compare(network: Network) -> Iterator[tuple[str, bool]]:
    """A line for each case, image and engine."""
    layers = tuple(name for name in LAYERS if any(name in case.layers for case in network.cases))
    for name, make in ENGINES.items():
        engine = make(network.weights, layers=layers)
        ours: dict[Shape, dict[str, Floats]] = {}
        for case in network.cases:
            for shape in case.shapes:
                if shape not in ours:
                    ours[shape] = engine.maps(rich_input(shape, SEED))
                errors = {layer: error(ours[shape][layer], case.map(shape, layer)) for layer in case.layers}
                cells = "".join(f"{errors[layer]:9.1e}" if layer in errors else f"{'-':>9}" for layer in LAYERS)
                right = all(one <= TOLERANCE for one in errors.values())  # False for nan, too
                yield f"{case.name:52}{label(shape):14}{name:10}{cells}", right


def error(ours: Floats, theirs: Floats) -> float:
    """max|a-b| / max|b|; infinite where the map has another shape or is not finite."""
    if ours.shape != theirs.shape or not np.isfinite(ours).all():
        return math.inf
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


if __name__ == "__main__":
    sys.exit(main())

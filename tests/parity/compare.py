"""Compare all layers, and every engine's maps, with PyTorch's number for number. Runs where mindspore and openvino are.

Usage: PYTHONPATH=src:tests python tests/parity/compare.py tests/golden

Exits 0 when each layer of each case agrees to 1e-5 of its largest value, and `verify` is right about each trace in
its folder traces/; 1 otherwise.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from parity.compare_traces import wrong_ones
from parity.references import Floats, Reference, label, load_all
from resnetfea import CompiledEngine, MindSporeEngine, read
from resnetfea.network.variant import LAYERS, Variant
from resnetfea.weights import recipe, safetensors_file
from resnetfea.weights.card import Card
from rich_weights import State, digest, rich_state

TOLERANCE = 1e-5

Engine = Callable[[Floats], Mapping[str, Floats]]  # images (N, 3, H, W) to the maps of variant.out
CELL = "cell"  # the one that gives all layers, too


def engines(state: State, variant: Variant) -> dict[str, Engine]:
    """Everything that computes these maps, by name. A further engine is one more entry."""
    return {CELL: _cell(state, variant)} | _of_a_file(state, variant)


def main() -> int:
    """Print the table of a folder of references; 1 when a row of it is wrong."""
    folder = Path(sys.argv[1])
    rows = []
    print(f"{'case':20}{'input':14}{'engine':10}" + "".join(f"{name:>10}" for name in LAYERS))
    for case, reference in load_all(folder):
        for row in compare(case, reference):
            print(row, flush=True)
            rows.append(row)
    wrong = [row for row in rows if not row.right]
    print(f"{len(rows) - len(wrong)} of {len(rows)} rows agree to {TOLERANCE:g}")
    wrong_traces = wrong_ones(folder / "traces")
    return 1 if wrong or wrong_traces or not rows else 0  # a folder without references proves nothing


@dataclass(frozen=True)
class Row:
    """One engine on one input: max|a-b| / max|b| of each layer."""

    case: str
    input: str
    engine: str
    errors: dict[str, float]  # by layer; of c2 to c5 only those that this variant gives

    @property
    def right(self) -> bool:
        """False for nan, too."""
        return all(error <= TOLERANCE for error in self.errors.values())

    def __str__(self) -> str:
        mark = "" if self.right else "  WRONG"
        maps = (f"{self.errors[name]:10.1e}" if name in self.errors else f"{'-':>10}" for name in LAYERS)
        worst = max(self.errors, key=lambda name: self.errors[name])
        layers = f"  {len(self.errors)} layers: {self.errors[worst]:.1e} in {worst}" if len(self.errors) > 4 else ""
        return f"{self.case:20}{self.input:14}{self.engine:10}" + "".join(maps) + layers + mark


def compare(case: str, reference: Reference) -> Iterator[Row]:
    """Rows of one file: the weights are drawn again, not read."""
    state = rich_state(reference.variant, reference.seed)
    if digest(state) != reference.weights_digest:
        raise RuntimeError(f"{case}: seed {reference.seed} gives other weights here than where this was written")
    built = engines(state, reference.variant)
    for shape in reference.inputs:
        x = reference.image(shape)
        for name, engine in built.items():
            found = engine(x)
            wanted = reference.names(shape) if name == CELL else reference.variant.out
            yield Row(case, label(shape), name, {key: reference.error(shape, key, found[key]) for key in wanted})


def _of_a_file(state: State, variant: Variant) -> dict[str, Engine]:
    """Both engines as a user makes them: the weights go through a file, the reader and the loader.

    Of deformable convolutions there is no ONNX form, and so no compiled engine.
    """
    card = Card(variant=variant, recipe=recipe.TORCHVISION, recipe_of="rich", ecosystem="torchvision", sha256="0" * 64)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        with path.open("wb") as stream:
            safetensors_file.write(stream, state, card.to_json())
        weights = read(path)
        found: dict[str, CompiledEngine | MindSporeEngine] = {"mindspore": MindSporeEngine(weights)}
        if not variant.deforms:
            found["compiled"] = CompiledEngine(weights)
    return {name: engine.maps for name, engine in found.items()}


def _cell(state: State, variant: Variant) -> Engine:
    """ResNetFea itself in MindSpore's eager mode, layer by layer; test_steps.py holds these to be the whole's."""
    from parity.cell import build_cell
    from resnetfea.parity import steps

    cell = build_cell(state, variant)
    return lambda x: dict(steps.run(cell, x))


if __name__ == "__main__":
    sys.exit(main())

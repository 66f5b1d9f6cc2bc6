"""Compare every engine's maps with PyTorch's, number for number. Runs where mindspore (and openvino) are.

Usage: PYTHONPATH=src:tests python tests/parity/compare.py tests/golden

Exits 0 when each map of each case agrees to 1e-5 of the map's largest value, 1 otherwise.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors.numpy import save_file

from parity.references import MAPS, Floats, Reference, label, load_all
from resnetfea import CompiledEngine, MindSporeEngine, read
from resnetfea.network.variant import Variant
from rich_weights import State, digest, rich_state

TOLERANCE = 1e-5

Engine = Callable[[Floats], tuple[Floats, ...]]  # images (N, 3, H, W) to c2, c3, c4, c5


def engines(state: State, variant: Variant) -> dict[str, Engine]:
    """Everything that computes these maps, by name. A further engine is one more entry."""
    return {"cell": _cell(state, variant)} | _of_a_file(state, variant)


def main() -> int:
    """Print the table of a folder of references; 1 when a row of it is wrong."""
    folder = Path(sys.argv[1])
    rows = []
    print(f"{'case':20}{'input':14}{'engine':10}" + "".join(f"{name:>10}" for name in MAPS))
    for case, reference in load_all(folder):
        for row in compare(case, reference):
            print(row, flush=True)
            rows.append(row)
    wrong = [row for row in rows if not row.right]
    print(f"{len(rows) - len(wrong)} of {len(rows)} rows agree to {TOLERANCE:g}")
    return 1 if wrong or not rows else 0  # a folder without references proves nothing


@dataclass(frozen=True)
class Row:
    """One engine on one input: max|a-b| / max|b| of each map."""

    case: str
    input: str
    engine: str
    errors: tuple[float, ...]

    @property
    def right(self) -> bool:
        """False for nan, too."""
        return all(error <= TOLERANCE for error in self.errors)

    def __str__(self) -> str:
        mark = "" if self.right else "  WRONG"
        return f"{self.case:20}{self.input:14}{self.engine:10}" + "".join(f"{e:10.1e}" for e in self.errors) + mark


def compare(case: str, reference: Reference) -> Iterator[Row]:
    """Rows of one file: the weights are drawn again, not read."""
    state = rich_state(reference.variant, reference.seed)
    if digest(state) != reference.weights_digest:
        raise RuntimeError(f"{case}: seed {reference.seed} gives other weights here than where this was written")
    built = engines(state, reference.variant)
    for shape in reference.inputs:
        x = reference.image(shape)
        for name, engine in built.items():
            maps = engine(x)
            errors = (reference.error(shape, key, ours) for key, ours in zip(MAPS, maps, strict=True))
            yield Row(case, label(shape), name, tuple(errors))


def _of_a_file(state: State, variant: Variant) -> dict[str, Engine]:
    """Both engines as a user makes them: the weights go through a file, the reader and the loader."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        save_file(state, path)
        weights = replace(read(path), variant=variant)  # the file's names say torchvision, whatever was drawn
        found: dict[str, CompiledEngine | MindSporeEngine] = {
            "mindspore": MindSporeEngine(weights),
            "compiled": CompiledEngine(weights),
        }
    return {name: _maps(engine) for name, engine in found.items()}


def _maps(engine: CompiledEngine | MindSporeEngine) -> Engine:
    return lambda x: tuple(engine.maps(x).values())


def _cell(state: State, variant: Variant) -> Engine:
    """ResNetFea itself, run by MindSpore."""
    from mindspore import Tensor

    from parity.cell import build_cell

    cell = build_cell(state, variant)
    return lambda x: tuple(value.asnumpy() for value in cell(Tensor(x)))


if __name__ == "__main__":
    sys.exit(main())

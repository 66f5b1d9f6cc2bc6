"""What a library's writer and our comparison share: cases, their folders, and what the library computed. numpy only.

A case has a folder OUT/library/name with the file that the library wrote, maps.npz with the maps that it computed, and
case.json.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from parity.references import Floats, label
from rich_weights import rich_input

SEED = 20
Shape = tuple[int, int, int, int]
INPUTS: tuple[Shape, ...] = (
    (1, 3, 224, 224),
    (1, 3, 225, 225),
    (1, 3, 200, 333),
)  # even, odd at every halving, neither
SMALL: tuple[Shape, ...] = ((1, 3, 97, 130),)  # for what only repeats in depth or width what the others prove
CLASSES = 7  # of heads, which no map needs


class Model(NamedTuple):
    """A library's model: the file that the library wrote of it, and its maps of images (N, 3, H, W), c2.. and p2.. ."""

    file: Path
    run: Callable[[Floats], Mapping[str, Floats]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One model of a library.

    Attributes:
        build: makes it with rich weights, and has the library write it into a folder.
        inputs: shapes of the images.
        told: fields of the Variant that nothing in the file tells, as a user gives them.
    """

    name: str
    build: Callable[[Path], Model]
    inputs: tuple[Shape, ...] = INPUTS
    told: Mapping[str, Any] = field(default_factory=dict)


class Theirs(NamedTuple):
    """A case as it lies on disk; its maps stay there until they are asked for."""

    name: str
    folder: Path
    file: Path
    told: dict[str, Any]
    shapes: tuple[Shape, ...]
    layers: tuple[str, ...]

    def map(self, shape: Shape, layer: str) -> Floats:
        """What the library computed."""
        with np.load(self.folder / "maps.npz", allow_pickle=False) as maps:
            found: Floats = maps[f"{label(shape)}/{layer}"]
        return found


def write(out: Path, library: str, case: Case) -> None:
    """The case's folder."""
    folder = out / library.replace(" ", "-") / case.name
    folder.mkdir(parents=True)
    model = case.build(folder)
    maps: dict[str, NDArray[Any]] = {}
    for shape in case.inputs:
        for name, value in model.run(rich_input(shape, SEED)).items():
            maps[f"{label(shape)}/{name}"] = value
    np.savez(folder / "maps.npz", **maps)
    layers = dict.fromkeys(key.split("/")[1] for key in maps)
    file = str(model.file.relative_to(folder))
    about = {"file": file, "told": dict(case.told), "shapes": case.inputs, "layers": [*layers]}
    (folder / "case.json").write_text(json.dumps(about))
    peaks = {key: f"{np.abs(value).max():.3g}" for key, value in maps.items() if key.endswith("c5")}
    print(f"{library:34}{case.name:34}{model.file.name}, peaks {', '.join(peaks.values())}", flush=True)


def load(out: Path) -> Iterator[Theirs]:
    """Every case below a folder, in the order of their names."""
    for path in sorted(out.glob("*/*/case.json")):
        folder, about = path.parent, json.loads(path.read_text())
        yield Theirs(
            name=f"{folder.parent.name}/{folder.name}",
            folder=folder,
            file=folder / about["file"],
            told=about["told"],
            shapes=tuple(tuple(shape) for shape in about["shapes"]),
            layers=tuple(about["layers"]),
        )

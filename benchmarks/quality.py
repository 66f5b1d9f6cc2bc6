"""How far each row's numbers are from the original's, with real weights, over all photos: the worst one counts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as ds
from numpy.typing import NDArray

from benchmarks import materials
from benchmarks.process import ours, run, theirs
from benchmarks.rows import Peer, Row

WEIGHTS = "opennsfw"  # a trained ResNet-50 that needs no download. Random weights flatter int8
LAYERS = ("c2", "c3", "c4", "c5")
OF_CELL = 8  # photos that the MindSpore cell is asked for; it takes its time
CALIBRATED_ON = 64  # photos; those that the quality is measured on are others
Features = dict[str, NDArray[np.float32]]  # by layer, (N, C)
Quality = dict[str, float]  # by layer


class Judge:
    """Holds rows and peers to fp32 with exact decoding, and that to the MindSpore cell.

    Args:
        lists: of each kind of photo, a list of the distinct ones.
        build: folder for what is made.
    """

    def __init__(self, lists: dict[str, Path], build: Path) -> None:
        self.lists, self.build = lists, build
        self.folder = build / "quality"
        self.folder.mkdir(exist_ok=True)
        self._exact: dict[str, Features] = {}

    def of_row(self, row: Row) -> Quality:
        """The lowest cosine of each pooled layer; of a row without a goal for it the largest relative error.

        Raises:
            NotOffered: the command does not know the flags.
        """
        if row.cosine is None:
            return self._of_cell(row.photos)
        unseen = (
            ("--calibration", str(materials.calibration(CALIBRATED_ON, self.build))) if row.precision == "int8" else ()
        )
        return cosines(self._extracted(row.photos, *row.flags, *unseen), self._reference(row.photos))

    def of_peer(self, peer: Peer) -> Quality | None:
        """The same of OpenVINO by hand; None of peers that compute in fp32 what the reference does."""
        if peer.exact:
            return None
        model, recipe, out = self.build / "real.onnx", self.folder / "recipe.json", self.folder / "peer.npy"
        if not model.exists():
            run(ours("resnetfea", "convert", WEIGHTS, model))
        recipe.write_text(json.dumps(json.loads(run(ours("resnetfea", "inspect", WEIGHTS, "--json")).out)["recipe"]))
        own = ("--recipe", recipe, "--all-layers", "--cache", self.build / "hand", *peer.flags)
        run(theirs(f"benchmarks.peers.{peer.module}", self.lists[peer.photos], model, out, *own))
        reference = self._reference(peer.photos)
        ends = np.cumsum([reference[layer].shape[1] for layer in LAYERS])[:-1]
        parts = np.split(np.load(out), ends, axis=1)
        return cosines(dict(zip(LAYERS, parts, strict=True)), reference)

    def _of_cell(self, photos: str) -> Quality:
        """Largest error of the command's numbers and of whole maps, each against the cell's."""
        few = self.folder / f"{photos}-few.txt"
        few.write_text("".join(self.lists[photos].read_text().splitlines(keepends=True)[:OF_CELL]))
        cell = self._extracted(photos, "--engine", "mindspore", source=few)
        pooled = errors({layer: rows[:OF_CELL] for layer, rows in self._reference(photos).items()}, cell)
        maps = json.loads(run(ours("benchmarks.quality", few)).out)
        return {layer: max(pooled[layer], maps[layer]) for layer in LAYERS}

    def _reference(self, photos: str) -> Features:
        if photos not in self._exact:
            self._exact[photos] = self._extracted(photos)
        return self._exact[photos]

    def _extracted(self, photos: str, *flags: str, source: Path | None = None) -> Features:
        out = self.folder / "features"
        options = (source or self.lists[photos], "-o", out, "--overwrite", "--weights", WEIGHTS, *flags)
        run(ours("resnetfea", "extract", *options))
        return features(out)


def features(out: Path) -> Features:
    """What extract wrote, whichever layers there are."""
    table = ds.dataset(sorted(map(str, out.glob("features-*.parquet")))).to_table()
    columns = [name for name in table.column_names if name in LAYERS]
    return {name: table[name].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1) for name in columns}


def cosines(found: Features, reference: Features) -> Quality:
    """The lowest cosine of any photo, layer by layer."""
    return {layer: float(_cosine(found[layer], reference[layer]).min()) for layer in LAYERS}


def errors(found: Features, reference: Features) -> Quality:
    """max|a-b| / max|b| of each photo, the largest, layer by layer. Maps count as rows, too."""
    result = {}
    for layer in LAYERS:
        a, b = (np.asarray(one[layer], np.float64).reshape(len(one[layer]), -1) for one in (found, reference))
        result[layer] = float((np.abs(a - b).max(1) / np.abs(b).max(1)).max())
    return result


def _cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> Any:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


def _main(source: Path) -> None:
    """Whole maps of the compiled engine against the cell's; JSON."""
    from resnetfea import CompiledEngine, MindSporeEngine, read
    from resnetfea.engine.layers import normalised
    from resnetfea.features.images import decode
    from resnetfea.features.source import file

    weights = read(WEIGHTS)
    compiled, cell = CompiledEngine(weights), MindSporeEngine(weights)
    worst = dict.fromkeys(LAYERS, 0.0)
    for path in source.read_text().splitlines():
        x = normalised(decode(file(path), weights.recipe).pixels, weights.recipe)[None]
        found = errors(compiled.maps(x), cell.maps(x))
        worst = {layer: max(worst[layer], found[layer]) for layer in LAYERS}
    print(json.dumps(worst))


if __name__ == "__main__":
    _main(Path(sys.argv[1]))

"""The sample photos as a network's pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from resnetfea import Weights
from resnetfea.engine.layers import Maps
from resnetfea.engine.precision import Calibration
from resnetfea.features.images import decode
from resnetfea.features.source import file

FOLDER = Path(__file__).parents[2] / "samples"
PHOTOS = sorted(path for path in FOLDER.rglob("*") if path.suffix in (".jpg", ".png", ".webp"))
Pictures = list[NDArray[np.uint8]]


def pictures(weights: Weights, paths: Sequence[Path] = tuple(PHOTOS)) -> Pictures:
    return [decode(file(path), weights.recipe, "exact").pixels for path in paths]


def crops(weights: Weights, paths: Sequence[Path], folder: Path) -> Pictures:
    """The left upper and the right lower two thirds of each photo, and its middle half."""
    written = []
    for path in paths:
        with Image.open(path) as image:
            whole = ImageOps.exif_transpose(image).convert("RGB")
        for index, (left, top, right, bottom) in enumerate(
            ((0, 0, 2 / 3, 2 / 3), (1 / 3, 1 / 3, 1, 1), (1 / 4, 1 / 4, 3 / 4, 3 / 4))
        ):
            x, y, right, bottom = left * whole.width, top * whole.height, right * whole.width, bottom * whole.height
            written.append(folder / f"{path.stem}-{index}.png")
            whole.crop((round(x), round(y), round(right), round(bottom))).save(written[-1], compress_level=0)
    return pictures(weights, written)


def calibration(of: Pictures) -> Calibration:
    return Calibration(str(sum(int(one.sum()) for one in of)), lambda: of)


def worst_cosine(rows: Sequence[Maps], wanted: Sequence[Maps]) -> dict[str, float]:
    """The smallest of any picture, for each layer."""
    return {layer: min(cosine(a[layer], b[layer]) for a, b in zip(rows, wanted, strict=True)) for layer in wanted[0]}


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    a64, b64 = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    return float(a64 @ b64 / np.linalg.norm(a64) / np.linalg.norm(b64))


def equal(rows: Sequence[Maps], others: Sequence[Maps]) -> bool:
    """In every bit."""
    return len(rows) == len(others) and all(
        list(a) == list(b) and all(np.array_equal(a[layer], b[layer]) for layer in a)
        for a, b in zip(rows, others, strict=True)
    )

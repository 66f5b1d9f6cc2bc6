"""What `--decode fast` costs in accuracy: pooled features of photos read at reduced scale, beside the exact ones.

Each photo is made as small as leaves just so many times the recipe's size after 1/2, 1/4 and 1/8, saved anew as a
JPEG, and decoded both ways. Prints, for each multiple, the smallest cosine of each layer, and the photo.

    python benchmarks/measure_decode.py PHOTOS_FOLDER... [--weights W] [--left 2.5] [--quality 90] [--full-colour]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from resnetfea.engine.compiled import CompiledEngine
from resnetfea.features import reduced
from resnetfea.features.images import decode
from resnetfea.features.source import file
from resnetfea.weights import read

LEFT = (1.5, 2.0, 2.25, 2.5, 2.75, 3.0)  # times the recipe's size
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def main() -> None:
    given = arguments()
    weights = read(given.weights)
    recipe = weights.recipe if given.recipe_size else replace(weights.recipe, resize=256, crop=224)
    if recipe.resize is None:
        raise SystemExit(f"{weights.path}: its recipe does not resize, so nothing is ever read smaller")
    short = recipe.resize if isinstance(recipe.resize, int) else max(recipe.resize)
    engine = CompiledEngine(weights)
    print("left  read at  photos  " + "  ".join(f"{layer:7}" for layer in engine.layers) + "  worst")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        for left in given.left:
            reduced.KEEP = left
            for scale in reduced.SCALES[::-1]:
                found = {}
                for source, photo in photos(given.folders, least=round(left * scale * short)):
                    photo.save(path, quality=given.quality, subsampling=0 if given.full_colour else 2)
                    pictures = [decode(file(path), recipe).pixels, decode(file(path), recipe, "fast").pixels]
                    exact, fast = engine.features(pictures)
                    found[source.name] = [cosine(exact[layer], fast[layer]) for layer in engine.layers]
                if found:  # else none of the photos is large enough
                    worst = min(found, key=lambda name: min(found[name]))
                    numbers = "  ".join(f"{number:.5f}" for number in np.min(list(found.values()), axis=0))
                    print(f"{left:4}  1/{scale:<6}  {len(found):6}  {numbers}  {worst}", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "folders", nargs="+", type=Path, help="photos, the larger the better; what is too small is left"
    )
    parser.add_argument("--weights", default="opennsfw")
    parser.add_argument("--left", nargs="+", type=float, default=LEFT, help="times the recipe's size")
    parser.add_argument("--quality", type=int, default=90, help="of the JPEGs")
    parser.add_argument("--full-colour", action="store_true", help="4:4:4 instead of 4:2:0")
    parser.add_argument("--recipe-size", action="store_true", help="the weights' own resize, instead of 256 and 224")
    return parser.parse_args()


def photos(folders: list[Path], least: int) -> Iterator[tuple[Path, Image.Image]]:
    """Every photo that is large enough, its short side made `least`."""
    for source in sorted(path for folder in folders for path in folder.rglob("*") if path.suffix in SUFFIXES):
        with Image.open(source) as photo:
            short = min(photo.size)
            if short >= least:
                size = [-(-side * least // short) for side in photo.size]
                yield source, photo.convert("RGB").resize((size[0], size[1]), Image.Resampling.LANCZOS)


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


if __name__ == "__main__":
    main()

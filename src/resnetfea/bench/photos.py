"""What is decoded: the user's own photos, or drawn ones where there are none."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from resnetfea.errors import ResnetFeaError
from resnetfea.features import listing
from resnetfea.features.source import Place

MOST = 256  # of a folder; further ones would only be slower to read from disk
DRAWN, SIZE, QUALITY = 64, (500, 375), 90  # as photos on the web are; 49 kB each


def own(source: str | Path) -> list[bytes]:
    """Paths of the first images of a folder, list or file.

    Raises:
        ResnetFeaError: there are none.
    """
    found = listing.images(source)
    places = (found.content(name) for name in islice(found.names(), MOST))
    paths = [os.path.abspath(place.path) for place in places if isinstance(place, Place) and place.size is None]
    if not paths:
        raise ResnetFeaError(f"{source}: no images in it")
    return paths


def drawn(folder: Path) -> list[bytes]:
    """Write JPEGs whose decoding takes about as long as that of photos: clouds with detail on every scale."""
    draw = np.random.default_rng(0)
    width, height = SIZE
    paths = []
    for index in range(DRAWN):
        picture = np.full((height, width, 3), 128, np.float32)
        for cells, strength in ((4, 60), (16, 30), (64, 16), (250, 8)):
            coarse = draw.normal(0, strength, (cells * height // width + 1, cells, 3)).astype(np.float32)
            for channel in range(3):
                layer = Image.fromarray(coarse[..., channel]).resize(SIZE, Image.Resampling.BICUBIC)
                picture[..., channel] += np.asarray(layer)
        path = folder / f"{index:03}.jpg"
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(path, quality=QUALITY)
        paths.append(os.fsencode(path))
    return paths


def described(paths: list[bytes], source: str | None) -> dict[str, Any]:
    """How many, from where, and how large the files are."""
    size = sum(os.stat(path).st_size for path in paths if os.path.isfile(path)) / len(paths)
    return {
        "source": source or f"drawn, {SIZE[0]}x{SIZE[1]}",
        "count": len(paths),
        "mean_kilobytes": round(size / 1000),
    }

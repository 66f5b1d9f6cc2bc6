"""What the peers share: the photos' paths, the usual way from a JPEG to pixels, and the one line that they print."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

IMAGENET = {
    "color": "rgb",
    "scale": 1 / 255,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "resize": 256,  # of the short side; or [height, width]
    "crop": 224,
}
REDUCED = (512, 512)  # libjpeg decodes at 1/2, 1/4 or 1/8 as long as neither side falls below these


def arguments(description: str | None) -> argparse.ArgumentParser:
    """What every peer is called with."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("photos", type=Path, help="a text file with one path a line, relative to its folder")
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path, help="gets the features as .npy")
    parser.add_argument("--recipe", type=Path, help="JSON of color, scale, mean, std, resize, crop; else ImageNet's")
    return parser


def listed(path: Path) -> list[str]:
    """The photos' paths."""
    return [str(path.parent / line) for line in path.read_text().splitlines()]


def recipe(path: Path | None) -> dict[str, Any]:
    """How pixels become the input."""
    return dict(json.loads(path.read_text())) if path else IMAGENET


def crop(path: str, recipe: dict[str, Any], *, reduced: bool = False) -> NDArray[np.uint8]:
    """A photo as RGB (224, 224, 3): resized, and its middle cut out."""
    image: Image.Image = Image.open(path)
    if reduced:
        image.draft("RGB", REDUCED)
    image = image.convert("RGB")
    resize, side = recipe["resize"], recipe["crop"]
    if isinstance(resize, int):
        short = min(image.size)
        size = int(resize * image.width / short), int(resize * image.height / short)
    else:
        size = resize[1], resize[0]
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = round((image.width - side) / 2), round((image.height - side) / 2)
    return np.asarray(image.crop((left, top, left + side, top + side)))


def normalised(path: str) -> NDArray[np.float32]:
    """The network's input (3, 224, 224), as ImageNet's networks want it."""
    pixels = crop(path, IMAGENET).astype(np.float32) / 255
    mean, std = (np.array(IMAGENET[name], np.float32) for name in ("mean", "std"))
    return np.ascontiguousarray(((pixels - mean) / std).transpose(2, 0, 1))


def report(out: Path, features: NDArray[np.float32], ready: float) -> None:
    """Write the features; print how many photos a second went through since `ready`, when the network was there."""
    seconds = time.perf_counter() - ready
    np.save(out, features)
    print(json.dumps({"images": len(features), "images_per_second": len(features) / seconds}))

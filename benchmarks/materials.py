"""What is measured on: photos as the web and as phones have them, and a full-width network. The same each time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import save_file

from resnetfea.atomic import committed
from resnetfea.network.variant import Variant
from rich_weights import rich_state

VARIANT = Variant(pool="pad1")  # torchvision's ResNet-50
SAMPLES = Path("samples")
SUFFIXES = (".jpg", ".png", ".webp")
QUALITY = 90  # of the JPEGs, as phones and cameras write them


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Photos of one kind. `grain`: standard deviation of a camera's noise, in grey levels."""

    width: int
    height: int
    grain: float


KINDS = {
    "web": Kind(width=500, height=375, grain=4),  # 40 to 100 kB
    "phone": Kind(width=4000, height=3000, grain=4),  # 12 megapixels, 2 to 5 MB
}


def photos(kind: str, count: int, folder: Path) -> list[Path]:
    """`count` JPEGs in folder/kind: random crops of samples/ under a grain. What is there already stays."""
    shape, target = KINDS[kind], folder / kind
    target.mkdir(parents=True, exist_ok=True)
    paths = [target / f"{index:06d}.jpg" for index in range(count)]
    if all(path.exists() for path in paths):
        return paths
    pictures = [_opened(path) for path in _samples()]
    noise = np.random.default_rng(0).normal(0, shape.grain, (1021, 1021)).astype(np.int16)
    for index, path in enumerate(paths):
        rng = np.random.default_rng(index)
        picture = _crop(pictures[index % len(pictures)], shape, rng)
        grained = _grained(picture, np.roll(noise, tuple(rng.integers(0, 1021, 2)), (0, 1)))
        with whole(path) as partial:
            grained.save(partial, "JPEG", quality=QUALITY)
    return paths


def calibration(count: int, folder: Path) -> Path:
    """A folder of web photos for int8 to be calibrated on: other crops, and of every second picture only.

    So half of the photos that its quality is measured on show what it has never seen.
    """
    target = folder / "calibration"
    target.mkdir(parents=True, exist_ok=True)
    pictures = [_opened(path) for path in _samples()[::2]]
    for index in range(count):
        path = target / f"{index:06d}.jpg"
        if not path.exists():
            crop = _crop(pictures[index % len(pictures)], KINDS["web"], np.random.default_rng((1, index)))
            with whole(path) as partial:
                crop.save(partial, "JPEG", quality=QUALITY)
    return target


def listed(paths: list[Path], count: int, out: Path) -> Path:
    """A list of `count` photos: these, over and over. A run long enough to be timed needs no gigabytes of files."""
    lines = (str(paths[index % len(paths)].absolute()) for index in range(count))
    out.write_text("".join(f"{line}\n" for line in lines))
    return out


def weights(out: Path) -> Path:
    """A full-width network of random weights under torchvision's names. Speed does not depend on their numbers."""
    if not out.exists():
        with whole(out) as partial:
            save_file(rich_state(VARIANT, seed=0), partial)
    return out


@contextmanager
def whole(out: Path) -> Iterator[Path]:
    """A file that is there only once it is complete: a later run takes what it finds."""
    with committed(out, out.with_name(f".{out.name}")) as partial:
        yield partial


def _samples() -> list[Path]:
    return [path for path in sorted(SAMPLES.rglob("*")) if path.suffix in SUFFIXES]


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def _crop(picture: Image.Image, shape: Kind, rng: np.random.Generator) -> Image.Image:
    """A part of the picture, 40 to 100 % of what fits."""
    aspect = shape.width / shape.height
    width = min(picture.width, picture.height * aspect) * rng.uniform(0.4, 1)
    height = width / aspect
    left, top = rng.uniform(0, picture.width - width), rng.uniform(0, picture.height - height)
    box = (left, top, left + width, top + height)
    return picture.resize((shape.width, shape.height), Image.Resampling.BICUBIC, box=box)


def _grained(picture: Image.Image, noise: NDArray[np.int16]) -> Image.Image:
    """The picture with the noise laid over it, repeated as often as it takes."""
    pixels = np.asarray(picture)
    repeats = [-(-side // tile) for side, tile in zip(pixels.shape, noise.shape, strict=False)]
    grain = np.tile(noise, repeats)[: pixels.shape[0], : pixels.shape[1], None]
    return Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))

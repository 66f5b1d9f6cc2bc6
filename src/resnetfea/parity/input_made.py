"""How the reference's input was made of its picture, beside how these weights want it made."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from resnetfea.engine.layers import normalised
from resnetfea.errors import ResnetFeaError
from resnetfea.features.bad_image import BadImage
from resnetfea.parity import pixels, resizing
from resnetfea.parity.trace import Trace
from resnetfea.weights import Recipe, Weights

# zeros behind the normalised picture: maskrcnn-benchmark, detectron2, torchvision's detectors, mmdetection
PADDED_AFTER = ("torchvision-detection", "maskrcnn-benchmark", "detectron1", "detectron2", "mmdet")
ROUNDED = 2.0  # levels of a pixel between two programs' resizes of the same kind: each rounds in places of its own
MULTIPLE = 32  # of pixels, to which detectors pad
WHAT = {
    "color": "the input's colours are in the other order",
    "scale": "pixels are scaled by another number",
    "mean": "another mean is taken off",
    "std": "it is divided by another std",
    "resize": "the photo is resized to another size",
    "crop": "another square is cut out of it",
    "interpolation": "the photo is resized by another filter",
    "antialias": "the photo is resized without antialias, as cv2 and tensor resizes do by default",
    "pad": "padding and normalising are in the other order",
}


class Difference(NamedTuple):
    """One thing that the reference does otherwise."""

    setting: str
    expected: Any
    found: Any
    evidence: str

    def facts(self) -> dict[str, Any]:
        """For --json."""
        return self._asdict()


class Made(NamedTuple):
    """What was found of the input; `unexplained` says why nothing makes it of its picture."""

    differences: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()
    unexplained: str = ""


def differences(weights: Weights, reference: Trace, photo: Path | None = None) -> Made:
    """The recipe's fields that are otherwise; a note where the picture is not known, or does not explain the input.

    photo: from which a trace's input was made, resized and cut, where the trace does not hold the picture.

    Raises:
        ResnetFeaError: the photo can't be read.
    """
    if reference.theirs is not None:
        return _of_weights(weights, reference.theirs)
    if reference.made_here:
        return Made(notes=("an ONNX does not tell its recipe; its input was made by these weights' own",))
    if reference.image is not None:
        return _of_picture(weights, reference.image, reference.input[0])
    if photo is not None:
        return _of_photo(weights, photo, reference.input[0])
    return _without_picture(weights.recipe, reference.input[0])


def _of_weights(weights: Weights, theirs: Weights) -> Made:
    """Beside the recipe that the other file needs."""
    if theirs.recipe_of.startswith("assumed") or weights.recipe_of.startswith("assumed"):
        return Made(notes=("the recipes are not compared: one of the files does not tell its own",))
    settings = pixels.differences(pixels.of_recipe(theirs.recipe), weights.recipe)
    return _told(weights.recipe, settings, f"so its file, or its ecosystem ({theirs.ecosystem}), says")


def _of_picture(weights: Weights, picture: NDArray[np.uint8], x: NDArray[np.float32]) -> Made:
    recipe = weights.recipe
    height, width = _box(picture)
    line = pixels.line(picture, x, recipe)
    inside = pixels.line(picture[:height, :width], x[:, :height, :width], recipe)
    if line.off <= pixels.EXACT:
        settings = pixels.differences(line, recipe)
    elif inside.off <= pixels.EXACT and not x[:, height:].any() and not x[:, :, width:].any():
        settings = pixels.differences(inside, recipe)
    else:
        off = f"off by {line.off:.2g} of 255"
        return Made(unexplained=f"no colour order, scale, mean and std makes it of its picture ({off})")
    before = float(np.abs(normalised(picture, recipe) - x).max())
    padded = _pad(weights, (height, width), picture.shape[:2], zeros=line.off > pixels.EXACT)
    return _told(recipe, settings, f"with these weights' recipe the input is off by {before:.2g}", padded)


def _of_photo(weights: Weights, photo: Path, x: NDArray[np.float32]) -> Made:
    """Resized by whichever way comes nearest."""
    recipe = weights.recipe
    best: tuple[float, dict[str, Any], pixels.Line] | None = None
    try:
        for changed, picture in resizing.pictures(photo, (x.shape[1], x.shape[2]), recipe):
            line = pixels.line(picture, x, recipe)
            if best is None or line.off < best[0]:
                best = line.off, changed, line
            if line.off <= ROUNDED and not changed:  # these weights' own way
                break
    except BadImage as error:
        raise ResnetFeaError(f"{photo}: {error}") from error
    if best is None or best[0] > ROUNDED:
        nearest = f"; the nearest is off by {best[0]:.2g} of 255" if best else ""
        return Made(unexplained=f"no way of resizing and cutting {photo} that is known here makes it{nearest}")
    off, changed, line = best
    settings = pixels.differences(line, recipe, levels=ROUNDED / 4)
    return _told(recipe, changed | settings, f"so the photo becomes its input but for {off:.2g} of 255")


def _told(recipe: Recipe, settings: dict[str, Any], evidence: str, padded: tuple[str, str] | None = None) -> Made:
    found = [
        Difference(name, getattr(recipe, name), value, f"{WHAT[name]}: {evidence}") for name, value in settings.items()
    ]
    if padded is not None:
        found.append(Difference("pad", *padded, f"{WHAT['pad']}: {evidence}"))
    return Made(tuple(found))


def _pad(weights: Weights, box: tuple[int, int], size: tuple[int, ...], *, zeros: bool) -> tuple[str, str] | None:
    """(expected, found) where the picture is padded with black, and the order of padding and normalising shows."""
    if not any(0 < whole - used < MULTIPLE for whole, used in zip(size, box, strict=True)):
        return None
    after = weights.ecosystem in PADDED_AFTER
    if after == zeros:
        return None
    words = {True: "after normalising", False: "before normalising"}
    return words[after], words[zeros]


def _box(picture: NDArray[np.uint8]) -> tuple[int, int]:
    """(height, width) without the black at the bottom and on the right."""
    lit = picture.any(axis=2)
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    return (int(rows[-1]) + 1, int(columns[-1]) + 1) if rows.size else (len(picture), picture.shape[1])


def _without_picture(recipe: Recipe, x: NDArray[np.float32]) -> Made:
    """What the numbers alone tell."""
    store = "store its picture (trace(..., image=pixels)) or give its photo (--image)"
    settings = pixels.from_numbers(x, recipe)
    if settings is None:
        return Made(notes=(f"how its input was made is not looked at: {store}",))
    made = _told(recipe, settings, "under these numbers, and not under the weights' own, its input is of whole pixels")
    return Made(made.differences, notes=(f"the order of its input's colours is not known: {store}",))

"""How the reference's input was made of its picture, beside how these weights want it made."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from resnetfea.engine.mindspore_engine import normalised
from resnetfea.parity import pixels
from resnetfea.parity.trace import Trace
from resnetfea.weights import Recipe, Weights

# zeros behind the normalised picture: maskrcnn-benchmark, detectron2, torchvision's detectors, mmdetection
PADDED_AFTER = ("torchvision-detection", "maskrcnn-benchmark", "detectron1", "detectron2", "mmdet")
MULTIPLE = 32  # of pixels, to which detectors pad
WHAT = {
    "color": "the input's colours are in the other order",
    "scale": "pixels are scaled by another number",
    "mean": "another mean is taken off",
    "std": "it is divided by another std",
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
    """What was found of the input."""

    differences: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()


def differences(weights: Weights, reference: Trace) -> Made:
    """The recipe's fields that are otherwise; a note where the picture is not known, or does not explain the input."""
    recipe = weights.recipe
    if reference.image is None:
        return Made(notes=_without_picture(recipe, reference))
    picture, x = reference.image, reference.input[0]
    height, width = _box(picture)
    line = pixels.line(picture, x, recipe)
    inside = pixels.line(picture[:height, :width], x[:, :height, :width], recipe)
    settings: dict[str, Any] = {}
    if line.off <= pixels.EXACT:
        settings = pixels.differences(line, recipe)
    elif inside.off <= pixels.EXACT and not x[:, height:].any() and not x[:, :, width:].any():
        settings = pixels.differences(inside, recipe)
    else:
        off = f"off by {line.off:.2g} of 255"
        return Made(notes=(f"no colour order, scale, mean and std makes its input of its picture ({off})",))
    expected = {name: getattr(recipe, name) for name in settings}
    before = float(np.abs(normalised(picture, recipe) - x).max())
    padded = _pad(weights, (height, width), picture.shape[:2], zeros=line.off > pixels.EXACT)
    if padded is not None:
        expected["pad"], settings["pad"] = padded
    return Made(
        tuple(
            Difference(
                name,
                expected[name],
                found,
                f"{WHAT[name]}: with these weights' recipe the input is off by {before:.2g}",
            )
            for name, found in settings.items()
        )
    )


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


def _without_picture(recipe: Recipe, reference: Trace) -> tuple[str, ...]:
    """What the numbers alone tell."""
    black, white = (normalised(np.full((1, 1, 3), level, np.uint8), recipe)[:, 0, 0] for level in (0, 255))
    x = reference.input[0]
    slack = 0.01 * np.abs(white - black)
    lowest, highest = x.min(axis=(1, 2)), x.max(axis=(1, 2))
    if (lowest < np.minimum(black, white) - slack).any() or (highest > np.maximum(black, white) + slack).any():
        return (
            f"its input has numbers from {lowest.min():.3g} to {highest.max():.3g}, which these weights' recipe cannot "
            "make of any pixel; store its picture (trace(..., image=pixels)) to learn what did",
        )
    return ("the recipe is not looked at: the reference does not have its picture (trace(..., image=pixels))",)

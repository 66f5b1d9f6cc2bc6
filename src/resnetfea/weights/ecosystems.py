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
WIDEST = Variant(depth=152)  # has every name that a shallower one has

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

COUNTERS = r".*\.num_batches_tracked"  # of torch's batch norms

ECOSYSTEMS = (
    # torchvision 0.29.2, models/resnet.py; `module.` is torch's DataParallel
    Ecosystem(
        name="torchvision",
        prefixes=("", "module."),
        rules=(),
        beside=rf"{COUNTERS}|(module\.)?fc\.(weight|bias)",
        variant=Variant(pool="pad1"),
        recipe=recipe.TORCHVISION,
    ),
    # torchvision 0.29.2, models/detection: FrozenBatchNorm2d with eps 1e-5. The published COCO_V1 files are the
    # exception: their loader sets eps 0, and nothing in such a file tells.
    Ecosystem(
        name="torchvision-detection",
        prefixes=("backbone.body.", "module.backbone.body."),
        rules=(),
        beside=rf"{COUNTERS}|(module\.)?(backbone\.fpn|rpn|roi_heads|head)\..*",
        variant=Variant(pool="pad1"),
        recipe=recipe.TORCHVISION,
    ),
    # maskrcnn-benchmark 57eec25, modeling/backbone/resnet.py: STRIDE_IN_1X1, FrozenBatchNorm2d without eps
    Ecosystem(
        name="maskrcnn-benchmark",
        prefixes=("backbone.body.", "module.backbone.body."),
        rules=((r"^(conv1|bn1)\.", r"stem.\1."),),
        beside=r"(module\.)?(backbone\.fpn|rpn|roi_heads)\..*",
        variant=Variant(stride_in="1x1", pool="pad1", bn_eps=0.0),
        recipe=recipe.DETECTRON,
    ),
    # detectron2 02b5c4e, modeling/backbone/resnet.py; config/defaults.py: STRIDE_IN_1X1, FrozenBN with eps 1e-5, BGR
    Ecosystem(
        name="detectron2",
        prefixes=("backbone.bottom_up.", "backbone.", ""),
        rules=(
            (r"^conv1\.", "stem.conv1."),
            (r"^bn1\.", "stem.conv1.norm."),
            (r"^layer1\.", "res2."),
            (r"^layer2\.", "res3."),
            (r"^layer3\.", "res4."),
            (r"^layer4\.", "res5."),
            (r"\.bn(\d)\.", r".conv\1.norm."),
            (r"downsample\.0\.", "shortcut."),
            (r"downsample\.1\.", "shortcut.norm."),
        ),
        beside=rf"{COUNTERS}|backbone\.fpn_.*|(proposal_generator|roi_heads|head|sem_seg_head)\..*|pixel_(mean|std)"
        r"|(stem\.)?(fc|linear)\.(weight|bias)",
        variant=Variant(stride_in="1x1", pool="pad1"),
        recipe=recipe.DETECTRON2,
    ),
    # mmpretrain ee7f2e8 and mmdetection 00e9730: torchvision's names behind a prefix; style="pytorch"
    Ecosystem(
        name="mmpretrain",
        prefixes=("backbone.", "module.backbone."),
        rules=(),
        beside=rf"{COUNTERS}|(module\.)?head\..*|data_preprocessor\..*",
        variant=Variant(pool="pad1"),
        recipe=recipe.TORCHVISION,
    ),
    Ecosystem(
        name="mmdet",
        prefixes=("backbone.", "module.backbone."),
        rules=(),
        beside=rf"{COUNTERS}|(module\.)?(neck|rpn_head|roi_head|bbox_head|mask_head)\..*|data_preprocessor\..*",
        variant=Variant(pool="pad1"),
        recipe=recipe.TORCHVISION,
    ),
    # transformers 5.23.0 (ae005ce), models/resnet/modeling_resnet.py; microsoft/resnet-50 is resized bicubically
    Ecosystem(
        name="transformers",
        prefixes=("resnet.", ""),
        rules=(
            (r"^conv1\.", "embedder.embedder.convolution."),
            (r"^bn1\.", "embedder.embedder.normalization."),
            (r"^layer1\.", "encoder.stages.0.layers."),
            (r"^layer2\.", "encoder.stages.1.layers."),
            (r"^layer3\.", "encoder.stages.2.layers."),
            (r"^layer4\.", "encoder.stages.3.layers."),
            (r"(?<=\.)conv1\.", "layer.0.convolution."),
            (r"(?<=\.)conv2\.", "layer.1.convolution."),
            (r"(?<=\.)conv3\.", "layer.2.convolution."),
            (r"(?<=\.)bn1\.", "layer.0.normalization."),
            (r"(?<=\.)bn2\.", "layer.1.normalization."),
            (r"(?<=\.)bn3\.", "layer.2.normalization."),
            (r"downsample\.0\.", "shortcut.convolution."),
            (r"downsample\.1\.", "shortcut.normalization."),
        ),
        beside=rf"{COUNTERS}|classifier\.1\.(weight|bias)",
        variant=Variant(pool="pad1"),
        recipe=recipe.TRANSFORMERS,
    ),
    # MoCo 010242b, main_lincls.py and detection/convert-pretrain-to-detectron2.py: the query encoder is the one
    Ecosystem(
        name="moco",
        prefixes=("module.encoder_q.",),
        rules=(),
        beside=rf"{COUNTERS}|module\.encoder_q\.fc\..*|module\.encoder_k\..*|module\.queue(_ptr)?",
        variant=Variant(pool="pad1"),
        recipe=recipe.TORCHVISION,
    ),
    # SwAV 06b1b7c, src/resnet50.py: pads 1, then convolves with padding 2, which is padding 3
    Ecosystem(
        name="swav",
        prefixes=("module.",),
        rules=(),
        beside=rf"{COUNTERS}|module\.(projection_head|prototypes)\..*",
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
    """Under which ecosystem and prefix most of these names are known as the backbone's.

    Where several share the backbone's names, what stands beside it decides; then the first of the table.
    """
    given = set(names)
    candidates = [(ecosystem, prefix) for ecosystem in ECOSYSTEMS for prefix in ecosystem.prefixes]
    hits = [len(given & ecosystem.to_canonical(WIDEST, prefix).keys()) for ecosystem, prefix in candidates]
    best = [pair for pair, count in zip(candidates, hits, strict=True) if count == max(hits)]
    return max(best, key=lambda pair: sum(bool(re.fullmatch(pair[0].beside, name)) for name in given))

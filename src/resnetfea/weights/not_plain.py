"""Networks that people keep beside ResNet-50, and that are none: known by their tensors, refused by their name."""

from __future__ import annotations

import re
from collections.abc import Mapping

Shape = tuple[int, ...]

LAYER = r"(.*\.)?layer\d\.\d+\."
DEEP_STEM = "ResNet-C, -D, -S or -T: three 3x3 convolutions in place of the stem's 7x7"

# (pattern that one of the names matches as a whole, what that is), the most telling first
BY_NAME = (
    (r".*attnpool\..*", "CLIP RN50 or its like: a stem of three convolutions, average pools, attention at the end"),
    (r".*\.(se|se_module|se_block|se_layer|se_dense_0|se_global_pool)\b.*", "SE-ResNet: blocks weigh their channels"),
    (LAYER + r"(conv2\.)?(attn|conv_reduce|paths)\b.*", "SK-Net: its blocks choose among kernels"),
    (LAYER + r"conv2\.(radix|bn\d|fc\d)\b.*", "ResNeSt: its 3x3 convolutions are split and weighed"),
    (LAYER + r"convs\.\d+\..*", "Res2Net: its 3x3 convolutions are split"),
    (r".*preact.*|(.*\.)?stages\.\d+\.blocks\.\d+\.norm1\..*", "ResNet v2: its norms come before the convolutions"),
    (r"(.*\.)?(conv1|stem)\.[013467]\..*|(.*\.)?(stem\.conv[23]|conv1_[01]|stem_conv\d)\b.*", DEEP_STEM),
    (r".*\.downsample\.2\..*", "ResNet-D: its shortcuts are pooled before they are projected"),
    (r".*relative_position_bias_table", "a Swin transformer"),
    (
        r".*(blocks\.\d+\.attn|encoder\.layer\.\d+\.attention|encoder_layer_\d+\.self_attention)\..*",
        "a vision transformer",
    ),
    (r".*denseblock.*", "DenseNet"),
)  # fmt: skip
NO_STATISTICS = "a ResNet with group norm, or with norms folded away: without statistics these names do not tell which"
CONV = r"(.*\.)?layer1\.\d+\.conv{}\.weight"


def known_as(shapes: Mapping[str, Shape]) -> str | None:
    """What the network of these tensors (by the file's names, or the canonical ones) is, where it is none of ours."""
    for pattern, what in BY_NAME:
        if any(re.fullmatch(pattern, name) for name in shapes):
            return what
    stem = _first(shapes, r"(?!.*(layer|res)\d)(.*\.)?conv1\.weight")
    if stem and len(stem) == 4 and stem[2:] == (3, 3):
        return "a ResNet with a 3x3 stem, as for CIFAR or in ResNet-C"
    first, second = _first(shapes, CONV.format(1)), _first(shapes, CONV.format(2))
    if first and second and not _first(shapes, CONV.format(3)):
        return "ResNet-18 or -34: its blocks have two 3x3 convolutions instead of a bottleneck"
    norms = [name for name in shapes if re.fullmatch(r"(.*\.)?(bn1|layer\d\.\d+\.bn\d)\.(weight|running_mean)", name)]
    if norms and not any(name.endswith("running_mean") for name in norms):
        return NO_STATISTICS
    return None


def _first(shapes: Mapping[str, Shape], pattern: str) -> Shape | None:
    return next((shape for name, shape in shapes.items() if re.fullmatch(pattern, name)), None)

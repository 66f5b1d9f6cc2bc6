"""How much arithmetic one picture takes, counted from the variant."""

from __future__ import annotations

from resnetfea.network.variant import Variant


def multiply_adds(variant: Variant, side: int = 224) -> int:
    """Of all convolutions, for a square picture of so many pixels a side. Norms and additions are some per mille."""
    size = _half(side)
    total = variant.stem_channels * 3 * 7 * 7 * size**2
    size = _half(size)  # the max pool
    stages = zip(variant.layer_nums, variant.in_channels, variant.out_channels, strict=True)
    for stage, (blocks, entering, leaving) in enumerate(stages):
        inner = variant.width * 2**stage
        for index in range(blocks):
            inputs = leaving if index else entering
            strided = stage > 0 and index == 0 and not (stage == 3 and variant.dilation > 1)
            before, size = size, _half(size) if strided else size
            reduced = size if variant.stride_in == "1x1" else before  # pixels a side behind the first 1x1
            total += inner * inputs * reduced**2
            total += inner * (inner // variant.groups) * 9 * size**2
            total += leaving * inner * size**2
            if inputs != leaving:
                total += leaving * inputs * size**2
    return total


def _half(side: int) -> int:
    return -(-side // 2)

"""The last stage on its own, as the RoI head that the C4 bodies' detectors put behind their pooler."""

from __future__ import annotations

from mindspore import Tensor, nn

from resnetfea.network.resnet import SOURCE_VARIANT, ResidualBlockUsing, _make_layer
from resnetfea.network.variant import Variant


class ResNetHead(nn.Cell):
    """layer4 of a ResNet, for regions of c4 (RoIs, 1024, 14, 14) instead of the whole of it.

    maskrcnn-benchmark 57eec25, modeling/backbone/resnet.py, ResNetHead: its parameters are `layer4.*` of the same
    ResNet, it trains whatever freeze_at says, and where the variant dilates the stage, that overrules the stride.

    Args:
        variant: of the whole ResNet; it may end at c4, as the body beside the head does.
        stride: of the stage's first block; 1 keeps the regions' size.
    """

    def __init__(self, *, variant: Variant = SOURCE_VARIANT, stride: int = 2) -> None:
        super().__init__()
        inputs, outputs = variant.in_channels[3], variant.out_channels[3]
        self.out_channels = outputs
        self.layer4 = _make_layer(
            ResidualBlockUsing, variant.layer_nums[3], inputs, outputs, 4, True, variant, stride=stride
        )

    def construct(self, x: Tensor) -> Tensor:
        """(N, 1024, H, W) to (N, 2048, H/stride, W/stride)."""
        return self.layer4(x)

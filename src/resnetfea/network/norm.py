"""The norms behind a ResNet's convolutions: batch norm with stored or fresh statistics, group norm."""

from __future__ import annotations

from mindspore import Parameter, Tensor, nn, ops

from resnetfea.network.variant import Variant

FP32_TINY = 1e-30  # MindSpore refuses eps=0; beside any variance above 1e-23 this vanishes in float32


def norm_of(
    channels: int, variant: Variant, trains: bool, momentum: float = 0.1, batch_statistics: bool = False
) -> nn.Cell:
    """What variant.norm names."""
    if variant.norm == "group":
        return GroupNorm(variant.groups_of_norm(channels), channels, variant.bn_eps)
    if variant.norm == "batch" and trains:  # None: the batch's in training, the stored ones otherwise
        return _BatchNorm2dInit(channels, 0.9, True, None, eps=variant.bn_eps)  # 0.9 is PyTorch's 0.1
    affine = trains and variant.norm != "frozen"
    return _BatchNorm2dInit(channels, momentum, affine, batch_statistics, eps=variant.bn_eps)


def _BatchNorm2dInit(
    out_chls: int,
    momentum: float = 0.1,
    affine: bool = True,
    use_batch_statistics: bool | None = True,
    *,
    eps: float = 1e-5,
) -> nn.BatchNorm2d:
    """Stands for PyTorch's FrozenBatchNorm2d: without batch statistics it uses the stored ones, also in training.

    affine: let scale and shift train. MindSpore's momentum weighs the old average, 1 - PyTorch's.
    """
    return nn.BatchNorm2d(
        out_chls,
        eps=max(eps, FP32_TINY),
        momentum=momentum,
        affine=affine,
        gamma_init="ones",
        beta_init="zeros",
        moving_mean_init="zeros",
        moving_var_init="ones",
        use_batch_statistics=use_batch_statistics,
    )


class GroupNorm(nn.Cell):
    """Wu and He 2018 (arXiv:1803.08494): each image's groups of channels by their own mean and variance.

    Both are taken per channel first: nn.GroupNorm has no ONNX export, and a reshape to (N, G, C/G, H, W) would fix the
    exported graph to one size of image.
    """

    def __init__(self, groups: int, channels: int, eps: float) -> None:
        super().__init__()
        self.groups, self.channels, self.eps = groups, channels, eps
        self.gamma = Parameter(ops.ones((channels,)))
        self.beta = Parameter(ops.zeros((channels,)))
        self.mean = ops.ReduceMean(keep_dims=True)

    def construct(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        x = x - self._of_groups(x)
        variance = self._of_groups(x * x)
        scale = self.gamma.view(1, -1, 1, 1) / ops.sqrt(variance + self.eps)
        return x * scale + self.beta.view(1, -1, 1, 1)

    def _of_groups(self, x: Tensor) -> Tensor:
        """The mean of each channel's group (N, C, 1, 1)."""
        channels = self.mean(x, (2, 3)).reshape(-1, self.groups, self.channels // self.groups)
        return ops.tile(self.mean(channels, 2), (1, 1, self.channels // self.groups)).reshape(-1, self.channels, 1, 1)

"""ResNets as other projects write them in PyTorch: their module names, and what they do without a module.

After maskrcnn-benchmark 57eec25 (modeling/backbone/resnet.py, layers/batch_norm.py) and detectron2 02b5c4e
(modeling/backbone/resnet.py, layers/wrappers.py), which PyPI does not have. No line is theirs, but the names, the
ReLUs in place, the pool without a module and the norms inside of convolutions are.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data import torch_net_module
from resnetfea.network.variant import Variant

State = Mapping[str, Tensor]


def maskrcnn_benchmark(variant: Variant, state: State) -> nn.Module:
    """body.stem.conv1, body.layer1.0.downsample.1, ...; frozen norms, whose numbers are no parameters."""
    net = Prefixed("body", Network(variant, "layer", 1, Siblings))
    return loaded(net, state, (r"^(conv1|bn1)\.", r"stem.\1."), (r"^", "body."))


def detectron2(variant: Variant, state: State) -> nn.Module:
    """bottom_up.stem.conv1.norm, bottom_up.res2.0.shortcut.norm, ..."""
    net = Prefixed("bottom_up", Network(variant, "res", 2, Nested))
    return loaded(
        net,
        state,
        (r"^(conv1|bn1)\.", r"stem.\1."),
        *((f"layer{stage}", f"res{stage + 1}") for stage in (4, 3, 2, 1)),
        (r"downsample\.0", "shortcut"),
        (r"downsample\.1", "shortcut.norm"),
        (r"bn(\d)", r"conv\1.norm"),
        (r"^", "bottom_up."),
    )


def detector(variant: Variant, state: State) -> nn.Module:
    """torchvision's BackboneWithFPN: body.layer1.0.conv1, fpn.inner_blocks.0.0, ..., one dict of maps."""
    body = {name: tensor for name, tensor in state.items() if not name.startswith("fpn.")}
    net = WithPyramid(
        torch_net_module.build(variant, OrderedDict(body)), variant, len(state["fpn.inner_blocks.0.0.bias"])
    )
    for part in (net.body.conv1, net.body.bn1, net.body.layer1):  # torchvision trains 3 of 5 parts by default
        part.requires_grad_(False)
    return loaded(net, state, (r"^(?!fpn)", "body."))


def loaded(net: nn.Module, state: State, *rules: tuple[str, str]) -> nn.Module:
    """The network with these weights under its own names."""
    theirs = dict(state)
    for pattern, new in rules:
        theirs = {re.sub(pattern, new, name): tensor for name, tensor in theirs.items()}
    net.load_state_dict(theirs, strict=True)
    return net.eval()


class Prefixed(nn.Module):
    """What puts a prefix in front of every name."""

    def __init__(self, prefix: str, net: nn.Module) -> None:
        super().__init__()
        self.prefix = prefix
        self.add_module(prefix, net)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...] = getattr(self, self.prefix)(x)
        return found


class FrozenNorm(nn.Module):
    """A batch norm of buffers."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        weight, bias, mean, variance = (buffer.reshape(1, -1, 1, 1) for buffer in self.buffers())
        scale = weight * (variance + self.eps).rsqrt()
        return x * scale + (bias - mean * scale)


class WithNorm(nn.Conv2d):
    """detectron2's convolution: it calls the norm that it holds."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int, eps: float) -> None:
        super().__init__(inputs, outputs, size, stride, size // 2, bias=False)
        self.norm = FrozenNorm(outputs, eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(super().forward(x))


class Siblings(nn.Module):
    """Convolutions and their norms side by side: conv1 and bn1, downsample.0 and downsample.1."""

    def put(self, name: str, inputs: int, outputs: int, size: int, stride: int, eps: float) -> None:
        conv, norm = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), FrozenNorm(outputs, eps)
        if name == "shortcut":
            self.downsample = nn.Sequential(conv, norm)
            return
        self.add_module(name, conv)
        self.add_module(name.replace("conv", "bn"), norm)

    def run(self, name: str, x: Tensor) -> Tensor:
        if name == "shortcut":
            return self.downsample(x)
        return getattr(self, name.replace("conv", "bn"))(getattr(self, name)(x))


class Nested(nn.Module):
    """Convolutions with their norms inside: conv1 and conv1.norm, shortcut and shortcut.norm."""

    def put(self, name: str, inputs: int, outputs: int, size: int, stride: int, eps: float) -> None:
        self.add_module(name, WithNorm(inputs, outputs, size, stride, eps))

    def run(self, name: str, x: Tensor) -> Tensor:
        return getattr(self, name)(x)


Style = type[Siblings] | type[Nested]


def stem(style: Style, variant: Variant) -> nn.Module:
    """7x7 and norm; ReLU and pool are functions."""

    class Stem(style):  # type: ignore[misc, valid-type]
        def forward(self, x: Tensor) -> Tensor:
            return F.max_pool2d(F.relu_(self.run("conv1", x)), 3, 2, 1)

    made = Stem()
    made.put("conv1", 3, variant.stem_channels, 7, 2, variant.bn_eps)
    return made


def block(
    style: Style, variant: Variant, inputs: int, width: int, outputs: int, stride: int, project: bool
) -> nn.Module:
    """The bottleneck, every ReLU in place."""

    class Block(style):  # type: ignore[misc, valid-type]
        def forward(self, x: Tensor) -> Tensor:
            y = F.relu_(self.run("conv1", x))
            y = F.relu_(self.run("conv2", y))
            y = self.run("conv3", y)
            y += self.run("shortcut", x) if project else x
            return F.relu_(y)

    made = Block()
    first, second = (stride, 1) if variant.stride_in == "1x1" else (1, stride)
    made.put("conv1", inputs, width, 1, first, variant.bn_eps)
    made.put("conv2", width, width, 3, second, variant.bn_eps)
    made.put("conv3", width, outputs, 1, 1, variant.bn_eps)
    if project:
        made.put("shortcut", inputs, outputs, 1, stride, variant.bn_eps)
    return made


class Network(nn.Module):
    """stem, then four stages called `word` and a number from `first` on."""

    def __init__(self, variant: Variant, word: str, first: int, style: Style) -> None:
        super().__init__()
        self.stem = stem(style, variant)
        self.names = [f"{word}{first + stage}" for stage in range(4)]
        sizes = zip(variant.layer_nums, variant.in_channels, variant.out_channels, strict=True)
        for stage, (blocks, entering, leaving) in enumerate(sizes):
            width, stride = variant.width_per_group * 2**stage, 2 if stage else 1
            made = [block(style, variant, entering, width, leaving, stride, project=True)]
            made += [block(style, variant, leaving, width, leaving, 1, project=False) for _ in range(blocks - 1)]
            self.add_module(self.names[stage], nn.Sequential(*made))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x, maps = self.stem(x), []
        for name in self.names:
            x = getattr(self, name)(x)
            maps.append(x)
        return tuple(maps)


class WithPyramid(nn.Module):
    """A body, and the pyramid on its maps."""

    def __init__(self, body: nn.Module, variant: Variant, width: int) -> None:
        super().__init__()
        self.body, self.fpn = body, FeaturePyramidNetwork(variant, width)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        found: dict[str, Tensor] = self.fpn(self.body(x))
        return found


class FeaturePyramidNetwork(nn.Module):
    """torchvision 0.29.2, ops/feature_pyramid_network.py, by its name and those of its parts."""

    def __init__(self, variant: Variant, width: int) -> None:
        super().__init__()
        self.inner_blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(c, width, 1)) for c in variant.out_channels)
        self.layer_blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(width, width, 3, padding=1)) for _ in range(4))

    def forward(self, maps: tuple[Tensor, ...]) -> dict[str, Tensor]:
        inner, found = None, {}
        for level in (3, 2, 1, 0):
            lateral = self.inner_blocks[level](maps[level])
            inner = lateral if inner is None else lateral + F.interpolate(inner, size=lateral.shape[2:], mode="nearest")
            found[str(level)] = self.layer_blocks[level](inner)
        top = {"pool": F.max_pool2d(found["3"], 1, 2, 0)}
        return {name: found[name] for name in ("0", "1", "2", "3")} | top

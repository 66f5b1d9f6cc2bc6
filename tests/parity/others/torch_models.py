"""Rich weights into any library's PyTorch model, without a table of names: its modules say in what order they run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from parity.others.case import SEED, Model
from parity.references import Floats
from resnetfea.network.variant import Variant
from rich_weights import State, rich_input, rich_state

PARTS = ("weight", "bias", "running_mean", "running_var")
Maps = Mapping[str, Tensor]


def fill(body: nn.Module, variant: Variant) -> None:
    """All convolutions and norms of a ResNet, as they run; each of them once, and each of its shape."""
    leaves = [one for one in body.modules() if isinstance(one, nn.Conv2d) or is_norm(one)]
    used = in_order(body, leaves)
    assert len(used) == len(leaves), f"{len(leaves)} convolutions and norms, {len(used)} were called"
    convolutions = [one for one in used if isinstance(one, nn.Conv2d)]
    norms = [one for one in used if is_norm(one)]
    state = {name: torch.from_numpy(array) for name, array in drawn(variant).items()}
    for conv, norm, (conv_name, norm_name) in zip(convolutions, norms, order_of_resnet(variant), strict=True):
        put(conv, {"weight": state[f"{conv_name}.weight"]})
        put(norm, {part: state[f"{norm_name}.{part}"] for part in PARTS if f"{norm_name}.{part}" in state})


def fill_pyramid(neck: nn.Module) -> None:
    """By shape and place among its equals, so that one pyramid has the same numbers in every library."""
    counts: dict[tuple[int, ...], int] = {}
    for leaf in neck.modules():
        if not isinstance(leaf, nn.Conv2d | nn.GroupNorm):
            continue
        shape = tuple(leaf.weight.shape)
        counts[shape] = counts.get(shape, 0) + 1
        seed, reach = SEED + 10 * counts[shape], math.sqrt(3 / math.prod(shape[1:])) / 2  # of draws from -2 to 2
        new = {"weight": torch.from_numpy(rich_input(shape, seed)) * reach}
        if leaf.bias is not None:
            new["bias"] = torch.from_numpy(rich_input(shape[:1], seed + 1))
        put(leaf, new)


@lru_cache(maxsize=2)  # neighbours mostly have the same
def drawn(variant: Variant) -> State:
    """The weights of all libraries' models of this shape."""
    return rich_state(variant, SEED)


def put(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Into the module itself; what else it holds (a counter, its norm) stays."""
    missing, unexpected = module.load_state_dict(tensors, strict=False)
    lacking = [name for name in missing if name in PARTS]
    assert not lacking + unexpected, (lacking, unexpected)


def is_norm(module: nn.Module) -> bool:
    """A library's own frozen norm is no nn.BatchNorm2d."""
    return hasattr(module, "running_mean") or isinstance(module, nn.GroupNorm)


def in_order(body: nn.Module, leaves: Iterable[nn.Module]) -> list[nn.Module]:
    """The leaves as often and in the order that an image meets them."""
    used: list[nn.Module] = []
    hooks = [leaf.register_forward_hook(lambda module, *_: used.append(module)) for leaf in leaves]
    body.eval()  # OpenMMLab's gives nothing back
    with torch.inference_mode():
        body(torch.zeros(1, 3, 64, 64))
    for hook in hooks:
        hook.remove()
    return used


def order_of_resnet(variant: Variant) -> Iterator[tuple[str, str]]:
    """torchvision's names of each convolution and its norm: a block's three, then its projection."""
    yield "conv1", "bn1"
    for stage, blocks in enumerate(variant.layer_nums, start=1):
        for index in range(blocks):
            block = f"layer{stage}.{index}"
            yield from ((f"{block}.conv{k}", f"{block}.bn{k}") for k in (1, 2, 3))
            if index == 0:
                yield f"{block}.downsample.0", f"{block}.downsample.1"


def numbered(maps: Iterable[Tensor], letter: str = "c", first: int = 2) -> dict[str, Tensor]:
    """The maps as c2, c3, ... or p2, p3, ... ."""
    return {f"{letter}{index}": value for index, value in enumerate(maps, start=first)}


def watched(body: nn.Module, run: Callable[[Tensor], Any], x: Tensor) -> tuple[dict[str, Tensor], Any]:
    """What the body's layer1 to layer4 give while x runs, and what comes out in the end."""
    found: list[Tensor] = []
    stages = [body.get_submodule(f"layer{stage}") for stage in (1, 2, 3, 4)]
    hooks = [stage.register_forward_hook(lambda *called: found.append(called[2])) for stage in stages]
    end = run(x)
    for hook in hooks:
        hook.remove()
    return numbered(found), end


def made(file: Path, run: Callable[[Tensor], Maps]) -> Model:
    """The Model of a file and a function of tensors."""

    def maps(x: Floats) -> dict[str, Floats]:
        with torch.inference_mode():
            return {name: value.numpy() for name, value in run(torch.from_numpy(x)).items()}

    return Model(file, maps)


def saved(module: nn.Module, folder: Path, run: Callable[[Tensor], Maps], **beside: Any) -> Model:
    """By torch.save: the state alone, or among what else a trainer keeps."""
    module.eval()
    state = module.state_dict()
    torch.save({"model": state, **beside} if beside else state, folder / "model.pth")
    return made(folder / "model.pth", run)

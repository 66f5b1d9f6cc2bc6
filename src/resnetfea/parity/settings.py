"""What a whole port may have set otherwise: its variant, its norms, its precision. One Change for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from resnetfea.network.variant import Variant
from resnetfea.parity.change import Array, Change, Edit, Parts
from resnetfea.parity.ports import Ports
from resnetfea.parity.precision import ROUNDED
from resnetfea.parity.steps import STAGES

# Of each field of Variant that no shape tells: other values, the most common first, for a reference may not tell two
# apart ("same" and "ceil" pool alike where all sizes are even).
OTHERS: dict[str, tuple[Any, ...]] = {
    "pool": ("pad1", "same", "ceil"),
    "stride_in": ("3x3", "1x1"),
    "conv_pad": ("symmetric", "same"),
    "dilation": (1, 2, 4),
    "norm_groups": (32, 16, 8, 64, 1),
}
LOADED = "loaded"  # what is expected of numbers: that they are those of W
POOLS = {
    "pad1": "as PyTorch does (pad1: a pixel of padding on every side)",
    "same": "with SAME (TensorFlow, MindSpore; of even sizes a pixel behind and none in front)",
    "ceil": "as Caffe does (ceil: no padding, the size rounded up)",
}
PADS = {
    "symmetric": "pads its convolutions by as much in front as behind",
    "same": "pads its strided convolutions as SAME does, one pixel less in front",
}
NORM_PARTS = {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1}  # as a norm is initialised
LOST = {  # setting, what became of the norms: which of their tensors are as initialised
    "affine": ("bn_affine", "have lost scale and shift", ("weight", "bias")),
    "scale": ("bn_affine", "have lost their scale", ("weight",)),
    "shift": ("bn_affine", "have lost their shift", ("bias",)),
    "statistics": ("bn_statistics", "have mean 0 and variance 1, as initialised", ("running_mean", "running_var")),
    "all": ("bn_affine", "are as initialised: scale 1, shift 0, mean 0, variance 1", tuple(NORM_PARTS)),
}


def of_variant(ports: Ports) -> Iterator[Change]:
    """Another value of one of Variant's fields."""
    for name, values in OTHERS.items():
        needed = getattr(ports.variant, name)
        for value in values:
            if value != needed and _possible(ports.variant, name, value):
                yield Change(
                    setting=name,
                    expected=needed,
                    found=value,
                    why=_sentence(name, needed, value),
                    steps=frozenset(_steps(ports, name)),
                    variant={name: value},
                )


def eps(ports: Ports, value: float) -> Change:
    """Another epsilon, of all norms."""
    return Change(
        setting="bn_eps",
        expected=ports.variant.bn_eps,
        found=value,
        why=f"the norms' epsilon is {value:g} there, where these weights want {ports.variant.bn_eps:g}",
        steps=frozenset(norms(ports)),
        variant={"bn_eps": value},
    )


def of_norms(ports: Ports) -> Iterator[Change]:
    """Batch statistics, and numbers of norms that were never loaded, everywhere or in one stage."""
    if ports.variant.norm == "group":
        return
    everywhere = norms(ports)
    for name, steps in {"": everywhere, **by_stage(everywhere)}.items():
        where = f"the norms of {name}" if name.startswith("layer") else "the stem's norm" if name else "all norms"
        yield Change(
            setting="bn_statistics",
            expected="stored",
            found="batch",
            why=f"{where} use the mean and variance of what they get, as in training, not the stored ones",
            steps=frozenset(steps),
            batch=True,
        )
        for setting, what, parts in LOST.values():
            yield Change(
                setting=setting,
                expected="stored" if setting == "bn_statistics" else LOADED,
                found="initial" if setting == "bn_statistics" else name or "all",
                why=f"{where} {what}",
                steps=frozenset(steps),
                edit=_initial(parts),
            )


def of_precision(ports: Ports) -> Iterator[Change]:
    """Weights that went through fewer bits."""
    for name, rounded in ROUNDED.items():
        yield Change(
            setting="precision",
            expected="fp32",
            found=name,
            why=f"its weights have been rounded to {name}",
            steps=frozenset(ports.layers),
            edit=_each(rounded),
        )


def norms(ports: Ports) -> list[str]:
    """In order of execution."""
    return [name for name, parts in ports.layers.items() if "bias" in parts]


def by_stage(layers: Iterable[str]) -> dict[str, list[str]]:
    """layer1 to layer4, in order; the stem's under its own names, conv1 and bn1."""
    found: dict[str, list[str]] = {}
    for layer in layers:
        found.setdefault(layer.partition(".")[0], []).append(layer)
    return found


def _possible(variant: Variant, name: str, value: Any) -> bool:
    if name == "norm_groups":
        return variant.norm == "group" and all(
            channels % value == 0 for channels in (variant.stem_channels, variant.width, variant.res2_channels)
        )
    return not (name == "conv_pad" and variant.deforms)


def _steps(ports: Ports, name: str) -> Iterator[str]:
    """Whose outputs that field can change, given the same inputs."""
    for step in ports.plan:
        stage, block, layer = f"{step.name}..".split(".", 2)
        first, layer = stage in STAGES[1:] and block == "0", layer.rstrip(".")
        match name:
            case "pool":
                touched = stage == "maxpool"
            case "conv_pad":
                touched = stage == "conv1" or (layer == "conv2" and (first or stage == "layer4"))
            case "stride_in":
                touched = first and layer in ("conv1", "conv2")
            case "dilation":
                touched = stage == "layer4" and (layer == "conv2" or (block == "0" and layer != ""))
            case _:
                touched = step.name in ports.layers and "bias" in ports.layers[step.name]
        if touched:
            yield step.name


def _sentence(name: str, needed: Any, value: Any) -> str:
    match name:
        case "pool":
            return f"these weights want to be pooled {POOLS[needed]}; the reference pools {POOLS[value]}"
        case "stride_in":
            return f"a stage's first block has its stride in the {value} convolution there, not in the {needed}"
        case "conv_pad":
            return f"the reference {PADS[value]}"
        case "dilation":
            return f"the last stage's 3x3 convolutions have dilation {value} there, not {needed}"
    return f"its group norms have {value} groups, not {needed}"


def _initial(parts: Iterable[str]) -> Edit:
    values = {part: NORM_PARTS[part] for part in parts}

    def edit(_: str, tensors: Parts) -> Parts:
        return {**tensors, **{part: np.full_like(tensors[part], value) for part, value in values.items()}}

    return edit


def _each(rounded: Callable[[Array], Array]) -> Edit:
    return lambda _, parts: {part: rounded(array) for part, array in parts.items()}

"""What may have become of one layer's numbers on the way into a port. One Change for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from resnetfea.parity.change import Array, Change, Edit, Parts
from resnetfea.parity.ports import Ports
from resnetfea.parity.settings import LOADED, LOST, NORM_PARTS, by_stage

UNLOADED = 0.01  # of a convolution in the source document's port, whose layers all start so
KERNELS: Mapping[str, Callable[[Array], Array]] = {  # what a port does to one kernel, or to all
    "height and width are exchanged": lambda w: w.transpose(0, 1, 3, 2),
    "turned by 180 degrees, as a true convolution's": lambda w: w[:, :, ::-1, ::-1],
    "input and output channels are exchanged": lambda w: w.transpose(1, 0, 2, 3),
    "bytes were laid out as HWIO and read as OIHW": lambda w: w.transpose(2, 3, 1, 0).reshape(w.shape),
}
STEMS: Mapping[str, Callable[[Array], Array]] = {
    "input channels are in reverse order: BGR where these weights take RGB, or the other way": lambda w: w[:, ::-1],
}
UNLOADED_KERNEL: Mapping[str, Callable[[Array], Array]] = {
    f"not loaded: all its numbers are {UNLOADED}": lambda w: np.full_like(w, UNLOADED),
}
STATISTICS = ("running_mean", "running_var")
EXCHANGED = (("weight", "running_var"), ("bias", "running_mean"))


def of_layer(ports: Ports, layer: str) -> Iterator[Change]:
    """A convolution's kernel turned, a norm's numbers lost or exchanged."""
    yield from _of_norm(ports, layer) if _is_norm(ports, layer) else _of_convolution(ports, layer)


def of_others(ports: Ports, layer: str, *, anywhere: bool) -> Iterator[Change]:
    """The numbers of another layer of the same shape, or its statistics alone: of the same stage, or anywhere."""
    stage, shape = layer.partition(".")[0], ports.layers[layer]["weight"].shape
    for name, theirs in ports.layers.items():
        if not anywhere and name.partition(".")[0] != stage:
            continue
        if name != layer and theirs["weight"].shape == shape and theirs.keys() == ports.layers[layer].keys():
            if STATISTICS[0] in theirs:
                statistics = {part: theirs[part] for part in STATISTICS}
                yield _weights(layer, why=f"its mean and variance are those of {name}", edit=_set(**statistics))
            yield _weights(layer, why=f"its numbers are those of {name}", edit=_set(**theirs))


def of_many(ports: Ports) -> Iterator[Change]:
    """The same mistake in all layers; a stage that nothing was loaded into, as the source document's port starts."""
    convolutions = [layer for layer in ports.layers if not _is_norm(ports, layer)]
    for why, changed in KERNELS.items():
        layers = frozenset(layer for layer in convolutions if _becomes_another(ports, layer, changed))
        yield _of_all(layers, "all convolutions", f"of every kernel the {why}", _turned(changed))
    norms = frozenset(layer for layer in ports.layers if STATISTICS[0] in ports.layers[layer])
    for one, two in EXCHANGED if norms else ():
        yield _of_all(norms, "all norms", f"{one} and {two} of every norm are exchanged", _exchanged(one, two))
    yield from _of_stages(ports)


def _of_all(layers: frozenset[str], found: str, why: str, edit: Edit) -> Change:
    return Change(setting="weights", expected=LOADED, found=found, why=why, steps=layers, edit=edit)


def _of_stages(ports: Ports) -> Iterator[Change]:
    for stage, layers in by_stage(ports.layers).items():
        if stage.startswith("layer"):
            yield Change(
                setting="weights",
                expected=LOADED,
                found=stage,
                why=f"nothing is loaded into {stage}: convolutions of {UNLOADED}, norms as initialised",
                steps=frozenset(layers),
                edit=_unloaded,
            )
            yield from _projection(ports, f"{stage}.0")


def other(ports: Ports, layer: str, why: str) -> Change:
    """Numbers that are others, but not known."""
    return _weights(layer, why=why, edit=None)


def _of_convolution(ports: Ports, layer: str) -> Iterator[Change]:
    for why, changed in {**KERNELS, **(STEMS if layer == "conv1" else {}), **UNLOADED_KERNEL}.items():
        if _becomes_another(ports, layer, changed):
            yield _weights(layer, why=f"its kernel: {why}", edit=_turned(changed))


def _becomes_another(ports: Ports, layer: str, changed: Callable[[Array], Array]) -> bool:
    own = ports.layers[layer]["weight"]
    new = changed(own)
    return new.shape == own.shape and not np.array_equal(new, own)


def _of_norm(ports: Ports, layer: str) -> Iterator[Change]:
    own = ports.layers[layer]
    if STATISTICS[0] not in own:
        return
    for setting, what, parts in LOST.values():
        initial = _set(**{part: np.full_like(own[part], NORM_PARTS[part]) for part in parts})
        if setting == "bn_statistics":
            yield _weights(layer, why="its mean and variance are as initialised", edit=initial)
        else:
            yield Change(
                setting=setting,
                expected=LOADED,
                found=layer,
                why=f"{layer}: its norms {what}",
                steps=frozenset([layer]),
                edit=initial,
            )
    for one, two in EXCHANGED:
        yield _weights(layer, why=f"its {one} and {two} are exchanged", edit=_exchanged(one, two))


def _projection(ports: Ports, block: str) -> Iterator[Change]:
    """The first block's last convolution and norm in the projection's place, and the other way."""
    pairs = {f"{block}.conv3": f"{block}.downsample.0", f"{block}.bn3": f"{block}.downsample.1"}
    pairs = {a: b for a, b in pairs.items() if a in ports.layers and b in ports.layers and _alike(ports, a, b)}
    turned = pairs | {b: a for a, b in pairs.items()}
    for names in {tuple(turned), tuple(name for name in turned if _is_norm(ports, name))}:
        if names:
            yield Change(
                setting="weights",
                expected=LOADED,
                found=", ".join(sorted(names)),
                why=f"{' and '.join(sorted(names))} have each other's numbers: projection and branch are swapped",
                steps=frozenset(names),
                edit=lambda layer, _: ports.layers[turned[layer]],
            )


def _alike(ports: Ports, one: str, two: str) -> bool:
    return ports.layers[one]["weight"].shape == ports.layers[two]["weight"].shape


def _is_norm(ports: Ports, layer: str) -> bool:
    return "bias" in ports.layers[layer]


def _unloaded(_: str, parts: Parts) -> Parts:
    if "bias" in parts:
        return {part: np.full_like(array, NORM_PARTS[part]) for part, array in parts.items()}
    return {part: np.full_like(array, UNLOADED) for part, array in parts.items()}


def _weights(layer: str, *, why: str, edit: Edit | None) -> Change:
    return Change(
        setting="weights",
        expected=LOADED,
        found=layer,
        why=f"{layer}: {why}",
        steps=frozenset([layer]),
        edit=edit,
        known=edit is not None,
    )


def _exchanged(one: str, two: str) -> Edit:
    return lambda _, own: {**own, one: own[two], two: own[one]}


def _turned(changed: Callable[[Array], Array]) -> Edit:
    return lambda _, own: {**own, "weight": changed(own["weight"])}  # when it is needed: all would be gigabytes


def _set(**parts: Array) -> Edit:
    return lambda _, own: {**own, **parts}

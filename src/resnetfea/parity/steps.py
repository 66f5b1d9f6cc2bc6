"""The cell's forward pass one layer at a time, under torchvision's module names, with any layer's input exchanged.

    cell = build.loaded(weights, variant)
    for name, ours in steps.run(cell, x):                      # conv1, bn1, maxpool, layer1.0.conv1, ..., c2, ..., c5
        ...
    for name, ours in steps.run(cell, x, instead=reference):   # every layer gets the reference's own input
        ...

`run` computes a block only when it is asked for: a search that leaves the loop at the first bad layer pays for no more.
`plan` gives the layers themselves, for whoever wants to run one of them alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import mindspore as ms
import numpy as np
from mindspore import nn
from numpy.typing import NDArray

from resnetfea.errors import ResnetFeaError
from resnetfea.network import mode
from resnetfea.network.fpn import FPN
from resnetfea.network.resnet import ResNetFea
from resnetfea.parity.trace import INPUT

STAGES = ("layer1", "layer2", "layer3", "layer4")
Array = NDArray[Any]
Floats = NDArray[np.float32]


class Step(NamedTuple):
    """One layer: its name, the names of the layers whose outputs it takes, and what it makes of them (Tensors)."""

    name: str
    inputs: tuple[str, ...]
    compute: Callable[..., ms.Tensor]
    layer: nn.Cell | None = None  # whose parameters it has
    also: str = ""  # c2 to c5 at the last block of a stage, where this network gives it: a second name of that output


def run(
    cell: ResNetFea, x: Floats, *, instead: Mapping[str, Array] | None = None, fpn: FPN | None = None
) -> Iterator[tuple[str, Floats]]:
    """Every layer's output by name, in order of execution, for images x (N, 3, H, W).

    Args:
        cell: in inference mode, as network.build gives it.
        instead: outputs of another network by the same names. Each layer still gives its own output, but what it gets
            is theirs, so that its error is its own. Where they lack a layer, the cell's own output goes on.
        fpn: the pyramid on its maps; its own maps come last, p2 first.

    Raises:
        ResnetFeaError: theirs and ours can't be added: two sizes; or theirs have other channels. It comes behind the
            layers before.
    """
    theirs = instead or {}
    flowing = {INPUT: ms.Tensor(np.ascontiguousarray(x, np.float32))}
    maps: list[ms.Tensor] = []
    for _, block in groupby(plan(cell), _block_of):
        computed: list[tuple[Step, ms.Tensor]] = []
        unlike = ""
        with mode.eager():
            for step in block:
                inputs = [flowing[name] for name in step.inputs]
                if len({one.shape for one in inputs}) > 1:
                    both = " and ".join(step.inputs)
                    unlike = f"{step.name}: {both} are of two sizes, of which the reference has only one"
                    break
                output = step.compute(*inputs)
                computed.append((step, output))
                given = next((theirs[name] for name in (step.name, step.also) if name in theirs), None)
                if given is not None and given.shape[1] != output.shape[1]:
                    unlike = f"{step.name}: {given.shape[1]} channels in the reference, {output.shape[1]} here"
                    break
                flowing[step.name] = output if given is None else ms.Tensor(np.ascontiguousarray(given, np.float32))
            # A block at once: waiting for each layer takes 3.5 times as long (2.10.0)
            arrays = [output.asnumpy() for _, output in computed]
        for (step, _), ours in zip(computed, arrays, strict=True):
            yield step.name, ours
            if step.also:
                if fpn is not None:
                    maps.append(flowing[step.name])
                yield step.also, ours
        if unlike:
            raise ResnetFeaError(unlike)
        flowing = {step.name: flowing[step.name]}  # the next block takes no other; all would be gigabytes
    if fpn is not None:
        with mode.eager():
            outputs = fpn(tuple(maps[-len(fpn.lateral_convs_list) :]))
            pyramid = [output.asnumpy() for output in outputs]
        yield from zip(fpn.channels, pyramid, strict=True)


def _block_of(step: Step) -> str:
    """layer1.0 of layer1.0.conv1 and of layer1.0; "" in the stem."""
    return ".".join(step.name.split(".")[:2]) if step.name.startswith("layer") else ""


def plan(cell: ResNetFea) -> Iterator[Step]:
    """The layers in order of execution. A ReLU belongs to the layer behind it: bn1's output is the norm's own."""
    yield from stem(cell)
    before = "maxpool"
    for number, name in enumerate(STAGES, start=2):
        blocks = list(getattr(cell, name, ()))  # a C4 body ends with layer3
        yield from stage(name, before, blocks, also=f"c{number}" if f"c{number}" in cell.out else "")
        before = f"{name}.{len(blocks) - 1}"


def stem(cell: ResNetFea) -> Iterator[Step]:
    """The layers in front of layer1."""
    yield Step("conv1", (INPUT,), cell.conv1, cell.conv1)
    yield Step("bn1", ("conv1",), cell.bn1, cell.bn1)
    yield Step("maxpool", ("bn1",), lambda x: cell.maxpool(cell.relu(x)))


def stage(name: str, before: str, blocks: Sequence[Any], also: str = "") -> Iterator[Step]:
    """The layers of one stage, e.g. layer1; `before` is the layer whose output it takes."""
    for index, block in enumerate(blocks):
        last = index == len(blocks) - 1
        yield from _block(f"{name}.{index}", before, block, also if last else "")
        before = f"{name}.{index}"


def _block(name: str, before: str, block: Any, also: str) -> Iterator[Step]:
    """The layers of a bottleneck, and the block itself: the sum with the shortcut, behind its ReLU."""
    relu = block.relu
    yield Step(f"{name}.conv1", (before,), block.conv1, block.conv1)
    yield Step(f"{name}.bn1", (f"{name}.conv1",), block.bn1, block.bn1)
    yield Step(f"{name}.conv2", (f"{name}.bn1",), lambda x: block.conv2(relu(x)), block.conv2)
    yield Step(f"{name}.bn2", (f"{name}.conv2",), block.bn2, block.bn2)
    yield Step(f"{name}.conv3", (f"{name}.bn2",), lambda x: block.conv3(relu(x)), block.conv3)
    yield Step(f"{name}.bn3", (f"{name}.conv3",), block.bn3, block.bn3)
    shortcut = before
    if block.down_sample:
        projection, shortcut = f"{name}.downsample.0", f"{name}.downsample.1"
        yield Step(projection, (before,), block.conv_down_sample, block.conv_down_sample)
        yield Step(shortcut, (projection,), block.bn_down_sample, block.bn_down_sample)
    yield Step(name, (f"{name}.bn3", shortcut), lambda y, x: relu(block.add(y, x)), also=also)

"""Gradients of every parameter beside the reference's, of one loss: the maps times the trace's tensors, summed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import ops
from numpy.typing import NDArray

from resnetfea.errors import ResnetFeaError
from resnetfea.network import mode
from resnetfea.network.build import loaded
from resnetfea.network.resnet import ResNetFea
from resnetfea.parity.steps import plan
from resnetfea.parity.trace import GRADIENT, LOSS, Trace
from resnetfea.weights import Weights, canonical
from resnetfea.weights.ecosystems import RESNETFEA

Array = NDArray[Any]


def pairs(weights: Weights, reference: Trace) -> Iterator[tuple[str, Array, Array]]:
    """(parameter, our gradient, theirs) for all that the reference has, from c5 back.

    Which parameters train is a matter of the training, not of the network: here all of them do, so that the gradients
    of a reference that trains its stem can be compared, too.

    Raises:
        ResnetFeaError: the trace has no gradients, or is of another network.
    """
    if not reference.loss or not reference.gradients:
        raise ResnetFeaError(
            f"{reference.source}: has no gradients ({LOSS}c2 and {GRADIENT}conv1.weight, ...), which only a trace can "
            "have; write it with gradients=True (`resnetfea trace-script`)"
        )
    names = [name for name in reversed(canonical.shapes(weights.variant)) if not name.endswith(canonical.STATISTICS)]
    unknown = [name for name in reference.gradients if name not in names]
    if unknown:
        raise ResnetFeaError(f"{reference.source}: {GRADIENT}{unknown[0]}: these weights have no such parameter")
    cell = loaded(weights, weights.variant, weights_update=True)
    ours = _gradients(cell, reference)
    for name in names:
        if name in reference.gradients:
            yield name, ours[RESNETFEA.theirs(name)], reference.gradients[name]


def _gradients(cell: ResNetFea, reference: Trace) -> dict[str, Array]:
    """By parameter, the cell's own names."""
    trained = [one for one in cell.get_parameters() if not one.name.endswith(("moving_mean", "moving_variance"))]
    for one in trained:
        one.requires_grad = True
    factors = {name: ms.Tensor(np.ascontiguousarray(array, np.float32)) for name, array in reference.loss.items()}
    names = [step.also for step in plan(cell) if step.also]
    multiply, total, add = ops.Mul(), ops.ReduceSum(), ops.AddN()

    def loss(x: ms.Tensor) -> ms.Tensor:
        maps = dict(zip(names, cell(x), strict=True))
        for name, factor in factors.items():
            ours = maps[name].shape if name in maps else "not there"
            if ours != factor.shape:
                raise ResnetFeaError(f"{reference.source}: `{LOSS}{name}` is {factor.shape}, but {name} is {ours} here")
        return add([total(multiply(maps[name], factor)) for name, factor in factors.items()])

    with mode.eager():  # the cell runs once: compiling a graph takes longer
        found = ms.grad(loss, None, ms.ParameterTuple(trained))(ms.Tensor(reference.input))
        return {one.name: gradient.asnumpy() for one, gradient in zip(trained, found, strict=True)}

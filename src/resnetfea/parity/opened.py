"""An ONNX reference as layers: where its graph can be read as weights, our own cell computes what no output tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from resnetfea.errors import ResnetFeaError
from resnetfea.network.build import loaded
from resnetfea.parity import steps
from resnetfea.parity.compare import row
from resnetfea.parity.steps import Step
from resnetfea.parity.trace import Trace
from resnetfea.weights import Weights, read

AS_THE_GRAPH = 1e-5  # of a map's largest value: so near our cell has to come to what ONNX Runtime computed


def opened(reference: Trace) -> Trace:
    """The reference with every layer, if it is an ONNX whose graph is a plain ResNet's; else as it is."""
    if not reference.made_here or reference.theirs is not None:
        return reference
    try:
        theirs = read(Path(reference.source))
    except ResnetFeaError:
        return reference
    layers = dict(steps.run(loaded(theirs, theirs.variant), reference.input))
    told = [row(name, layers[name], array) for name, array in reference.layers.items() if name in layers]
    if not told or not all(one.within(AS_THE_GRAPH) for one in told):
        return reference
    return replace(reference, layers={**layers, **reference.layers}, theirs=theirs)


def is_folded(weights: Weights) -> bool:
    """Whether its norms are scale and shift only, or nothing at all: their statistics are in other numbers."""
    means = [array for name, array in weights.tensors.items() if name.endswith("running_mean")]
    variances = [array for name, array in weights.tensors.items() if name.endswith("running_var")]
    return bool(means) and not any(array.any() for array in means) and all((array == 1).all() for array in variances)


def check_network(reference: Trace, plan: Sequence[Step], weights: Weights) -> None:
    """Fail on what is no ResNet of these weights: then no difference would mean anything.

    Raises:
        ResnetFeaError: it has blocks that these weights have not, or a map of other channels, or no layer of theirs.
    """
    names = {step.name for step in plan} | {step.also for step in plan if step.also}
    stages = {name.partition(".")[0] for name in names}
    blocks = [name for name in reference.layers if name not in names and name.partition(".")[0] in stages]
    if blocks:
        raise ResnetFeaError(f"{reference.source}: is of another network: these weights have no {blocks[0]}")
    if names.isdisjoint(reference.layers):
        raise ResnetFeaError(f"{reference.source}: has no layer that these weights have; give c2 to c5 at least")
    for name, channels in _channels(plan, weights).items():
        if name in reference.layers and reference.layers[name].shape[1] != channels:
            theirs = reference.layers[name].shape[1]
            raise ResnetFeaError(
                f"{reference.source}: is of another network: {name} has {theirs} channels there, "
                f"{channels} with these weights"
            )


def _channels(plan: Sequence[Step], weights: Weights) -> dict[str, int]:
    """Of each step that the weights tell: convolutions and norms, blocks by their last norm, the pool by the stem's."""
    found = {step.name: len(weights.tensors[f"{step.name}.weight"]) for step in plan if step.layer is not None}
    found["maxpool"] = found["bn1"]
    found |= {step.name: found[step.inputs[0]] for step in plan if step.layer is None and step.name != "maxpool"}
    return found | {step.also: found[step.name] for step in plan if step.also}

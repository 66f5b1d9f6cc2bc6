"""Our network as a port could have built it: with other settings, other numbers in a layer, segment by segment.

The layers are the cells of network/, built stage by stage when a setting first needs them, and filled again for each
hypothesis: to build a whole network takes half a second, and a search asks for hundreds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import Any

import mindspore as ms
import numpy as np

from resnetfea.network import mode
from resnetfea.network.build import without_tiny_variances
from resnetfea.network.norm import GroupNorm
from resnetfea.network.variant import Variant
from resnetfea.parity import linear
from resnetfea.parity.change import Array, Change, Parts
from resnetfea.parity.segments import Segment
from resnetfea.parity.stages import built, first_of, matters
from resnetfea.parity.steps import STAGES, Step
from resnetfea.weights import Weights

KEPT = 4  # segments whose outputs are kept: of a stage at 224x224 some 60 MB
IN_THE_CELL = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


class Ports:
    """Computes segments under any changes.

    Args:
        weights: whose numbers go in where no change says otherwise.
    """

    def __init__(self, weights: Weights) -> None:
        self.weights, self.variant = weights, weights.variant
        self.layers: dict[str, dict[str, Array]] = {}  # by convolution or norm, in order of execution
        for name, array in weights.tensors.items():
            layer, part = _split(name)
            self.layers.setdefault(layer, {})[part] = array
        self._steps: dict[tuple[Any, ...], dict[str, Step]] = {}  # by stage and the settings it is built with
        self._held: dict[int, dict[str, Array]] = {}  # by id of a cell: what its parameters hold
        self._numbers: dict[tuple[Any, ...], Parts] = {}  # of a layer under some changes
        self._flows: dict[tuple[Segment, frozenset[Change]], list[ms.Tensor]] = {}  # the latest segments' outputs
        self._theirs: dict[Segment, dict[str, ms.Tensor]] = {}  # the latest segments' given numbers
        self._errors: dict[tuple[Segment, frozenset[Change]], tuple[float, float]] = {}
        self.computed = 0  # segments
        self.effort = 0.0  # nominal seconds, the same on every machine
        self.plan = [self._step(name, self.variant) for name in self._names()]
        self.layers = {step.name: self.layers[step.name] for step in self.plan if step.name in self.layers}

    def error(self, segment: Segment, base: Sequence[Change] = (), more: Sequence[Change] = ()) -> float:
        """The largest max|a-b| / max|b| of what is observed there; infinite where the sizes part."""
        return self._measured(segment, base, more)[0]

    def distance(self, segment: Segment, base: Sequence[Change] = (), more: Sequence[Change] = ()) -> float:
        """The same of |a-b| / |b|, over all numbers: of two wrongs each that is righted lessens it."""
        return self._measured(segment, base, more)[1]

    def _measured(self, segment: Segment, base: Sequence[Change], more: Sequence[Change]) -> tuple[float, float]:
        relevant = [change for change in (*base, *more) if change.touches(segment)]
        key = (segment, frozenset(relevant))
        if key not in self._errors:
            ours = self.outputs(segment, base, more)
            apart = [_apart(ours.get(name), theirs) for name, theirs in segment.observed.items()]
            self._errors[key] = max(one for one, _ in apart), max(one for _, one in apart)
        return self._errors[key]

    def outputs(self, segment: Segment, base: Iterable[Change] = (), more: Iterable[Change] = ()) -> dict[str, Array]:
        """What is observed there, ours; without those layers that can't be reached, as two sizes can't be added.

        What `base` gives in front of the first layer that `more` touches is kept for the next call.
        """
        self.computed += 1
        base = [change for change in base if change.touches(segment)]
        more = [change for change in more if change.touches(segment)]
        touched = frozenset[str]().union(*(change.steps for change in more))
        first = next((place for place, name in enumerate(segment.steps) if name in touched), 0)
        flow: list[ms.Tensor] = []
        with mode.eager():
            if first:
                key = (segment, frozenset(base))
                if key not in self._flows:
                    self._flows = dict(list(self._flows.items())[1 - KEPT :])
                    self._flows[key] = self._run(segment, base, [])
                flow = self._flows[key][:first]
            flow = self._run(segment, [*base, *more], flow)
            return {
                name: output.asnumpy()
                for name, output in zip(segment.steps, flow, strict=False)
                if name in segment.observed
            }

    def possible(self, segment: Segment, layer: str, base: Sequence[Change] = ()) -> bool:
        """Whether that layer, the segment's last, could give what is observed with other numbers, for all that is told.

        Of a convolution and its norm in one segment, either may be asked.
        """
        theirs = segment.observed[segment.steps[-1]]
        if "bias" in self.layers[layer]:
            ours = self.outputs(segment, base)[segment.steps[-1]]
            return math.prod(theirs.shape[2:]) < linear.FEW or linear.off_line(ours, theirs) <= linear.FITS
        if len(segment.steps) > 1:
            return True
        variant = replace(self.variant, **{name: value for one in base for name, value in one.variant.items()})
        (x,) = segment.inputs.values()
        behind_relu = layer.endswith((".conv2", ".conv3"))
        with mode.eager():
            convolution = self._step(layer, variant).layer
            return linear.is_convolution(convolution, np.maximum(x, 0) if behind_relu else x, theirs) is not False

    def _run(self, segment: Segment, changes: Sequence[Change], done: Sequence[ms.Tensor]) -> list[ms.Tensor]:
        """The outputs of all steps, those of the first ones given; of fewer where two sizes can't be added."""
        variant = replace(self.variant, **{name: value for one in changes for name, value in one.variant.items()})
        flow = list(done)
        todo = [self._step(name, variant) for name in segment.steps[len(done) :]]
        for step in todo:  # all before the first is computed: to set a parameter waits for what is under way
            self._fill(step, variant.bn_eps, [change for change in changes if step.name in change.steps])
        flowing = dict(zip(segment.steps, flow, strict=False)) | self._given(segment)
        for step in todo:
            inputs = [flowing[given] for given in step.inputs]
            if len({one.shape for one in inputs}) > 1:
                break
            if any(change.batch and step.name in change.steps for change in changes):
                self._fill_statistics(step, variant.bn_eps, inputs[0])
            flow.append(step.compute(*inputs))
            flowing.setdefault(step.name, flow[-1])  # the next gets the reference's own where it has this one
            self.effort += self._effort(step.name, math.prod(flow[-1].shape))
        return flow

    def _given(self, segment: Segment) -> dict[str, ms.Tensor]:
        """What the reference gives there; copied once, as a stage's maps are megabytes."""
        if segment not in self._theirs:
            arrays = {**segment.inputs, **segment.observed}
            self._theirs = dict(list(self._theirs.items())[1 - KEPT :])
            self._theirs[segment] = {name: ms.Tensor(array.astype(np.float32)) for name, array in arrays.items()}
        return self._theirs[segment]

    def _effort(self, name: str, numbers: int) -> float:
        """Of a layer that gives so many numbers: a call, its products, its memory. A pass at 224x224 is 0.27 s."""
        weight = self.layers[name]["weight"] if name in self.layers else np.empty(0)
        return 8e-4 + numbers * weight[:1].size / 4e10 + numbers / 1e9

    def _fill(self, step: Step, eps: float, changes: Sequence[Change]) -> None:
        """Put the numbers in that this layer has under these changes."""
        if step.layer is None:
            return
        edits = [change for change in changes if change.edit is not None]
        key = (step.name, eps, *edits)
        parts: Parts | None = self._numbers.get(key)
        if parts is None:
            parts = self.layers[step.name]
            for change in edits:
                parts = parts if change.edit is None else change.edit(step.name, parts)
            parts = _with_eps(parts, eps) if "running_var" in parts else parts
            if "bias" in parts or not edits:  # other kernels would be gigabytes
                self._numbers[key] = parts
        if isinstance(step.layer, GroupNorm):
            step.layer.eps = eps  # it has no stored variance to which that could be added
        self._set(step, parts)

    def _fill_statistics(self, step: Step, eps: float, given: ms.Tensor) -> None:
        """The mean and variance of what a norm gets, as its stored ones."""
        x = given.asnumpy().astype(np.float64)
        weight, bias = (self._held[id(step.layer)][part] for part in ("weight", "bias"))
        own = {"weight": weight, "bias": bias, "running_mean": x.mean((0, 2, 3)), "running_var": x.var((0, 2, 3))}
        self._set(step, _with_eps(own, eps))

    def _set(self, step: Step, parts: Parts) -> None:
        held = self._held.setdefault(id(step.layer), {})
        for part, array in parts.items():
            if held.get(part) is not array:
                _parameter(step.layer, part).set_data(ms.Tensor(np.ascontiguousarray(array, np.float32)))
                held[part] = array
                self.effort += array.size / 2e8

    def _step(self, name: str, variant: Variant) -> Step:
        """The step of that name, in the cell of its stage as this variant builds it."""
        number = STAGES.index(name.partition(".")[0]) + 1 if name.startswith("layer") else 0
        changed = tuple(getattr(variant, one.name) for one in fields(variant) if one.name in matters(number))
        key = (number, *changed)
        if key not in self._steps:
            self._steps[key] = {step.name: step for step in built(number, variant)}
        return self._steps[key][name]

    def _names(self) -> list[str]:
        for number in range(self.variant.stages + 1):
            self._step(first_of(number), self.variant)
        return [name for stage in self._steps.values() for name in stage]


def _with_eps(parts: Parts, eps: float) -> dict[str, Array]:
    """Norms without an eps of their own, of the same function."""
    variance = (parts["running_var"].astype(np.float64) + eps).astype(np.float32)
    return without_tiny_variances({**parts, "running_var": variance})


def _split(name: str) -> tuple[str, str]:
    """layer1.0.conv2.offset.weight as layer1.0.conv2 and offset.weight, bn1.bias as bn1 and bias."""
    layer, _, part = name.rpartition(".")
    body = layer.removesuffix(".offset")
    return body, f"offset.{part}" if body != layer else part


def _parameter(layer: Any, part: str) -> ms.Parameter:
    if part.startswith("offset."):
        return getattr(layer.offset, part.removeprefix("offset."))
    return getattr(layer, IN_THE_CELL[part] if hasattr(layer, "gamma") else part)


def _apart(ours: Array | None, theirs: Array) -> tuple[float, float]:
    """max|a-b| / max|b| and |a-b| / |b|."""
    if ours is None or ours.shape != theirs.shape:
        return math.inf, math.inf
    difference = (ours - theirs).reshape(-1)
    worst, whole = max(float(difference.max()), -float(difference.min())), math.sqrt(float(difference @ difference))
    flat = theirs.reshape(-1)
    peak, length = max(float(flat.max()), -float(flat.min())), math.sqrt(float(flat @ flat))
    if not math.isfinite(worst) or (worst and not peak):
        return math.inf, math.inf
    return (worst / peak, whole / length) if peak else (0.0, 0.0)

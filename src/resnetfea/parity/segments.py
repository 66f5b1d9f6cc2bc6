"""A network in pieces that can be judged one by one, as finely as a reference tells what comes out of its layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from resnetfea.parity.steps import Step
from resnetfea.parity.trace import INPUT, Trace

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Segment:
    """Steps that get nothing but the reference's own numbers, so that what differs behind them arises in them.

    Attributes:
        steps: their names, in order of execution. One where the reference has every layer, a whole stage where it has
            only c2 to c5.
        inputs: the reference's outputs, or its input, that they take from before.
        observed: the reference's outputs of these steps, as far as it has them; the last step's always.
    """

    steps: tuple[str, ...]
    inputs: Mapping[str, Array]
    observed: Mapping[str, Array]

    @property
    def name(self) -> str:
        """What a person calls it: its only layer, or where it begins and ends."""
        return self.steps[0] if len(self.steps) == 1 else f"{self.steps[0]} to {self.steps[-1]}"


def cut(plan: Sequence[Step], reference: Trace, *, without: frozenset[str] = frozenset()) -> list[Segment]:
    """The reference's network in as many segments as it can be cut into.

    Args:
        plan: all steps of our network.
        reference: whose last layers, behind the last one that it has, are left out.
        without: layers that it has, but that can't be compared with ours.
    """
    given = {step.name: reference.layers[name] for step in plan if (name := _name(step, reference)) is not None}
    given = {INPUT: reference.input, **{name: array for name, array in given.items() if name not in without}}
    last_use = {name: place for place, step in enumerate(plan) for name in step.inputs}
    segments: list[Segment] = []
    begun, made = 0, {INPUT}
    for place, step in enumerate(plan):
        made.add(step.name)
        alive = {name for name in made if last_use.get(name, -1) > place}
        if step.name in given and alive <= given.keys():
            part = plan[begun : place + 1]
            names = tuple(one.name for one in part)
            taken = {name for one in part for name in one.inputs if name not in names}
            segments.append(
                Segment(
                    steps=names,
                    inputs={name: given[name] for name in taken},
                    observed={name: given[name] for name in names if name in given},
                )
            )
            begun = place + 1
    return segments


def _name(step: Step, reference: Trace) -> str | None:
    """Under which of its two names the reference has this step's output."""
    return next((name for name in (step.name, step.also) if name in reference.layers), None)

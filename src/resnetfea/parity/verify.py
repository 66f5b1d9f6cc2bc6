"""Is it the original? Every layer of W's network beside the reference's, in order of execution."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from resnetfea.engine.layers import normalised
from resnetfea.errors import ResnetFeaError
from resnetfea.network.build import fpn_of, loaded
from resnetfea.parity import gradients, steps
from resnetfea.parity.compare import Row, first_beyond, row
from resnetfea.parity.trace import GRADIENT, INPUT, Trace
from resnetfea.weights import Recipe, Weights

TOLERANCE = 1e-5  # of a layer's largest value: float32 sums in another order stay below it
LOOSER = 10  # for gradients, which sum over the map on their way through every layer


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was found.

    Attributes:
        rows: the layers that both have, in order of execution; `input` first where the trace tells its picture.
        gradients: the same for gradients, in the order in which they arise, from c5 back; named grad.PARAMETER.
        isolated: every layer got the reference's own input.
        tolerance: of the layers; that of the gradients is LOOSER times as much.
        not_compared: the reference's names that have no counterpart here.
    """

    rows: tuple[Row, ...]
    gradients: tuple[Row, ...]
    isolated: bool
    tolerance: float
    not_compared: tuple[str, ...]

    @property
    def first(self) -> Row | None:
        """The first layer that differs, or the first gradient where all layers agree."""
        for rows, tolerance in ((self.rows, self.tolerance), (self.gradients, self.tolerance * LOOSER)):
            place = first_beyond(rows, tolerance)
            if place is not None:
                return rows[place]
        return None

    @property
    def max_rel(self) -> float:
        """The largest of the layers."""
        return max(one.max_rel for one in self.rows)

    def facts(self) -> dict[str, Any]:
        """For --json. What is no number is null there."""
        first = self.first
        facts: dict[str, Any] = {
            "ok": first is None,
            "max_rel": _number(self.max_rel),
            "first_divergence": first.name if first else None,
            "layers": [_facts(one) for one in self.rows],
        }
        if self.gradients:
            facts["gradients"] = [_facts(one) for one in self.gradients]
        facts |= {"tol": _number(self.tolerance), "isolate": self.isolated}
        return facts | {"not_compared": list(self.not_compared)}


def verify(
    weights: Weights,
    reference: Trace,
    *,
    tolerance: float = TOLERANCE,
    isolate: bool = False,
    with_gradients: bool = False,
) -> Verdict:
    """Run W's network on the reference's input, layer by layer.

    Args:
        weights: what resnetfea.read gave.
        reference: what parity.reference gave.
        tolerance: the largest max_rel of a layer that agrees.
        isolate: give every layer the reference's own input, so that its error is its own.
        with_gradients: compare those of all parameters, too.

    Raises:
        ResnetFeaError: the reference is of another network, or lacks what is needed.
    """
    cell = loaded(weights, weights.variant)
    ours = {step.name: step.also for step in steps.plan(cell)}
    stages = {also: reference.layers[last] for last, also in ours.items() if also and last in reference.layers}
    given = {**stages, **reference.layers}  # a stage's last block stands for c2 to c5
    _check(reference, given, ours)
    rows = list(_input(reference, weights.recipe))
    fpn = fpn_of(weights) if weights.fpn and any(name.startswith("p") for name in given) else None
    for name, output in steps.run(cell, reference.input, instead=given if isolate else None, fpn=fpn):
        if name in given:
            _check_channels(reference, name, output, given[name])
            rows.append(row(name, output, given[name]))
    backward: tuple[Row, ...] = ()
    if with_gradients:
        backward = tuple(
            row(GRADIENT + name, mine, theirs) for name, mine, theirs in gradients.pairs(weights, reference)
        )
    used = {*ours, *ours.values(), *(fpn.channels if fpn else ())}
    return Verdict(
        rows=tuple(rows),
        gradients=backward,
        isolated=isolate,
        tolerance=tolerance,
        not_compared=(*(name for name in reference.layers if name not in used), *reference.passed_by),
    )


def sentence(verdict: Verdict) -> str:
    """Where and how much the two first differ, or that they don't."""
    first, rows = verdict.first, verdict.rows
    given = ", each given the reference's own input," if verdict.isolated else ""
    if first is None:
        worst = max(rows, key=lambda one: one.max_rel)
        more = f", and all {len(verdict.gradients)} gradients do" if verdict.gradients else ""
        return (
            f"All {len(rows)} layers{given} agree: they differ by {worst.max_rel:.1e} of a layer's largest value "
            f"at most, in {worst.name} (tolerance {verdict.tolerance:g}){more}."
        )
    if first not in rows:
        return (
            f"All {len(rows)} layers agree, and {first.name} is the first gradient to differ, counted from c5 back: "
            f"{_how_much(first)} (tolerance {verdict.tolerance * LOOSER:g})."
        )
    place = rows.index(first)
    before = max((one.max_rel for one in rows[:place]), default=None)
    so_far = f" The {place} before it agree to {before:.1e}." if before is not None else ""
    own = [one.name for one in rows if not one.within(verdict.tolerance)] if verdict.isolated else []
    also = f" In all {len(own)} differ by themselves." if len(own) > 1 else ""
    return (
        f"{first.name} is the first of {len(rows)} layers{given} to differ: {_how_much(first)} "
        f"(tolerance {verdict.tolerance:g}).{so_far}{also}"
    )


def _how_much(one: Row) -> str:
    return f"it {one.why}" if one.why else f"by {one.max_rel:.2g} of its largest value"


def _check(reference: Trace, given: Mapping[str, NDArray[Any]], ours: Mapping[str, str]) -> None:
    """Fail on what can't be the same network: then no first difference would mean anything."""
    maps = [also for also in ours.values() if also]
    lacking = [name for name in maps if name not in given]
    if lacking:
        raise ResnetFeaError(
            f"{reference.source}: lacks {', '.join(lacking)}; a reference needs {maps[0]} to {maps[-1]} at least"
        )
    stages = {name.partition(".")[0] for name in ours}  # a C4 body lacks layer4, and is no other network for that
    blocks = [name for name in reference.layers if name not in ours and name.partition(".")[0] in stages]
    if blocks:
        raise ResnetFeaError(f"{reference.source}: is of another network: these weights have no {blocks[0]}")


def _check_channels(reference: Trace, name: str, ours: NDArray[Any], theirs: NDArray[Any]) -> None:
    """Another size is a difference like others (a pool's padding can make it); other channels are other weights."""
    if ours.shape[1] != theirs.shape[1]:
        raise ResnetFeaError(
            f"{reference.source}: is of another network: {name} has {theirs.shape[1]} channels there, "
            f"{ours.shape[1]} with these weights"
        )


def _input(reference: Trace, recipe: Recipe) -> Iterator[Row]:
    """Whether our recipe makes the reference's input of its picture."""
    if reference.image is not None:
        yield row(INPUT, normalised(reference.image, recipe)[None], reference.input)


def _facts(one: Row) -> dict[str, Any]:
    numbers = {name: _number(getattr(one, name)) for name in ("max_abs", "max_rel", "cosine")}
    return {"name": one.name, **numbers, **({"why": one.why} if one.why else {})}


def _number(value: float) -> float | None:
    """JSON has neither infinity nor nan."""
    return value if math.isfinite(value) else None

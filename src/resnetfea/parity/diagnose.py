"""Why is it not the original? The fewest settings and layers in which the reference differs from what W needs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetfea.parity import input_made, precision
from resnetfea.parity.change import Change
from resnetfea.parity.input_made import Difference
from resnetfea.parity.linear import off_line
from resnetfea.parity.opened import check_network, is_folded, opened
from resnetfea.parity.ports import Ports
from resnetfea.parity.search import Evidence, Search
from resnetfea.parity.segments import Segment, cut
from resnetfea.parity.settings import LOADED, by_stage
from resnetfea.parity.trace import Trace
from resnetfea.weights import Weights

TOLERANCE = 1e-5  # of a layer's largest value, as for verify
MOST_OF = 0.8  # of a stage's convolutions, or norms, that have other numbers: then the stage has
FOLDED_ONES = 4  # convolutions that differ by a factor in each channel: then the file's norms are folded into them
FOLDED = "these weights' norms are folded into their convolutions, so that neither epsilon nor statistics can be told"


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What was found.

    Attributes:
        differences: as few as explain the reference, the input's first, then in order of execution.
        unexplained: what nothing explains, layers or the input, and why not.
        hurried: the time ran out before all pairs of causes had been tried.
        segments, agreeing: in how many pieces the reference could be cut, and how many of them are explained.
        tried: how many times a piece was computed.
        notes: what a person must know beside that.
    """

    differences: tuple[Difference, ...]
    unexplained: tuple[tuple[str, str], ...]
    hurried: bool
    segments: int
    agreeing: int
    tried: int
    notes: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """For --json."""
        return {
            "differences": [one.facts() for one in self.differences],
            "explained": not self.unexplained,
            "unexplained": [{"layer": name, "why": why} for name, why in self.unexplained],
            "pieces": self.segments,
            "pieces_that_agree": self.agreeing,
            "hypotheses_computed": self.tried,
            "stopped_early": self.hurried,
            "notes": list(self.notes),
        }


def diagnose(
    weights: Weights, reference: Trace, *, photo: Path | None = None, tolerance: float = TOLERANCE
) -> Diagnosis:
    """Search what the reference did otherwise.

    Args:
        weights: what resnetfea.read gave: right, and with the variant and recipe that they need.
        reference: what parity.reference gave.
        photo: from which a trace's input was made, where the trace does not hold its picture.
        tolerance: the largest max_rel of a layer that agrees.

    Raises:
        ResnetFeaError: the reference is of another network, or the photo is none.
    """
    made = input_made.differences(weights, reference, photo)
    ports = Ports(weights)
    check_network(reference, ports.plan, weights)
    reference, dead = _alive(opened(reference), ports)
    half = precision.of(reference.layers)
    tolerance = max(tolerance, precision.NOISE[half]) if half else tolerance
    segments = _comparable(ports, reference, tolerance)
    search = Search(ports=ports, segments=segments, tolerance=tolerance).run()
    return Diagnosis(
        differences=(*made.differences, *([_computed_in(half)] if half else []), *_merged(ports, search)),
        unexplained=(
            *([("input", made.unexplained)] if made.unexplained else []),
            *((segment.name, _unexplained(error, search.hurried)) for segment, error in search.unexplained),
            *dead,
        ),
        hurried=search.hurried,
        segments=len(segments),
        agreeing=len(segments) - len(search.unexplained),
        tried=ports.computed,
        notes=(*reference.notes, *made.notes, *([FOLDED] if is_folded(weights) else [])),
    )


def sentence(diagnosis: Diagnosis) -> str:
    """What it comes down to."""
    count, open_ones = len(diagnosis.differences), len(diagnosis.unexplained)
    if diagnosis.unexplained:
        name, why = diagnosis.unexplained[0]
        beside = f"Beside the {count} above, " if count else ""
        stays = "one difference stays" if open_ones == 1 else f"{open_ones} differences stay"
        early = " It stopped before all pairs of causes had been tried." if diagnosis.hurried else ""
        said = f"{beside}{stays} unexplained{', in' if open_ones == 1 else ', the first in'} {name}: {why}.{early}"
        return said[0].upper() + said[1:]
    if not count:
        return f"No difference: all {diagnosis.segments} pieces compute what these weights need."
    things = "This difference explains" if count == 1 else f"These {count} differences explain"
    return f"{things} the whole reference, in {diagnosis.segments} pieces."


def _unexplained(error: float, hurried: bool) -> str:
    size = f"it differs by {error:.2g} times its largest value" if math.isfinite(error) else "it is of another size"
    tried = "nothing that was tried gives it" if hurried else "no setting, no layer's numbers and no pair of these does"
    return f"given the reference's own input, {size}, and {tried}"


def _alive(reference: Trace, ports: Ports) -> tuple[Trace, tuple[tuple[str, str], ...]]:
    """The reference up to its first layer that is not finite or zero everywhere: behind that nothing can be judged."""
    names = {name: place for place, step in enumerate(ports.plan) for name in (step.name, step.also)}
    for name in sorted(reference.layers.keys() & names.keys(), key=names.__getitem__):
        array = reference.layers[name]
        if not np.isfinite(array).all() or not array.any():
            why = "is zero everywhere" if np.isfinite(array).all() else "holds numbers that are not finite"
            kept = {one: value for one, value in reference.layers.items() if names.get(one, 0) < names[name]}
            behind = f"it {why} in the reference, and nothing from there on can be judged"
            return replace(reference, layers=kept), ((name, behind),)
    return reference, ()


def _comparable(ports: Ports, reference: Trace, tolerance: float) -> list[Segment]:
    """The reference's pieces; a convolution and the norm folded into it are one, as neither is the same alone."""
    convolutions = frozenset(step.name for step in ports.plan if _is_convolution(ports, step.name))
    segments = cut(ports.plan, reference)
    if reference.theirs is not None:
        apart = is_folded(reference.theirs) != is_folded(ports.weights)
    else:  # of a trace its layers tell: a folded kernel gives the same but for a factor in each channel
        alone = [one for one in segments if len(one.steps) == 1 and one.steps[0] in convolutions]
        unlike = [one for one in alone if tolerance < ports.error(one) < math.inf]
        scaled = [one for one in unlike if _scaled(ports.outputs(one), one, tolerance)]
        apart = len(scaled) >= FOLDED_ONES and 2 * len(scaled) >= len(unlike)
    return cut(ports.plan, reference, without=convolutions) if apart else segments


def _scaled(ours: Mapping[str, NDArray[Any]], segment: Segment, tolerance: float) -> bool:
    ((name, theirs),) = segment.observed.items()
    return off_line(ours[name], theirs) <= tolerance


def _computed_in(half: str) -> Difference:
    noise = precision.NOISE[half]
    return Difference(
        "precision",
        "fp32",
        half,
        f"it computes in {half}: every number of its layers is one of that type's, so that they are held to {noise:g}",
    )


def _is_convolution(ports: Ports, step: str) -> bool:
    return step in ports.layers and "bias" not in ports.layers[step]


def _merged(ports: Ports, search: Search) -> Iterator[Difference]:
    """The changes as a person names them: a stage whose convolutions are all others is one thing, not twenty."""
    found = list(zip(search.changes, search.evidence, strict=True))
    found.sort(key=lambda one: search.segments.index(one[1].segment))
    others = {change.found for change, _ in found if change.setting == "weights"}
    stages: dict[str, str] = {}  # to what a person is told of them
    for kind, is_one in (("norms", False), ("convolutions", True)):
        of_kind = [name for name in ports.layers if _is_convolution(ports, name) is is_one]
        for stage, layers in by_stage(of_kind).items():
            count = len(others & set(layers))
            if len(layers) > 1 and count >= MOST_OF * len(layers):
                stages[stage] = f"{count} of its {len(layers)} {kind} have other numbers"
    told: set[str] = set()
    for change, evidence in found:
        whole = next((name for name in stages if all(step.startswith(f"{name}.") for step in change.steps)), None)
        if whole is None:
            yield Difference(change.setting, change.expected, change.found, _evidence(change, evidence))
        elif whole not in told:
            told.add(whole)
            why = f"{whole}: {stages[whole]}: it is not loaded, or loaded from another file"
            yield Difference("weights", LOADED, whole, why)


def _evidence(change: Change, evidence: Evidence) -> str:
    start = f"{evidence.before:.2g}" if math.isfinite(evidence.before) else "another size"
    if not change.known:
        return f"{change.why}: given the reference's own input, it differs by {start} times its largest value"
    assumed = "once both are assumed" if evidence.together > 1 else "once assumed"
    return f"{change.why}: error of {evidence.segment.name} {start} -> {evidence.after:.1e} {assumed}"

"""Why is it not the original? The fewest settings and layers in which the reference differs from what W needs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from resnetfea.parity import input_made, precision
from resnetfea.parity.change import Change
from resnetfea.parity.input_made import Difference
from resnetfea.parity.linear import off_line
from resnetfea.parity.opened import check_network, opened
from resnetfea.parity.ports import Ports
from resnetfea.parity.search import Search
from resnetfea.parity.segments import Segment, cut
from resnetfea.parity.settings import LOADED, by_stage
from resnetfea.parity.trace import Trace
from resnetfea.weights import Weights

TOLERANCE = 1e-5  # of a layer's largest value, as for verify
MOST_OF = 0.8  # of a stage's convolutions that have other numbers: then the stage has


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
    reference = opened(reference)
    half = precision.of(reference.layers)
    tolerance = max(tolerance, precision.NOISE[half]) if half else tolerance
    segments = _comparable(ports, reference, tolerance)
    search = Search(ports=ports, segments=segments, tolerance=tolerance).run()
    unlike = {id(segment) for segment, _ in search.unexplained}
    return Diagnosis(
        differences=(*made.differences, *([_computed_in(half)] if half else []), *_merged(ports, search)),
        unexplained=(
            *([("input", made.unexplained)] if made.unexplained else []),
            *((segment.name, _unexplained(error)) for segment, error in search.unexplained),
        ),
        hurried=search.hurried,
        segments=len(segments),
        agreeing=sum(id(segment) not in unlike for segment in segments),
        tried=ports.computed,
        notes=(*reference.notes, *made.notes),
    )


def sentence(diagnosis: Diagnosis) -> str:
    """What it comes down to."""
    count = len(diagnosis.differences)
    if diagnosis.unexplained:
        name, why = diagnosis.unexplained[0]
        found = f"Beside the {count} above, a" if count else "A"
        early = " It stopped before all pairs of causes had been tried." if diagnosis.hurried else ""
        return (
            f"{found} difference stays unexplained, in {name}: {why}. {diagnosis.agreeing} of {diagnosis.segments} "
            f"pieces agree.{early}"
        )
    if not count:
        return f"No difference: all {diagnosis.segments} pieces compute what these weights need."
    things = "This difference explains" if count == 1 else f"These {count} differences explain"
    return f"{things} the whole reference, in {diagnosis.segments} pieces."


def _unexplained(error: float) -> str:
    size = f"it differs by {error:.2g} of its largest value" if math.isfinite(error) else "it is of another size"
    return f"given the reference's own input, {size}, and no setting, no layer's numbers and no pair of these gives it"


def _comparable(ports: Ports, reference: Trace, tolerance: float) -> list[Segment]:
    """The reference's pieces; a convolution and the norm folded into it are one, as neither is the same alone."""
    segments = cut(ports.plan, reference)
    alone = [one for one in segments if len(one.steps) == 1 and _is_convolution(ports, one.steps[0])]
    folded = frozenset(
        one.steps[0]
        for one in alone
        if tolerance < ports.error(one) < math.inf and _scaled(ports.outputs(one), one, tolerance)
    )
    return cut(ports.plan, reference, without=folded) if folded else segments


def _scaled(ours: Mapping[str, NDArray[Any]], segment: Segment, tolerance: float) -> bool:
    """Whether theirs is ours but for a factor in each channel, as a norm folded into a convolution makes it."""
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
    found.sort(key=lambda one: search.segments.index(one[1][0]))
    others = {change.found for change, _ in found if change.setting == "weights"}
    stages = {
        stage: layers
        for stage, layers in by_stage(name for name in ports.layers if _is_convolution(ports, name)).items()
        if len(layers) > 1 and len(others & set(layers)) >= MOST_OF * len(layers)
    }
    told: set[str] = set()
    for change, evidence in found:
        stage = next((name for name in stages if all(step.startswith(f"{name}.") for step in change.steps)), None)
        if stage is None:
            beside = sum(other is evidence for _, other in found) - 1
            yield Difference(change.setting, change.expected, change.found, _evidence(change, *evidence, beside=beside))
        elif stage not in told:
            told.add(stage)
            count = sum(layer in others for layer in stages[stage])
            yield Difference(
                "weights",
                LOADED,
                stage,
                f"{stage}: {count} of its {len(stages[stage])} convolutions have other numbers: it is not loaded, or "
                "loaded from another file",
            )


def _evidence(change: Change, segment: Segment, before: float, after: float, *, beside: int) -> str:
    start = f"{before:.2g}" if math.isfinite(before) else "another size"
    if not change.known:
        return f"{change.why}: given the reference's own input, it differs by {start} of its largest value"
    assumed = "once both are assumed" if beside else "once assumed"
    return f"{change.why}: error of {segment.name} {start} -> {after:.1e} {assumed}"

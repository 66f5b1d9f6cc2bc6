"""The fewest changes that make our network the reference's, segment by segment, from the input on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, product
from typing import NamedTuple

from resnetfea.parity import epsilon, numbers, settings
from resnetfea.parity.change import Change
from resnetfea.parity.ports import Ports
from resnetfea.parity.segments import Segment

EFFORT = 18.0  # nominal seconds, after which it stops. Not real ones: it must find the same on every machine
NOISIER, RIGHTED = 10, 1e4
WITH_EPS = 6  # settings beside which the best epsilon is looked for


class Evidence(NamedTuple):
    """The segment in which a change was found, its error before and with it, and how many were found together."""

    segment: Segment
    before: float
    after: float
    together: int


@dataclass(kw_only=True)
class Search:
    """What is known so far of a reference, and how far the search got.

    Attributes:
        tolerance: the largest error of a segment that agrees.
        changes: that explain what differs, in the order in which they were found.
        evidence: for each: where it was found, and what it does there.
        unexplained: segments that no change or pair of changes explains, with the error that remains.
    """

    ports: Ports
    segments: Sequence[Segment]
    tolerance: float
    changes: list[Change] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    unexplained: list[tuple[Segment, float]] = field(default_factory=list)
    _numbers: dict[str, list[Change]] = field(default_factory=dict)  # by layer: what may have become of it
    _others: dict[str, list[Change]] = field(default_factory=dict)  # and whose numbers it may have
    _fits: dict[tuple[Segment, frozenset[Change]], Change | None] = field(default_factory=dict)  # the epsilons

    @property
    def hurried(self) -> bool:
        """Whether it stops, before all pairs have been tried."""
        return self.ports.effort > EFFORT

    def run(self) -> Search:
        """Explain the first segment that differs, and go on until none does that can be explained."""
        # The cheapest first, wherever it helps: what one segment needs may be what explains the others.
        ways = (self._by_a_setting, self._by_two_settings, self._by_a_layer, self._by_a_pair)
        while differing := [segment for segment in self.segments if not self._agrees(segment)]:
            if not any(self._explain(segment, way) for way in ways for segment in differing):
                break
        for segment in differing:
            self._give_up(segment)
        self._look_at_eps()
        return self

    @cached_property
    def _of_all(self) -> list[Change]:
        return [
            *settings.of_variant(self.ports),
            *settings.of_norms(self.ports),
            *settings.of_precision(self.ports),
            *numbers.of_many(self.ports),
        ]

    def _error(self, segment: Segment, *more: Change) -> float:
        return self.ports.error(segment, [*self.changes, *more[:-1]], more[-1:])

    def _agrees(self, segment: Segment, *more: Change) -> bool:
        """Within the tolerance; or near it, where a ten thousandth is left of what differed: norms in training mode
        make noise larger, the more so the fewer pixels they have.
        """
        error = self._error(segment, *more)
        return error <= self.tolerance or (
            error <= NOISIER * self.tolerance and error <= self.ports.error(segment) / RIGHTED
        )

    def _explain(self, segment: Segment, way: Callable[[Segment], Sequence[Change]]) -> bool:
        """Take what explains this segment, if anything does."""
        found = way(segment)
        self._take(found, segment)
        return bool(found)

    def _take(self, found: Sequence[Change], segment: Segment) -> None:
        evidence = Evidence(segment, self._error(segment), self._error(segment, *found), len(found))
        self.changes += found
        self.evidence += [evidence] * len(found)

    def _by_a_setting(self, segment: Segment) -> tuple[Change, ...]:
        everywhere = self._everywhere(segment)
        return self._best(segment, [*((change,) for change in everywhere), *self._with_eps(segment, [()])])

    def _by_two_settings(self, segment: Segment) -> tuple[Change, ...]:
        """Of which one is of the variant, the epsilon too."""
        everywhere = self._everywhere(segment)
        nearest = self._nearest(segment, everywhere)[:WITH_EPS]
        structure = [change for change in everywhere if change.variant]
        return self._best(segment, self._with_eps(segment, ((change,) for change in nearest))) or self._best(
            segment, (pair for pair in product(structure, everywhere) if _together(*pair))
        )

    def _by_a_layer(self, segment: Segment) -> tuple[Change, ...]:
        return self._first(segment, ((change,) for change in self._here(segment)))

    def _by_a_pair(self, segment: Segment) -> tuple[Change, ...]:
        """All of them, those first of which each brings the reference nearer by itself, as two causes mostly do."""
        singles = self._nearest(segment, [*self._everywhere(segment), *self._here(segment)])
        places = sorted(combinations(range(len(singles)), 2), key=lambda pair: (pair[0] + 1) * (pair[1] + 1))
        pairs = ((singles[i], singles[j]) for i, j in places)
        return self._first(segment, (pair for pair in pairs if _together(*pair)))

    def _everywhere(self, segment: Segment) -> list[Change]:
        """The settings that matter there."""
        return [change for change in self._of_all if change.touches(segment)]

    def _here(self, segment: Segment) -> list[Change]:
        """What may have become of its layers, from the last one back: what is in front need not be computed again."""
        layers = [name for name in reversed(segment.steps) if name in self.ports.layers]
        anywhere = len(layers) == 1  # of a whole stage these would be a thousand
        return [change for name in layers for change in self._of(name)] + [
            change for name in layers for change in self._of_others(name, anywhere)
        ]

    def _with_eps(self, segment: Segment, others: Iterable[tuple[Change, ...]]) -> Iterator[tuple[Change, ...]]:
        """Each of these with the epsilon that fits best beside it."""
        if not _has_norms(self.ports, segment):
            return
        for other in others:
            if not self.hurried and math.isfinite(self._error(segment, *other)):
                fitted = self._fitted(segment, other)
                if fitted is not None:
                    yield (*other, fitted)

    def _of(self, layer: str) -> list[Change]:
        if layer not in self._numbers:
            self._numbers[layer] = list(numbers.of_layer(self.ports, layer))
        return self._numbers[layer]

    def _of_others(self, layer: str, anywhere: bool) -> list[Change]:
        if layer not in self._others:
            self._others[layer] = list(numbers.of_others(self.ports, layer, anywhere=anywhere))
        return self._others[layer]

    def _nearest(self, segment: Segment, changes: Sequence[Change]) -> list[Change]:
        """Those first that bring the reference nearest; none where it is too late to look."""
        far: list[tuple[float, Change]] = []
        for change in changes:
            if self.hurried:
                return []
            far.append((self.ports.distance(segment, self.changes, [change]), change))
        return [change for _, change in sorted(far, key=lambda one: one[0])]

    def _fitted(self, segment: Segment, other: Sequence[Change]) -> Change | None:
        """The epsilon that fits best."""
        base = [*self.changes, *other]
        key = (segment, frozenset(change for change in base if change.touches(segment)))
        if key not in self._fits:
            value = epsilon.fit(self.ports, [segment], base)
            self._fits[key] = None if value is None else settings.eps(self.ports, value)
        return self._fits[key]

    def _best(self, segment: Segment, candidates: Iterable[tuple[Change, ...]]) -> tuple[Change, ...]:
        """Of those that explain this segment and spoil none, the one that explains most others, then the closest."""
        found: tuple[Change, ...] = ()
        rank: tuple[int, float] = (0, math.inf)
        for candidate in candidates:
            if self.hurried:
                break
            if not self._agrees(segment, *candidate):
                continue
            mended, spoilt = self._effect(candidate)
            # Below a tenth of the tolerance all is noise: the more common one, which comes first, is taken.
            error = max(self._error(segment, *candidate), self.tolerance / 10)
            if not spoilt and (-mended, error) < rank:
                found, rank = candidate, (-mended, error)
        return found

    def _first(self, segment: Segment, candidates: Iterable[tuple[Change, ...]]) -> tuple[Change, ...]:
        """The first that explains this segment: of one layer's numbers no two changes make the same."""
        return next((found for one in candidates if (found := self._best(segment, [one]))), ())

    def _effect(self, candidate: Sequence[Change]) -> tuple[int, int]:
        """How many segments then agree that did not, and the other way."""
        mended = spoilt = 0
        for segment in self.segments:
            if any(change.touches(segment) for change in candidate):
                before, after = self._agrees(segment), self._agrees(segment, *candidate)
                mended += after and not before
                spoilt += before and not after
        return mended, spoilt

    def _give_up(self, segment: Segment) -> None:
        """Of a single layer whose settings are all tried, the numbers are others; of more than one, it is not told."""
        layer, error = self._only_layer(segment), self._error(segment)
        if layer is None or not math.isfinite(error):
            self.unexplained.append((segment, error))
        else:
            why = "its numbers are others, as no setting that is known here explains it"
            self._take([numbers.other(self.ports, layer, why)], segment)

    def _only_layer(self, segment: Segment) -> str | None:
        """The one convolution or norm in it whose numbers can do it alone; a norm's before its convolution's."""
        layers = [step for step in segment.steps if step in self.ports.layers]
        if not layers or layers[-1] != segment.steps[-1] or (len(layers) > 1 and not _is_folded(self.ports, layers)):
            return None
        able = (layer for layer in reversed(layers) if self.ports.possible(segment, layer, self.changes))
        return next(able, None)

    def _look_at_eps(self) -> None:
        """An epsilon that is off by a thousandth stays below the tolerance, and shows in all norms together."""
        agree = [one for one in self.segments if self._agrees(one) and _has_norms(self.ports, one)]
        telling = epsilon.suspected(self.ports, agree, self.changes)
        fitted = epsilon.fit(self.ports, telling, self.changes) if telling else None
        if fitted is None:
            return
        place = next((place for place, change in enumerate(self.changes) if change.setting == "bn_eps"), None)
        change = settings.eps(self.ports, fitted)
        if place is not None:
            self.changes[place] = change
        elif fitted != self.ports.variant.bn_eps:
            self._take([change], telling[0])


def _together(one: Change, two: Change) -> bool:
    """Whether the second does not undo the first."""
    if one.setting == two.setting and one.setting in {*settings.OTHERS, "precision"}:
        return False
    return not (one.edit and two.edit and one.steps & two.steps and "weights" in (one.setting, two.setting))


def _is_folded(ports: Ports, layers: Sequence[str]) -> bool:
    """Whether these are a convolution and its norm, of which only the norm's output is known."""
    return len(layers) == 2 and "bias" not in ports.layers[layers[0]] and "bias" in ports.layers[layers[1]]


def _has_norms(ports: Ports, segment: Segment) -> bool:
    return any("bias" in ports.layers.get(step, {}) for step in segment.steps)

"""One thing that a port may have done otherwise, and how to compute it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from resnetfea.parity.segments import Segment

Array = NDArray[Any]
Parts = Mapping[str, Array]  # a layer's tensors: weight, or weight, bias, running_mean, running_var
Edit = Callable[[str, Parts], Parts]  # a layer's name and its tensors to others


@dataclass(frozen=True, kw_only=True, eq=False)
class Change:
    """One thing that the reference may have done otherwise.

    Attributes:
        setting, expected, found: as `diagnose --json` has them.
        why: what it means, as a clause.
        steps: whose outputs it can change, given the same inputs.
        variant: fields of Variant that it sets.
        edit: what becomes of the tensors of the layers among `steps`.
        batch: the norms among `steps` take mean and variance from what they get.
        known: False where the other numbers are not known, so that the layer can't be computed.
    """

    setting: str
    expected: Any
    found: Any
    why: str
    steps: frozenset[str]
    variant: Mapping[str, Any] = field(default_factory=dict)
    edit: Edit | None = None
    batch: bool = False
    known: bool = True

    def touches(self, segment: Segment) -> bool:
        """Whether it matters there."""
        return not self.steps.isdisjoint(segment.steps)

"""Whose names a file's tensors have: the table, the wrapper and the prefix that know most of them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from resnetfea.weights.ecosystem import WRAPPERS, Ecosystem
from resnetfea.weights.ecosystems import ECOSYSTEMS
from resnetfea.weights.group_norms import GROUP_NORMS


def recognise(names: Iterable[str]) -> tuple[Ecosystem, str, str]:
    """Under which ecosystem, wrapper and prefix most of these names are known as the backbone's.

    Where several share the backbone's names, what stands beside it decides; then group norms, if norms are there and
    none has statistics; then the first of the table.
    """
    given = frozenset(names)
    candidates = [
        (ecosystem, wrapper, prefix)
        for wrapper in WRAPPERS
        if not wrapper or any(name.startswith(wrapper) for name in given)
        for ecosystem in (*ECOSYSTEMS, *GROUP_NORMS)
        for prefix in ecosystem.prefixes
    ]
    candidates = [one for one in candidates if one[0].begins(given, *one[1:])] or candidates
    hits = [ecosystem.hits(given, wrapper, prefix) for ecosystem, wrapper, prefix in candidates]
    best = [one for one, count in zip(candidates, hits, strict=True) if count == max(hits)]
    beside = [sum(ecosystem.is_beside(name, wrapper) for name in given) for ecosystem, wrapper, _ in best]
    ranks = [(count, _has_group_norms(given, *one)) for count, one in zip(beside, best, strict=True)]
    return best[ranks.index(max(ranks))]


def _has_group_norms(given: frozenset[str], ecosystem: Ecosystem, wrapper: str, prefix: str) -> bool:
    """Whether this table is of group norms, and some are there: convolutions alone are every ResNet's."""
    found = ecosystem.found(given, wrapper, prefix).values() if ecosystem.variant.norm == "group" else ()
    return any(re.search(r"(bn\d|downsample\.1)\.\w+$", name) for name in found)

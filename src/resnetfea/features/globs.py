"""Patterns with *, ? and [...] for whole paths, and ** for any number of folders, none included."""

from __future__ import annotations

import fnmatch
import os
import re
from dataclasses import dataclass

MAGIC = re.compile(r"[*?[]")
ANY_FOLDERS = "**"

States = frozenset[int]  # which segments may come next; empty: nothing below can match


def is_pattern(path: bytes) -> bool:
    return MAGIC.search(os.fsdecode(path)) is not None


def parted(path: bytes) -> tuple[bytes, Pattern]:
    """The longest folder at the front that has no magic (empty where there is none), and the pattern below it."""
    names = os.fsdecode(path).split("/")
    first = next(index for index, name in enumerate(names) if MAGIC.search(name))
    base = "/".join(names[:first])
    if first and not base:  # the root
        base = "/"
    return os.fsencode(base), Pattern(tuple(name for name in names[first:] if name not in ("", ".")))


@dataclass(frozen=True)
class Pattern:
    """A pattern's segments. Names that begin with a dot match only segments that do too."""

    segments: tuple[str, ...]

    def __post_init__(self) -> None:
        matchers = [None if name == ANY_FOLDERS else re.compile(fnmatch.translate(name)) for name in self.segments]
        object.__setattr__(self, "_matchers", matchers)

    @property
    def start(self) -> States:
        """At the base."""
        return self._opened({0})

    def into(self, states: States, folder: bytes) -> States:
        """Where a path stands behind one more folder."""
        behind = set()
        for state in states:
            if self._takes(state, folder):
                behind.add(state if self.segments[state] == ANY_FOLDERS else state + 1)
        return self._opened(behind)

    def takes(self, states: States, name: bytes) -> bool:
        """Whether a file of this name ends the pattern."""
        last = len(self.segments) - 1
        return last in states and self._takes(last, name)

    def _opened(self, states: set[int]) -> States:
        """With what follows where ** stands for no folder; without the end."""
        for state in sorted(states):
            while state < len(self.segments) and self.segments[state] == ANY_FOLDERS:
                state += 1
                states.add(state)
        return frozenset(states - {len(self.segments)})

    def _takes(self, state: int, name: bytes) -> bool:
        matcher = self._matchers[state]  # type: ignore[attr-defined]
        if name.startswith(b".") and not self.segments[state].startswith("."):
            return False
        return matcher is None or matcher.match(os.fsdecode(name)) is not None


ALL = Pattern((ANY_FOLDERS,))

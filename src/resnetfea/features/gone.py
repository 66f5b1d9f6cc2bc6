"""A source that goes away while a run reads it, as an unmounted disk does: the run stops, for not one image is bad."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from resnetfea.features.store import Failure, Row


def watched(results: Iterator[Row | Failure], check: Callable[[], None]) -> Iterator[Row | Failure]:
    """Passes results on; where one says that its image is not there, `check` is asked whether the source still is."""
    for result in results:
        if isinstance(result, Failure) and result.kind in ("missing", "unreadable"):
            check()
        yield result

"""`resnetfea extract` with a look at the clock where one part ends and another begins, for measure_start.py."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BEGAN, MARKS = "MEASURE_BEGAN", "MEASURE_MARKS"  # environment: the clock when this was started; the file for the marks
marks: list[tuple[float, float]] = []


def mark() -> None:
    marks.append((time.perf_counter() - float(os.environ[BEGAN]), time.process_time()))


def main() -> None:
    mark()
    from resnetfea import weights
    from resnetfea.cli import app

    read = weights.read

    def marked(*given: Any, **options: Any) -> Any:
        mark()
        found = read(*given, **options)
        mark()
        mark_engines()
        return found

    weights.read = marked
    try:
        app(prog_name="resnetfea")
    finally:
        mark()
        Path(os.environ[MARKS]).write_text(json.dumps(marks))


def mark_engines() -> None:
    """Imported only now, as the command does."""
    from resnetfea.features import engines

    made = engines.made

    def marked(*given: Any, **options: Any) -> Any:
        network: Any = made(*given, **options)
        mark()
        prepare, features = network.prepare, network.features

        def marked_prepare() -> None:
            prepare()
            mark()

        def marked_features(pictures: Any) -> Iterator[Any]:
            for count, maps in enumerate(features(pictures)):
                if not count:
                    mark()
                yield maps

        network.prepare, network.features = marked_prepare, marked_features
        return network

    engines.made = marked


if __name__ == "__main__":
    sys.argv[0] = "resnetfea"
    main()

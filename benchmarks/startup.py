"""How soon a user sees something: the help, and on a terminal the first progress."""

from __future__ import annotations

import os
import pty
import re
import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.process import environment, ours

GOALS = {"--help": 0.3, "first progress": 1.5}  # seconds
TIMES = 5
PROGRESS = re.compile(rb"\d+/\d+")


def measured(photos: Path, weights: Path, out: Path) -> dict[str, float]:
    """Seconds, the median of some; the cache must be warm."""
    extract = ours("resnetfea", "extract", photos, "-o", out, "--overwrite", "--weights", weights, "--layers", "c5")
    shown = {"--help": (ours("resnetfea", "--help"), re.compile(rb"Usage")), "first progress": (extract, PROGRESS)}
    return {name: statistics.median(until(*what) for _ in range(TIMES)) for name, what in shown.items()}


def until(command: Sequence[str], pattern: re.Pattern[bytes]) -> float:
    """Seconds from a command's start until this is on its terminal. It is ended then.

    Raises:
        SystemExit: it ended before.
    """
    ours_, theirs = pty.openpty()
    began = time.perf_counter()
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(command[0]))
    os.close(theirs)
    said = b""
    try:
        while not pattern.search(said):
            try:
                said += os.read(ours_, 65536)
            except OSError as error:  # all ends of the terminal are closed
                raise SystemExit(f"{' '.join(command)}: showed no {pattern.pattern!r}, but {said!r}") from error
        return time.perf_counter() - began
    finally:
        process.terminate()
        process.wait()
        os.close(ours_)

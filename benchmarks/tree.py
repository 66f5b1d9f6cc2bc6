"""The memory of a process and of all that it has started, while they run."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

INTERVAL = 0.1  # seconds


class Watch:
    """Looks at it again and again, until it is stopped.

    Args:
        root: the process.
    """

    def __init__(self, root: int) -> None:
        self._root, self._peak, self._stopped = root, 0, threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def stop(self) -> int:
        """The most that there was at a time, in bytes: resident, and what several share counts once."""
        self._stopped.set()
        self._thread.join()
        return self._peak

    def _look(self) -> None:
        while not self._stopped.wait(INTERVAL):
            self._peak = max(self._peak, sum(map(_share, _below(self._root))))


def _below(root: int) -> list[int]:
    """A process, and all below it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):  # no process, or gone
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for process in found:
        found += children.get(process, [])
    return found


def _share(process: int) -> int:
    """Of what several processes share, each has its part (Linux's PSS)."""
    with suppress(OSError):  # it is gone
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0

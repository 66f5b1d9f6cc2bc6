"""How many CPU cores this process may use: by affinity, and by the limits of its container."""

from __future__ import annotations

import os
from pathlib import Path

CGROUPS = Path("/proc/self/cgroup")  # this process's place: "0::/a/b" of cgroup v2, "4:cpu,cpuacct:/a/b" of v1
MOUNT = Path("/sys/fs/cgroup")


def usable() -> int:
    """Cores by affinity and by the container's limit, whichever is less; at least 1."""
    limit = container_limit()
    return affinity() if limit is None else max(1, min(affinity(), int(limit)))


def affinity() -> int:
    """Cores that the scheduler may put this process on (taskset, cpuset)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def container_limit() -> float | None:
    """Cores by the least quota of this process's cgroups and of all above them; None where there is none.

    Inside a container the place is often written as the host sees it, while only the container's own part is mounted:
    what is missing is passed by, and the top is always looked at.
    """
    try:
        lines = CGROUPS.read_text().splitlines()
    except OSError:  # not Linux
        return None
    limits: list[float] = []
    for line in lines:
        number, controllers, place = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not controllers:
            tops, read = [MOUNT, MOUNT / "unified"], _v2
        elif "cpu" in controllers.split(","):
            tops, read = [MOUNT / controllers, MOUNT / "cpu"], _v1
        else:
            continue
        names = [part for part in place.split("/") if part]
        folders = [top.joinpath(*names[:depth]) for top in tops for depth in range(len(names) + 1)]
        limits += [limit for folder in folders if (limit := read(folder)) is not None]
    return min(limits, default=None)


def _v2(folder: Path) -> float | None:
    """ "200000 100000" is two cores, "max 100000" no limit."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _v1(folder: Path) -> float | None:
    """A quota of -1 is no limit."""
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        return quota / int((folder / "cpu.cfs_period_us").read_text()) if quota > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None

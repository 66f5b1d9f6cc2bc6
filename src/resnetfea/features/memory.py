"""The memory of a decoder's process: what it keeps, how much it may have, and that it goes before the run does.

All of it is Linux's to offer; elsewhere nothing changes.
"""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from pathlib import Path

# glibc's malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
LARGEST_BLOCK = 32 << 20  # glibc takes no more; Pillow has a picture in blocks of 16 MiB
KEPT = 256 << 20
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def keep_freed() -> bool:
    """From now on, have malloc take pictures from memory that this process has used before, and keep 256 MiB of it.

    Decoding a 12-megapixel photo touches 12,000 fresh pages otherwise, and the kernel clears each: up to a
    quarter of the time. True where it was done; elsewhere (musl, macOS) nothing changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # no such function, no such library
        return False
    mallopt(M_ARENA_MAX, 1)  # each further one reserves 64 MiB of the address space, which is limited here
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK) and mallopt(M_TRIM_THRESHOLD, KEPT))


def die_with_parent() -> None:
    """Where the thread that started this process ends, be killed, even while a decoder hangs."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def offer_to_the_system() -> None:
    """Where the machine has no memory left, Linux ends this process, and not the one that holds the run."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # first of all; a process may always raise its own


class AddressSpace:
    """How much of it this process has and may have. Where the system does not say it, there is no limit."""

    def __init__(self) -> None:
        try:
            import resource

            self._resource, self._page = resource, resource.getpagesize()
            self._users = resource.getrlimit(resource.RLIMIT_AS)
            self._statm = os.open("/proc/self/statm", os.O_RDONLY)
        except (ImportError, OSError):
            self._statm = -1

    def used(self) -> int:
        """In bytes."""
        return int(os.pread(self._statm, 64, 0).split()[0]) * self._page if self._statm >= 0 else 0

    def limit(self, size: int) -> None:
        """Beyond so many bytes malloc gives nothing; beyond what the user allows (ulimit -v) it never did."""
        if self._statm >= 0:
            soft, hard = self._users
            size = size if soft == self._resource.RLIM_INFINITY else min(size, soft)
            self._resource.setrlimit(self._resource.RLIMIT_AS, (size, hard))

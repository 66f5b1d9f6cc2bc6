"""The CPU guard: MindSpore 2.9 and 2.10 fall back to reference convolutions where the CPU has AVX-512.

Measured on 2 cores, one 224x224 image in graph mode: 3,700 to 4,600 ms as installed, 56 to 65 ms with their oneDNN held
to AVX2 (2.8.0 as installed: 36 to 43 ms). No other limit is better: AVX2_VNNI is the same, AVX takes 1.2 times as long,
SSE41 twice, AVX512_CORE and all above it fall back as without a limit. oneDNN reads it once, at its first convolution,
so it is set when resnetfea is imported. OpenVINO has a oneDNN of its own that reads the same variable; held to AVX2 it
loses half its speed and all of bf16, so `lifted` takes the limit away while OpenVINO reads it.
"""

from __future__ import annotations

import logging
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LIMIT = "ONEDNN_MAX_CPU_ISA"  # oneDNN's own variable; what the user sets there is left alone
OVERRULE = "RESNETFEA_CPU_GUARD"  # "off" keeps the guard away; the guard writes what it set, for child processes
SLOW = ((2, 9), (2, 11))  # MindSpore versions from, up to
SAFE_ISA = "AVX2"
CPUINFO = Path("/proc/cpuinfo")

log = logging.getLogger("resnetfea")


def set_limit() -> None:
    """Hold MindSpore's oneDNN to AVX2 on machines where this version needs it. Called when resnetfea is imported."""
    if LIMIT in os.environ or os.environ.get(OVERRULE) == "off":
        return
    version = mindspore_version()
    if version and is_slow(version) and has_avx512():
        os.environ[LIMIT] = os.environ[OVERRULE] = SAFE_ISA


def announce() -> None:
    """Say once for each process that the limit is in force, when MindSpore comes into use."""
    global _announced
    if is_ours() and not _announced:
        _announced = True
        log.warning(
            "MindSpore %s is some 60 times slower with AVX-512 than with AVX2, so its oneDNN is held to AVX2 "
            "(%s=%s). Set %s=off to overrule.",
            mindspore_version(),
            LIMIT,
            SAFE_ISA,
            OVERRULE,
        )


_announced = False
_lifting = threading.RLock()


@contextmanager
def lifted() -> Iterator[None]:
    """Without the guard's limit, for a library that reads it now. A limit that the user set stays."""
    with _lifting:  # another thread's end must not set the limit again while this one reads
        ours = is_ours()
        if ours:
            del os.environ[LIMIT]
        try:
            yield
        finally:
            if ours:
                os.environ[LIMIT] = SAFE_ISA


def is_ours() -> bool:
    """Whether the limit in force was set by the guard, in this process or in a parent."""
    return os.environ.get(LIMIT) == SAFE_ISA == os.environ.get(OVERRULE)


def is_slow(version: str) -> bool:
    """Whether this MindSpore falls back to reference convolutions where there is AVX-512."""
    return SLOW[0] <= _numbers(version) < SLOW[1]


def mindspore_version() -> str | None:
    """The installed MindSpore's version, without importing it."""
    from importlib import metadata  # 20 ms, which a decoder's process does not have

    try:
        return metadata.version("mindspore")
    except metadata.PackageNotFoundError:
        return None


def has_avx512() -> bool:
    """Whether an x86 CPU has AVX-512. Where the system doesn't say, yes: without it the limit changes nothing."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        return "avx512f" in cpu_flags()
    except OSError:
        return True


def cpu_flags() -> frozenset[str]:
    """What Linux lists of this CPU's abilities.

    Raises:
        OSError: not Linux.
    """
    for line in CPUINFO.read_text().splitlines():
        if line.startswith(("flags", "Features")):  # x86, ARM
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def _numbers(version: str) -> tuple[int, int]:
    major, minor = [*version.split("."), "0"][:2]
    return int(major), int(minor)

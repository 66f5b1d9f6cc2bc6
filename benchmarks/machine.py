"""The machine and the libraries, as the page names them."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Set
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.process import run, theirs
from resnetfea.engine import cores

TELLING = (  # flags that decide how fast a network runs
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_bf16",
    "amx_int8",
    "asimddp",
    "bf16",
    "i8mm",
)
OURS = ("mindspore", "openvino", "numpy", "pillow", "pyarrow")


def described(flags: Set[str]) -> dict[str, Any]:
    """CPU, flags, cores, memory in bytes, versions here, versions of the peers."""
    return {
        "cpu": _cpu(),
        "flags": [flag for flag in TELLING if flag in flags],
        "cores": cores.usable(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": {name: metadata.version(name) for name in OURS},
        "peers": _of_peers(),
        "peak": json.loads(run(theirs("benchmarks.peak")).out),
    }


def _cpu() -> str:
    """Its name, with family and model where the name of a rented one says little."""
    facts: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    name = facts.get("model name", platform.machine())
    return f"{name} (family {facts['cpu family']}, model {facts['model']})" if "cpu family" in facts else name


def _of_peers() -> dict[str, str]:
    """The versions that requirements/bench.txt pins."""
    lines = Path("requirements/bench.txt").read_text().splitlines()
    pins = (line.partition("==") for line in lines if "==" in line and not line.startswith("#"))
    return {name: version for name, _, version in pins}

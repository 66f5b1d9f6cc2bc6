"""What this machine can and cannot do well: facts, without importing MindSpore or OpenVINO. advice.py judges them."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from resnetfea import cache_folder, cpu_guard
from resnetfea.engine import cores

ISAS = (  # best first: what oneDNN calls the instruction set, and the flags that it needs
    ("avx512_amx", ("amx_tile", "amx_int8", "amx_bf16")),
    ("avx512_bf16", ("avx512_bf16",)),
    ("avx512_vnni", ("avx512_vnni",)),
    ("avx512", ("avx512f", "avx512bw", "avx512vl", "avx512dq")),
    ("avx2_vnni", ("avx_vnni",)),
    ("avx2", ("avx2", "fma")),
    ("sse41", ("sse4_1",)),
    ("sve", ("sve",)),
    ("asimd", ("asimd",)),
)
FEATURES = (  # of all flags, those that networks run on
    *("sse4_1", "avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_bf16", "amx_int8", "asimd", "asimddp", "bf16", "i8mm", "sve"),
)


def facts() -> dict[str, Any]:
    """By name, in the order in which a person reads them.

    cores: usable, of which machine has how many; affinity and container_limit (None: none) say why.
    cache_bytes: of all that lies in the cache folder.
    """
    flags = _flags()
    cache = cache_folder.folder()
    limit = os.environ.get(cpu_guard.LIMIT)
    return {
        "cpu": _model(),
        "cpu_isa": _cpu_isa(flags),
        "cpu_features": [feature for feature in FEATURES if feature in flags],
        "cores": cores.usable(),
        "cores_of_machine": os.cpu_count() or 1,
        "cores_by_affinity": cores.affinity(),
        "container_limit": cores.container_limit(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS") or "not set",
        "onednn_max_cpu_isa": limit or "none",
        "limit_set_by": "resnetfea" if cpu_guard.is_ours() else "you" if limit else "nobody",
        "mindspore": _version("mindspore"),
        "openvino": _version("openvino"),
        "numpy": _version("numpy"),
        "pillow": _version("pillow"),
        "pyarrow": _version("pyarrow"),
        "python": platform.python_version(),
        "resnetfea": _version("resnetfea"),
        "cache": str(cache),
        "cache_bytes": _bytes(cache),
        "cache_writable": _writable(cache),
    }


def _flags() -> frozenset[str]:
    try:
        return cpu_guard.cpu_flags()
    except OSError:  # not Linux
        return frozenset()


def _cpu_isa(flags: frozenset[str]) -> str:
    if not flags:
        return f"unknown ({platform.system()} {platform.machine()})"
    return next((name for name, needed in ISAS if flags.issuperset(needed)), platform.machine())


def _model() -> str:
    """The CPU's name, where Linux tells it (not on ARM)."""
    try:
        lines = cpu_guard.CPUINFO.read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _bytes(folder: Path) -> int:
    """Of all files below it; those that go meanwhile count nothing."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(where, name)).st_size
            except OSError:
                continue
    return total


def _writable(folder: Path) -> bool:
    """Whether files can be made in it, or it itself in the nearest folder that is there."""
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)

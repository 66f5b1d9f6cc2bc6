"""What this machine can and cannot do well."""

from __future__ import annotations

import os
import platform
from importlib import metadata
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


def facts() -> dict[str, Any]:
    """By name, in the order in which a person reads them. Imports neither MindSpore nor OpenVINO."""
    return {
        "cpu_isa": _cpu_isa(),
        "cores": cores.usable(),
        "onednn_max_cpu_isa": os.environ.get(cpu_guard.LIMIT) or "none",
        "limit_set_by": "resnetfea" if cpu_guard.is_ours() else "you" if os.environ.get(cpu_guard.LIMIT) else "nobody",
        "mindspore": _version("mindspore"),
        "openvino": _version("openvino"),
        "numpy": _version("numpy"),
        "pillow": _version("pillow"),
        "python": platform.python_version(),
        "resnetfea": _version("resnetfea"),
        "cache": str(cache_folder.folder()),
    }


def _cpu_isa() -> str:
    try:
        flags = cpu_guard.cpu_flags()
    except OSError:
        return f"unknown ({platform.system()} {platform.machine()})"
    return next((name for name, needed in ISAS if flags.issuperset(needed)), platform.machine())


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"

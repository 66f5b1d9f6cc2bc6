"""What to change on this machine, from doctor's facts: a line for each thing that costs speed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resnetfea import cache_folder, cpu_guard

BELOW_AVX512 = (
    "SSE41",
    "AVX",
    "AVX2",
    "AVX2_VNNI",
    "AVX2_VNNI_2",
)  # all other words leave AVX-512 on, unknown ones too
SLOW_LIMITS = {"SSE41": "twice", "AVX": "1.2 times"}  # MindSpore 2.9 and 2.10 beside AVX2 (cpu_guard.py)
LOW_SHARE = 0.15  # MindSpore's convolutions make 0.9 to 1.1 of the matrix-multiply speed, the reference ones 0.013


def advice(facts: Mapping[str, Any]) -> list[str]:
    """Lines for a person, none where all is well. With `measure`'s facts it judges these too."""
    return [*_of_the_limit(facts), *_of_cores(facts), *_of_precisions(facts), *_of_the_rest(facts)]


def _of_the_limit(facts: Mapping[str, Any]) -> list[str]:
    limit, slow = str(facts["onednn_max_cpu_isa"]), _needs_the_guard(facts)
    mindspore = f"MindSpore {facts['mindspore']}"
    if facts["limit_set_by"] == "you":
        said = f"{cpu_guard.LIMIT} is set by you to {limit}"
        if limit.upper() not in BELOW_AVX512:
            if slow:
                return [f"{said}: {mindspore} is some 60 times slower with AVX-512 than with AVX2; unset it"]
            return []
        if slow and limit.upper() in SLOW_LIMITS:
            much = SLOW_LIMITS[limit.upper()]
            return [f"{said}: {mindspore} takes {much} as long as with AVX2, and OpenVINO is held too; unset it"]
        if slow:
            return [
                f"{said}: that holds OpenVINO too, to half its speed and without bf16; unset it, then resnetfea sets "
                "it for MindSpore alone"
            ]
        if _has_avx512(facts) or limit.upper() in SLOW_LIMITS:
            return [f"{said}: MindSpore and OpenVINO are held below what this CPU has; unset it"]
        return []
    if facts["limit_set_by"] == "nobody" and slow:
        return [
            f"no oneDNN limit is in force: {mindspore} is some 60 times slower with AVX-512 than with AVX2; "
            f"unset {cpu_guard.OVERRULE} and {cpu_guard.LIMIT}"
        ]
    return []


def _of_cores(facts: Mapping[str, Any]) -> list[str]:
    machine, lines = facts["cores_of_machine"], []
    if facts["cores_by_affinity"] < machine:
        lines.append(
            f"{facts['cores_by_affinity']} of {machine} cores allowed by this process's affinity (taskset, cpuset)"
        )
    limit = facts["container_limit"]
    if limit is not None and limit < facts["cores_by_affinity"]:
        lines.append(f"{limit:g} of {machine} cores allowed by the container: raise its CPU limit")
    return lines


def _of_precisions(facts: Mapping[str, Any]) -> list[str]:
    has = set(facts["cpu_features"])
    if not has:
        return []
    lines = []
    if not has & {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"}:
        lines.append("int8 is only fast with VNNI (ARM: dot product): this CPU has none")
    if not has & {"avx512_bf16", "amx_bf16", "bf16"}:
        lines.append("bf16 is only fast with AVX512-BF16 or AMX (ARM: BF16): this CPU has neither")
    return lines


def _of_the_rest(facts: Mapping[str, Any]) -> list[str]:
    lines = []
    for package, needed_by in (("mindspore", "the cell, and a network's first use"), ("openvino", "the fast engine")):
        if facts[package] == "not installed":
            lines.append(f"{package} is not installed: {needed_by} needs it; pip install {package}")
    if not facts["cache_writable"]:
        lines.append(
            f"{facts['cache']} cannot be written: each run compiles and downloads anew; set {cache_folder.VARIABLE}"
        )
    share = facts.get("mindspore_share")
    if share is not None and share < LOW_SHARE and not _of_the_limit(facts):  # which would be why
        lines.append(
            f"MindSpore's convolutions make {share:.1%} of the machine's matrix-multiply speed: its oneDNN falls back "
            f"to slow ones; try {cpu_guard.LIMIT}={cpu_guard.SAFE_ISA}, and please report this CPU"
        )
    return lines


def _needs_the_guard(facts: Mapping[str, Any]) -> bool:
    installed = facts["mindspore"] != "not installed"
    return installed and cpu_guard.is_slow(facts["mindspore"]) and _has_avx512(facts)


def _has_avx512(facts: Mapping[str, Any]) -> bool:
    return "avx512f" in facts["cpu_features"]

"""Which arithmetic a network runs in, what this CPU has for it, and what it costs in quality. Imports no framework."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from resnetfea import cpu_guard
from resnetfea.errors import ResnetFeaError

Precision = Literal["fp32", "bf16", "int8"]
INT8_FORMAT = 8  # raised when the same photos would give another int8 network
MIN_COSINE = 0.99  # of each photo's averaged maps with those of fp32
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "int8")
# Values of oneDNN's limit that leave bf16; below them its kernels are gone, though OpenVINO still offers the precision.
LIMITS_WITH_BF16 = ("DEFAULT", "ALL", "AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX512_CORE_AMX", "AVX10", "AVX2_VNNI_2")
BF16_FLAGS = frozenset(("avx512_bf16", "amx_bf16"))
# What decides how int8 and bf16 compute; a choice made on a CPU with others of them is not taken over.
TELLING_FLAGS = frozenset(("avx2", "avx512bw", "avx_vnni", "avx512_vnni", "amx_int8", *BF16_FLAGS))


@dataclass(frozen=True)
class Calibration:
    """Photos that ranges are taken from and quality is measured on.

    identity: changes when the pictures would.
    pictures: gives them, each uint8 RGB (H, W, 3) of the recipe's size; called only where it is not known yet.
    """

    identity: str
    pictures: Callable[[], Sequence[NDArray[np.uint8]]]


@dataclass(frozen=True)
class Quality:
    """What a precision loses, measured on photos.

    photos: how many.
    kept: stem and bottlenecks that stay in floating point.
    worst: of each layer, the smallest cosine of a photo's averaged map with that of fp32.
    """

    photos: int
    kept: tuple[str, ...]
    worst: dict[str, float]


class NoBf16(ResnetFeaError):
    """This CPU has no arithmetic for it."""


class TooCoarse(ResnetFeaError):
    """Eight bits lose more than is allowed."""


def has_bf16(core: Any) -> bool:
    """Whether this CPU multiplies bf16 itself, and may. OpenVINO imitates it on others, slower than fp32.

    Args:
        core: an openvino.Core.
    """
    if not _users_limit().startswith(LIMITS_WITH_BF16) or not _flags() & BF16_FLAGS:
        return False
    with cpu_guard.lifted():  # the question itself makes oneDNN read the limit, and keep it
        return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def check_possible(precision: Precision, core: Any) -> None:
    """Whether this CPU can compute so.

    Raises:
        ValueError: there is no such precision.
        NoBf16: it can't.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision!r}: choose from {PRECISIONS}")
    if precision == "bf16" and not has_bf16(core):
        raise NoBf16("this CPU has no bf16 arithmetic (AVX512-BF16, AMX), or a limit forbids it; take fp32 or int8")


def hint(precision: Precision, core: Any) -> str:
    """What OpenVINO is asked for. Of int8 it is for what is not quantised."""
    return "bf16" if precision != "fp32" and has_bf16(core) else "f32"


def telling_flags() -> list[str]:
    """The telling flags that this CPU has, sorted, and the limit that the user set."""
    return [*sorted(_flags() & TELLING_FLAGS), _users_limit()]


def _users_limit() -> str:
    """oneDNN's own variable. OpenVINO reads what the user set, and not what the guard sets for MindSpore."""
    return "DEFAULT" if cpu_guard.is_ours() else os.environ.get(cpu_guard.LIMIT, "DEFAULT").upper()


def _flags() -> frozenset[str]:
    try:
        return cpu_guard.cpu_flags()
    except OSError:  # not Linux
        return frozenset()

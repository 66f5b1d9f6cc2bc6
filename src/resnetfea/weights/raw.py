"""What a container's reader gives: named arrays as the file has them, before anyone asks what they mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True)
class RawFile:
    """Tensors by the file's own names, and the names of what else it holds (epoch, optimiser, ...)."""

    container: str
    tensors: dict[str, NDArray[Any]]
    beside: tuple[str, ...] = field(default=())

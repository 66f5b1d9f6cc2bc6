"""What a container's reader gives: named arrays as the file has them, before anyone asks what they mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True)
class RawFile:
    """Named tensors as a file has them.

    Attributes:
        container: how the file is built.
        tensors: by the file's own names.
        beside: names of what else it holds (epoch, optimiser, ...).
        wrapper: the entry that the tensors were taken from, e.g. "state_dict"; empty where they lie bare.
        author: who wrote it, where it says so (detectron2's pickles do).
        config: the configuration it was trained with, as text, where it has one (OpenMMLab's do).
        card: what a file written by us says of itself (card.py).
        unpacked: its size in bytes once decompressed, where it is compressed.
    """

    container: str
    tensors: dict[str, NDArray[Any]]
    beside: tuple[str, ...] = field(default=())
    wrapper: str = ""
    author: str = ""
    config: str = ""
    card: bytes | None = None
    unpacked: int = 0

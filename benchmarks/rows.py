"""What is compared: the rows of resnetfea with their goals, and the peers beside them. The goals are issue 6's."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Literal

BASE = "torch"  # the peer that every ratio is to
BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})  # any of them; the last is ARM's
VNNI = frozenset({"avx512_vnni", "avx_vnni"})
Photos = Literal["web", "phone"]
Precision = Literal["fp32", "bf16", "int8"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way to call `resnetfea extract`.

    Attributes:
        photos, precision, decode: what of, and with which flags.
        goal: how many times as fast as the torch script, at least; None without one.
        cosine: of the pooled layers of real weights to fp32 and exact decoding, at least, for the worst photo.
            None: the numbers are held to the MindSpore cell's instead.
        by_hand: the peer that this must not be slower than.
    """

    photos: Photos
    precision: Precision
    decode: Literal["exact", "fast"]
    goal: float | None
    cosine: float | None
    by_hand: str

    @property
    def key(self) -> str:
        return f"{self.photos} {self.precision} {self.decode}"

    @property
    def exact(self) -> bool:
        """Whether it computes what the torch script does."""
        return self.precision == "fp32" and self.decode == "exact"

    @property
    def flags(self) -> list[str]:
        return ["--precision", self.precision, "--decode", self.decode]


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One way to call a script in peers/."""

    name: str
    photos: Photos
    module: str
    model: str  # file in build/bench
    flags: tuple[str, ...] = ()
    precision: Precision = "fp32"

    @property
    def key(self) -> str:
        return f"{self.photos} {self.name}"

    @property
    def exact(self) -> bool:
        """Whether it computes what the torch script does."""
        return self.precision == "fp32" and "--reduced" not in self.flags


MAX_REL = 1e-5  # of an exact fp32 row to the MindSpore cell: max|a-b| / max|b| of a layer
AGREE = 1e-4  # of a peer's fp32 features to the torch script's: more, and it is not the same work
WITHIN = 1.05  # times the larger of the engine alone and all CPU time spread over the cores


def rows(flags: Set[str]) -> tuple[Row, ...]:
    """The rows, with the goals for a CPU of these abilities."""
    int8 = 5.0 if flags & VNNI else 2.4
    return (
        Row(photos="web", precision="fp32", decode="exact", goal=1.7, cosine=None, by_hand="openvino fp32"),
        Row(photos="web", precision="bf16", decode="exact", goal=3.2, cosine=0.9995, by_hand="openvino bf16"),
        Row(photos="web", precision="int8", decode="exact", goal=int8, cosine=0.99, by_hand="openvino int8"),
        Row(photos="phone", precision="fp32", decode="exact", goal=None, cosine=None, by_hand="openvino fp32"),
        Row(photos="phone", precision="fp32", decode="fast", goal=3.8, cosine=0.9995, by_hand="openvino fp32 reduced"),
        Row(photos="phone", precision="int8", decode="fast", goal=6.0, cosine=0.99, by_hand="openvino int8 reduced"),
    )


def peers() -> tuple[Peer, ...]:
    """What people write today, for each kind of photo."""
    both: list[Peer] = []
    photos: Photos
    for photos in ("web", "phone"):
        both += [
            Peer(name=BASE, photos=photos, module="torch_dataloader", model="resnet50.safetensors"),
            Peer(name="onnxruntime fp32", photos=photos, module="onnx_runtime", model="resnet50.onnx"),
        ]
    return (
        *both,
        _by_hand("web", "fp32"),
        _by_hand("web", "bf16"),
        _by_hand("web", "int8"),
        _by_hand("phone", "fp32"),
        _by_hand("phone", "fp32", reduced=True),
        _by_hand("phone", "int8", reduced=True),
    )


def missing(precision: Precision, flags: Set[str]) -> str:
    """Why this CPU does not run such a row; empty where it does."""
    return "this CPU has no bf16" if precision == "bf16" and not flags & BF16 else ""


def good(row: Row, quality: Mapping[str, float]) -> bool:
    """Whether the worst photo's numbers, layer by layer, are near enough."""
    if row.cosine is None:
        return max(quality.values()) <= MAX_REL
    return min(quality.values()) >= row.cosine


def _by_hand(photos: Photos, precision: Precision, *, reduced: bool = False) -> Peer:
    return Peer(
        name=f"openvino {precision}{' reduced' * reduced}",
        photos=photos,
        module="openvino_by_hand",
        model="resnet50.onnx",
        flags=("--precision", precision, *(["--reduced"] if reduced else [])),
        precision=precision,
    )

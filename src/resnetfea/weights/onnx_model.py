"""An ONNX model, field by field: nodes, stored tensors, inputs. Weights stay where they lie in the file's bytes.

onnx.load copies every weight, trusts protobuf's C++ with the whole file, and can be made to take a hundred times the
file's size. Field numbers are those of onnx/onnx.proto (onnx 1.23); the messages are named in the comments.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from resnetfea.errors import ResnetFeaError, printable
from resnetfea.weights.protobuf import Field, fields, text, varint

MAX_STRUCTURE = 8 << 20  # bytes; a ResNet-152 has 0.2 MB, with every node's Python stack 2 MB
MAX_INTEGERS = 1 << 16  # in one field; weights are never stored as these
FIELD_COST = 16  # what a field costs as an object, at least, and what it takes to look at it here
OWN = ("", "ai.onnx")  # ONNX's own operators; another vendor's of the same name are others
FLOAT, INT, STRING, TENSOR, FLOATS, INTS = 1, 2, 3, 4, 6, 7  # AttributeProto.AttributeType
KINDS: dict[str, tuple[int, ...]] = {  # of the settings that are read
    "strides": (INTS,), "dilations": (INTS,), "kernel_shape": (INTS,), "pads": (INTS,),
    "perm": (INTS,), "axes": (INTS,), "shape": (INTS,), "value_ints": (INTS,), "value_floats": (FLOATS,),
    "group": (INT,), "ceil_mode": (INT,), "to": (INT,), "axis": (INT,), "start": (INT,), "end": (INT,),
    "allowzero": (INT,), "value_int": (INT,), "broadcast": (INT,), "epsilon": (FLOAT,), "value_float": (FLOAT,),
    "auto_pad": (STRING,), "mode": (STRING,), "value": (TENSOR, FLOAT),
}  # fmt: skip
Parts = Mapping[int, list[Field]]  # a message's fields by number


@dataclass(frozen=True)
class Tensor:
    """A stored tensor: its type is onnx's number (TensorProto.DataType); its numbers are in `parts` or elsewhere."""

    name: str
    dtype: int
    shape: tuple[int, ...]
    parts: Parts
    external: Mapping[str, str] | None  # location, offset, length; None where the numbers are in this file


@dataclass(frozen=True, eq=False)
class Node:
    """One operation. Settings are read when they are asked for: most belong to operators that nobody asks about."""

    operator: str  # "" where it is another vendor's
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: Sequence[tuple[str, Parts]]

    def attributes(self) -> dict[str, Any]:
        """The settings by name, those of KINDS only."""
        return self._attributes

    @cached_property
    def _attributes(self) -> dict[str, Any]:
        """Read once: a node is asked often, and its lists may be long."""
        found: dict[str, Any] = {}
        for name, parts in self.settings:
            if name not in KINDS:
                continue
            kind = number(parts, 20)
            if kind not in KINDS[name] or 21 in parts or name in found:  # 21: a reference to a function's argument
                raise ResnetFeaError(f"its node {self.name!r} has a {name} of a wrong kind, or two")
            found[name] = _value(kind, parts)
        return found


@dataclass(frozen=True)
class Model:
    """What a graph is made of."""

    nodes: Sequence[Node]
    tensors: Sequence[Tensor]
    inputs: Sequence[str]


def load(data: bytes) -> Model:
    """The model's graph, nothing of it checked but its form.

    Raises:
        ResnetFeaError: it is no ONNX model, or much larger in memory than in the file.
    """
    return _Loader().model(memoryview(data))


class _Loader:
    """Counts while it reads: an empty node has 2 bytes in the file and some hundred here."""

    def __init__(self) -> None:
        self._left = MAX_STRUCTURE

    def model(self, data: memoryview) -> Model:
        model = self._parts(data, inside=(7,))  # ModelProto
        for function in messages(model, 25):
            if string(self._parts(function), 10) in OWN:  # FunctionProto.domain
                raise ResnetFeaError("it defines an operator of ONNX's own anew")
        graphs = messages(model, 7)
        if len(graphs) != 1:
            raise ResnetFeaError(f"it has {len(graphs)} graphs; an ONNX model has one")
        graph = self._parts(graphs[0], inside=(1, 5))  # GraphProto
        return Model(
            [self._node(node) for node in messages(graph, 1)],
            [self._tensor(tensor) for tensor in messages(graph, 5)],
            [string(self._parts(value), 1) for value in messages(graph, 11)],
        )

    def _node(self, message: memoryview) -> Node:
        parts = self._parts(message, inside=(5,))  # NodeProto
        settings = []
        for attribute in messages(parts, 5):
            inner = dict(self._parts(attribute, inside=(5,)))  # AttributeProto
            if 5 in inner:
                inner[5] = [self._tensor(tensor) for tensor in messages(inner, 5)]  # type: ignore[misc]
            settings.append((string(inner, 1), inner))
        own = string(parts, 7) in OWN
        return Node(string(parts, 4) if own else "", string(parts, 3), strings(parts, 1), strings(parts, 2), settings)

    def _tensor(self, message: memoryview) -> Tensor:
        parts = self._parts(message, inside=(4, 9, 10))  # TensorProto: float_data, raw_data, double_data
        entries = [self._parts(entry) for entry in messages(parts, 13)]  # external_data
        external = {string(entry, 1): string(entry, 2) for entry in entries}
        if len(external) != len(entries):
            raise ResnetFeaError(f"{string(parts, 8)!r} says twice where it lies")
        if 3 in parts:
            raise ResnetFeaError(f"{string(parts, 8)!r} is cut into segments, which no exporter writes")
        elsewhere = bool(entries) or number(parts, 14) == 1  # data_location EXTERNAL
        dtype, shape = number(parts, 2), tuple(integers(parts, 1))
        return Tensor(string(parts, 8), dtype, shape, parts, external if elsewhere else None)

    def _parts(self, message: memoryview, inside: tuple[int, ...] = ()) -> Parts:
        """The fields by number. `inside`: what is looked at on its own, or as long in memory as in the file."""
        found: dict[int, list[Field]] = {}
        for index, value in fields(message):
            self._left -= FIELD_COST
            if isinstance(value, memoryview) and index not in inside:
                self._left -= len(value)
            if self._left < 0:
                raise ResnetFeaError(
                    f"it has more than {MAX_STRUCTURE:,} bytes beside its weights; no ResNet needs that"
                )
            found.setdefault(index, []).append(value)
        return found


def messages(parts: Parts, index: int) -> list[memoryview]:
    """All that this field holds: messages, or strings of bytes."""
    found = parts.get(index, [])
    if not all(isinstance(value, memoryview) for value in found):
        raise ResnetFeaError("it is not an ONNX model: a number stands where a message belongs")
    return found  # type: ignore[return-value]


def strings(parts: Parts, index: int) -> tuple[str, ...]:
    """A repeated string."""
    return tuple(map(text, messages(parts, index)))


def string(parts: Parts, index: int) -> str:
    """A string, "" where it is not there."""
    found = strings(parts, index)
    if len(found) > 1:
        raise ResnetFeaError(f"it has two names where one belongs: {printable(' and '.join(found[:2]))}")
    return found[0] if found else ""


def number(parts: Parts, index: int) -> int:
    """A whole number, 0 where it is not there."""
    found = integers(parts, index)
    if len(found) > 1:
        raise ResnetFeaError("it has two numbers where one belongs")
    return found[0] if found else 0


def integers(parts: Parts, index: int) -> list[int]:
    """Repeated int64, one by one or packed."""
    found: list[int] = []
    for value in parts.get(index, []):
        if isinstance(value, bytes):
            raise ResnetFeaError("it is not an ONNX model: a fraction stands where a whole number belongs")
        rest = value
        while isinstance(rest, memoryview) and rest and len(found) <= MAX_INTEGERS:
            one, rest = varint(rest)
            found.append(one)
        if isinstance(rest, int):
            found.append(rest)
    if len(found) > MAX_INTEGERS:
        raise ResnetFeaError(f"more than {MAX_INTEGERS:,} whole numbers lie in one field; no ResNet needs that")
    return [one - (1 << 64) if one >> 63 else one for one in found]


def _value(kind: int, parts: Parts) -> Any:
    """What a setting is set to."""
    if kind == INTS:
        return integers(parts, 8)
    if kind == INT:
        return number(parts, 3)
    if kind == STRING:
        return string(parts, 4)
    if kind == TENSOR and len(parts.get(5, ())) == 1:
        return parts[5][0]
    packed = b"".join(bytes(value) for value in parts.get(7 if kind == FLOATS else 2, []) if not isinstance(value, int))
    if kind not in (FLOAT, FLOATS) or len(packed) % 4 or (kind == FLOAT and len(packed) != 4):
        raise ResnetFeaError("one of its settings has no value of its kind")
    floats = [one for (one,) in struct.iter_unpack("<f", packed)]
    return floats if kind == FLOATS else floats[0]

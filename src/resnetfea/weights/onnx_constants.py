"""What a graph knows before it runs: stored tensors, and what its nodes make of them alone.

Weights are moved (Transpose, Reshape) or retyped as the graph does it; arithmetic is done on norms' vectors only:
torch writes FrozenBatchNorm2d so, and a convolution's missing bias as an expanded zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetfea.errors import ResnetFeaError
from resnetfea.weights.onnx_data import DataFiles
from resnetfea.weights.onnx_model import Model, Node, Tensor

Array = NDArray[Any]
MAX_SMALL = 1 << 16  # numbers in the result of arithmetic; the widest norm of a Wide ResNet has 2,048
MAX_DEPTH = 32  # nodes between a stored tensor and its use; torch writes 6
MAX_COPIED = 600 << 20  # bytes of all results that are no views of stored tensors
ARITHMETIC: dict[str, Callable[..., Array]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide,
    "Sqrt": np.sqrt, "Neg": np.negative, "Reciprocal": np.reciprocal,
}  # fmt: skip
CASTS: dict[int | None, str] = {1: "f4", 10: "f2", 11: "f8", 7: "i8", 6: "i4"}  # TensorProto.DataType
MOVES = {"Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Cast", "CastLike"}  # keep the numbers
MAKERS = {"Constant", "Shape", "Concat", "Expand", "ConstantOfShape"}


class Absent(ResnetFeaError):
    """A value that the graph uses and that the file lacks."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} is used but not stored")
        self.name = name


class Constants:
    """Arrays by value name. `taken` collects the stored tensors that were used."""

    def __init__(self, model: Model, data: DataFiles) -> None:
        stored = [(tensor.name, tensor) for tensor in model.tensors]
        made: dict[str, Node] = {}
        for node in model.nodes:
            value = _stored_in(node)
            if value is not None:
                stored.append((node.outputs[0], value))
            for name in node.outputs:
                if name and made.setdefault(name, node) is not node:
                    raise ResnetFeaError(f"two of its nodes make {name!r}")
        self.stored = dict(stored)
        if len(self.stored) != len(stored):
            raise ResnetFeaError("two of its stored tensors have one name")
        if twice := {tensor.name for tensor in model.tensors} & made.keys():
            raise ResnetFeaError(f"{min(twice)!r} is stored and computed")
        self.taken: set[str] = set()
        data.check(self.stored.values())
        self._data, self._made, self._copied = data, made, 0
        self._arrays: dict[str, Array] = {}
        self._constant: dict[str, bool] = {}

    def is_constant(self, name: str, depth: int = 0) -> bool:
        """Whether `array` can tell it, or could if nothing were missing."""
        if name in self.stored or name not in self._made:
            return bool(name)
        if name not in self._constant:
            node = self._made[name]
            known = node.operator in MOVES | MAKERS or node.operator in ARITHMETIC
            needed = node.inputs[:1] if node.operator == "CastLike" else node.inputs
            self._constant[name] = False  # what depends on itself is no constant
            self._constant[name] = (
                known and depth < MAX_DEPTH and all(self.is_constant(one, depth + 1) for one in needed if one)
            )
        return self._constant[name]

    def array(self, name: str) -> Array:
        """The numbers of this name, one array however often they are asked for.

        Raises:
            Absent: nothing stores or makes it.
            ResnetFeaError: it is computed from the image, or its numbers are not dtype x shape.
        """
        return self._found(name, 0)

    def origin(self, name: str) -> str:
        """The stored tensor that this one is, turned or retyped; itself where it is stored or worked out."""
        for _ in range(MAX_DEPTH):
            node = self._made.get(name)
            if node is None or node.operator not in MOVES:
                break
            name = node.inputs[0]
        return name

    def _found(self, name: str, depth: int) -> Array:
        if name not in self._arrays:
            self._arrays[name] = self._worked_out(name, depth)
        return self._arrays[name]

    def _worked_out(self, name: str, depth: int) -> Array:
        if name in self.stored:
            self.taken.add(name)
            try:
                return self._data.array(self.stored[name])
            except ResnetFeaError as error:
                raise ResnetFeaError(f"{name!r}: {error}") from error
        if name not in self._made:
            raise Absent(name)
        node = self._made[name]
        if not self.is_constant(name) or depth > MAX_DEPTH:
            raise ResnetFeaError(f"{name!r} is computed ({node.operator}), so that it can't be taken as a weight")
        needed = node.inputs[:1] if node.operator == "CastLike" else node.inputs
        inputs = [self._found(one, depth + 1) for one in needed if one]
        try:
            with np.errstate(all="ignore"):
                array = self._computed(node, inputs)
        except (ValueError, TypeError, IndexError, KeyError, OverflowError) as error:
            raise ResnetFeaError(f"{name!r} cannot be computed by {node.operator}: {error}") from error
        if not any(np.may_share_memory(array, one) for one in inputs):
            self._copied += array.nbytes
        self._check_copied(0)
        return array

    def _check_copied(self, more: int) -> None:
        if self._copied + more > MAX_COPIED:
            raise ResnetFeaError(f"working out its weights would take more than {MAX_COPIED:,} bytes")

    def _computed(self, node: Node, inputs: list[Array]) -> Array:
        """One node's result. An unpacking that fails is a ValueError, as NumPy's refusals are."""
        attributes = node.attributes()
        match node.operator:
            case "Constant":
                return _setting(attributes)
            case "Identity" | "CastLike":  # like the image, which is float as the weights are
                return inputs[0]
            case "Shape":
                return np.array(inputs[0].shape[attributes.get("start", 0) : attributes.get("end")], np.int64)
            case "Transpose":
                return inputs[0].transpose(attributes.get("perm"))
            case "Reshape":
                array, sizes = inputs
                keep = 0 if not attributes.get("allowzero") else None  # a 0 stands for the size that was there
                return array.reshape([array.shape[i] if size == keep else size for i, size in enumerate(_ints(sizes))])
            case "Squeeze":
                axes = attributes.get("axes", _ints(inputs[1]) if len(inputs) > 1 else None)
                return inputs[0].squeeze(None if axes is None else tuple(axes))
            case "Unsqueeze":
                return np.expand_dims(inputs[0], tuple(attributes.get("axes") or _ints(inputs[1])))
            case "Cast":
                wanted = np.dtype(CASTS[attributes.get("to")])
                self._check_copied(inputs[0].size * wanted.itemsize)
                return inputs[0].astype(wanted)
            case "Concat":
                _small((sum(array.size for array in inputs),))
                return np.concatenate(inputs, axis=attributes["axis"])
            case "Expand":
                array, sizes = inputs
                return np.broadcast_to(array, _small(np.broadcast_shapes(array.shape, tuple(_ints(sizes)))))
            case "ConstantOfShape":
                filling = attributes.get("value")
                one = np.zeros(1, np.float32) if filling is None else self._data.array(filling)
                (value,) = one.ravel()
                return np.full(_small(tuple(_ints(inputs[0]))), value)
        _small(np.broadcast_shapes(*(array.shape for array in inputs)))
        return ARITHMETIC[node.operator](*inputs)


def _stored_in(node: Node) -> Tensor | None:
    """The tensor of a Constant node; None of any other node, and of a constant that is a number or a list."""
    value = node.attributes().get("value") if node.operator == "Constant" else None
    return value if isinstance(value, Tensor) else None


def _setting(attributes: dict[str, Any]) -> Array:
    """A Constant node's number, or list of numbers."""
    for name, dtype in (("value_float", "f4"), ("value_floats", "f4"), ("value_int", "i8"), ("value_ints", "i8")):
        if name in attributes:
            return np.array(attributes[name], dtype)
    raise ValueError("it has no value that is a number")


def _ints(array: Array) -> list[int]:
    """Sizes or axes: few, and whole."""
    if array.dtype.kind != "i" or array.ndim > 1 or array.size > 8:
        raise ValueError(f"sizes or axes of {array.dtype} {array.shape}")
    return [int(one) for one in array.ravel()]


def _small(shape: tuple[int, ...]) -> tuple[int, ...]:
    if math.prod(shape) > MAX_SMALL:
        raise ValueError(f"arithmetic on {shape}: no norm is that large")
    return shape

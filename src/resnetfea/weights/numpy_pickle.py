"""The words with which pickles describe NumPy's arrays: a vocabulary for pickle_machine, nothing of it is called.

From numpy 1.26 and 2.4, core/src/multiarray/methods.c (`array_reduce_ex`) and descriptor.c (`arraydescr_reduce`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetfea.weights.arrays import MAX_RANK, from_bytes
from resnetfea.weights.pickle_machine import Global, UnsafePickle

NDARRAY = Global("numpy", "ndarray")
PLAIN = r"(?:[iu][1248]|f[248]|b1)"  # element types; objects, texts and records are refused
Buffer = bytes | memoryview


class PickledDtype:
    """An element type: a code, and the byte order that its BUILD gives."""

    def __init__(self, code: Any, *flags: Any) -> None:
        if not isinstance(code, str) or not re.fullmatch(PLAIN, code) or len(flags) != 2:
            kind = (
                code[:20] if isinstance(code, str) else "something unnamed"
            )  # str() of nested tuples may fill the memory
            raise UnsafePickle(f"its pickle has an array of {kind}, not of plain numbers")
        self.code, self.order = code, "<"

    def build(self, state: Any) -> None:
        """State (version, byte order, subarray, names, fields, size, alignment, flags)."""
        match state:
            case (int(), "<" | ">" | "|" | "=" as order, None, None, None, *_) if len(state) <= 9:
                self.order = ">" if order == ">" else "<"
            case _:
                raise UnsafePickle("its pickle describes an element type that is not a plain number")

    def array(self, shape: Any, data: Any, fortran: bool) -> NDArray[Any]:
        if not isinstance(shape, tuple) or len(shape) > MAX_RANK or not all(type(size) is int for size in shape):
            raise UnsafePickle("its pickle has an array whose shape is not a tuple of sizes")
        if isinstance(data, str):  # Python 2's bytes
            data = data.encode("latin-1")
        if not isinstance(data, Buffer):
            raise UnsafePickle("its pickle has an array without its bytes")
        found = from_bytes(self.code, shape[::-1] if fortran else shape, data)
        if self.order == ">":
            found = found.view(found.dtype.newbyteorder(">")).astype(found.dtype)
        return found.T if fortran else found


class PickledArray:
    """An array that its BUILD fills."""

    def __init__(self) -> None:
        self.array: NDArray[Any] | None = None

    @property
    def nbytes(self) -> int:
        return 0 if self.array is None else self.array.nbytes

    def build(self, state: Any) -> None:
        """State (version, shape, element type, whether Fortran's order, bytes)."""
        match state:
            case (int(), shape, PickledDtype() as dtype, bool(fortran) | int(fortran), data):
                self.array = dtype.array(shape, data, bool(fortran))
            case _:
                raise UnsafePickle("its pickle fills an array in a way that NumPy does not")


def _reconstruct(*arguments: Any) -> PickledArray:
    if len(arguments) != 3 or arguments[0] != NDARRAY:
        raise UnsafePickle("its pickle makes an array of something that is not NumPy's")
    return PickledArray()


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> PickledArray:
    if not isinstance(dtype, PickledDtype) or order not in ("C", "F"):
        raise UnsafePickle("its pickle fills an array in a way that NumPy does not")
    made = PickledArray()
    made.array = dtype.array(shape, data, order == "F")
    return made


def _scalar(dtype: Any, data: Any) -> NDArray[Any]:
    if not isinstance(dtype, PickledDtype):
        raise UnsafePickle("its pickle has a number that is not plain")
    return dtype.array((), data, False)


def _encode(text: Any, encoding: Any) -> bytes:
    """How Python 3 writes bytes into a pickle that Python 2 can read."""
    if not isinstance(text, str) or encoding != "latin1":
        raise UnsafePickle("its pickle encodes something that is not bytes")
    return text.encode("latin-1")


CALLS: dict[Global, Callable[..., Any]] = {
    Global("_codecs", "encode"): _encode,
    Global("numpy", "dtype"): PickledDtype,
    **{  # numpy 2 renamed its core
        Global(f"numpy.{core}.{module}", name): call
        for core in ("core", "_core")
        for module, name, call in (
            ("multiarray", "_reconstruct", _reconstruct),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _from_buffer),
        )
    },
}


def array_of(value: Any) -> NDArray[Any] | None:
    """The array that a pickled value is, or None."""
    if isinstance(value, PickledArray):
        return value.array
    return value if isinstance(value, np.ndarray) else None

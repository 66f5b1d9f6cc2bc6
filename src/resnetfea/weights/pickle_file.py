"""A plain pickle of NumPy arrays: Detectron's .pkl (`blobs`, or flat) and detectron2's (`model`, `__author__`).

detectron2 02b5c4e, checkpoint/detection_checkpoint.py unpickles both kinds with encoding latin1, and so runs whatever
they call. Here nothing is run.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from resnetfea.errors import ResnetFeaError
from resnetfea.weights import card as cards
from resnetfea.weights import numpy_pickle
from resnetfea.weights.pickle_machine import Machine, Source
from resnetfea.weights.pickle_words import PLAIN_CALLS
from resnetfea.weights.raw import RawFile
from resnetfea.weights.wrappers import unwrap

AUTHOR = "__author__"  # detectron2's entry


def looks_like(data: bytes) -> bool:
    """Protocol 2 and later say so; protocol 0 and 1 of Python 2 begin with a dictionary."""
    return data.startswith((b"\x80", b"(dp", b"}q"))


def read(data: bytes) -> RawFile:
    """The arrays of the pickle."""
    source = Source(data)
    value = Machine(PLAIN_CALLS | numpy_pickle.CALLS, frozenset({numpy_pickle.NDARRAY})).run(source)
    if source.left:
        raise ResnetFeaError("more follows behind the end of its pickle")
    inner, wrapper, beside = unwrap(value, lambda part: numpy_pickle.array_of(part) is not None)
    tensors: dict[str, NDArray[Any]] = {}
    for name, part in inner.items():
        array = numpy_pickle.array_of(part)
        if isinstance(name, str) and array is not None:
            tensors[name] = array
        else:
            beside.append(str(name))
    author = value.get(AUTHOR) if isinstance(value, dict) else None
    return RawFile(
        "pickle",
        tensors,
        tuple(name for name in beside if name != cards.KEY),
        wrapper,
        author if isinstance(author, str) else "",
        card=_card(value[cards.KEY]) if isinstance(value, dict) and cards.KEY in value else None,
    )


def _card(value: Any) -> bytes:
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else b"no text"

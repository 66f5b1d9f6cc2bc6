"""Pickles made to harm, in each of torch's containers: refused, nothing runs."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from resnetfea.weights.torch_file import LEGACY_START
from weights.making import (
    CANARY,
    EMPTY_TUPLE,
    FOUR,
    REDUCE,
    Refuse,
    group,
    mention,
    nested_twice,
    number,
    one,
    pickled,
    pickled_dict,
    storage,
    tensor,
    text,
    torch_legacy,
    torch_zip,
)

NAME = text("conv1.weight")
GOOD = tensor(storage("Float", "0", 4), [4], [1])


class Call:
    """What pickle turns into a call of the function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def called(module: str, name: str, *arguments: bytes) -> bytes:
    return mention(module, name) + group(*arguments) + REDUCE


ORDERED, HISTORY = mention("collections", "OrderedDict"), mention("mmengine.logging.history_buffer", "HistoryBuffer")
TOUCH = f"touch {CANARY}"
PICKLES = {
    "os.system": pickle.dumps(Call(os.system, TOUCH), protocol=2),
    "subprocess": pickle.dumps(Call(subprocess.call, ["touch", CANARY]), protocol=4),
    "eval": pickle.dumps(Call(eval, f"open({CANARY!r}, 'w')"), protocol=2),
    "inside a good dict": pickle.dumps({"conv1.weight": Call(os.system, TOUCH)}, protocol=2),
    "getattr": one(called("builtins", "getattr", mention("builtins", "dict"), text("pop"))),
    "getattr of what is known": one(called("builtins", "getattr", ORDERED, text("fromkeys"))),
    "getattr of a method that is none": one(called("__builtin__", "getattr", HISTORY, text("__init__"))),
    "getattr of text": one(called("__builtin__", "getattr", text("x"), text("mean"))),
    "torch.hub": one(called("torch.hub", "load", text("a/b"), text("c"))),
    "torch.load": one(called("torch", "load", text(CANARY))),
    "numpy exec": one(called("numpy.testing._private.utils", "runstring", text(TOUCH), text("x"))),
    "dotted name": one(called("collections", "OrderedDict.fromkeys", text("a"))),
    "stack global": one(text("os") + text("system") + b"\x93" + group(text(TOUCH)) + REDUCE),
    "stack global of nested tuples": one(nested_twice(b"\x86") + text("x") + b"\x93"),
    "instance": pickled(b"(", text(TOUCH), b"ios\nsystem\n"),
    "object": pickled(b"(", mention("os", "system"), text(TOUCH), b"o"),
    "newobj": pickled(mention("collections", "OrderedDict"), EMPTY_TUPLE, b"\x81"),
    "extension": pickled(b"\x82\x01"),
    "text persistent id": pickled(b"P0\n"),
    "reduce of text": one(text("os.system") + group(text(TOUCH)) + REDUCE),
    "reduce of a tuple like a global": one(group(text("torch._utils"), text("x")) + group(text(TOUCH)) + REDUCE),
    "reduce of a storage type": one(mention("torch", "FloatStorage") + EMPTY_TUPLE + REDUCE),
    "reduce without a tuple": one(mention("collections", "OrderedDict") + b"]" + REDUCE),
    "build on a tensor": one(GOOD + b"}b"),
    "build on a list": pickled(b"]}b"),
    "setitem on a list": pickled(b"]", number(0), GOOD, b"s"),  # CVE-2026-24747
    "setitem on a tensor": one(GOOD + number(0) + number(1) + b"s"),
    "append to a dict": pickled(b"}", number(1), b"a"),
    "append to a tensor": one(GOOD + number(1) + b"a"),
    "a list": pickled(b"](", GOOD, b"e"),
    "twice": pickled_dict([(NAME, GOOD), (NAME, GOOD)]),
    "a key that is a tensor": pickled_dict([(GOOD, GOOD)]),
    "a key without a value": pickled(b"}(", NAME, b"u"),
    "the storage is too small": one(tensor(storage("Float", "0", 4), [5], [1])),
    "the storage is smaller than it says": one(tensor(storage("Float", "0", 8), [8], [1])),
    "the storage is larger than it says": one(tensor(storage("Float", "0", 2), [2], [1])),
    "the stride reaches beyond": one(tensor(storage("Float", "0", 4), [2, 2], [3, 1])),
    "the offset reaches beyond": one(tensor(storage("Float", "0", 4), [4], [1], offset=1)),
    "a negative size": one(tensor(storage("Float", "0", 4), [-4], [1])),
    "two negative sizes": one(tensor(storage("Float", "0", 4), [-2, -2], [2, 1])),
    "a negative stride": one(tensor(storage("Float", "0", 4), [4], [-1])),
    "a negative offset": one(tensor(storage("Float", "0", 4), [4], [1], offset=-1)),
    "a huge size": one(tensor(storage("Float", "0", 1 << 62), [1 << 62], [1])),
    "a huge stride": one(tensor(storage("Float", "0", 4), [1], [1 << 62])),
    "a huge offset of nothing": one(tensor(storage("Float", "0", 4), [0], [1], offset=1 << 70)),
    "a number of 8,000 bits": one(tensor(storage("Float", "0", 1 << 8000), [1], [1])),
    "100,000 dimensions": one(tensor(storage("Float", "0", 4), [2] * 100_000, [1])),
    "a thousand dimensions": one(tensor(storage("Float", "0", 4), [1] * 1_000, [1] * 1_000)),
    "sizes as text": one(
        mention("torch._utils", "_rebuild_tensor_v2")
        + group(storage("Float", "0", 4), number(0), text("4"), text("1"), b"\x89", b"N")
        + REDUCE
    ),
    "a storage described twice": pickled_dict(
        [(NAME, GOOD), (text("bn1.weight"), tensor(storage("Int", "0", 4), [4], [1]))]
    ),
    "a storage of a negative length": one(tensor(storage("Float", "0", -1), [0], [1])),
    "no such storage type": one(tensor(storage("Quantized", "0", 4), [4], [1])),
    "the storage's key climbs": one(tensor(storage("Float", "../data.pkl", 4), [4], [1])),
    "laughs": one(nested_twice(b"\x86")),
    "laughs as lists": pickled(b"]q\x00", *(b"(h\x00h\x00lq\x00" for _ in range(60))),
    "laughs as a list of keys": one(nested_twice(b"\x86")) + nested_twice(b"\x86"),
    "marks": pickled(b"(" * 400_000),
    "endless opcodes": b"\x80\x02" + b"N" * 600_000 + b".",
    "no stop": b"\x80\x02}",
    "nothing on the stack": b"\x80\x02.",
    "two values": pickled(b"}}"),
    "a memo that is empty": pickled(b"h\x05"),
    "a string that is too long": b"\x80\x02\x8e" + b"\xff" * 8 + b".",
    "a number that is too long": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "decimal digits": b"\x80\x02L" + b"9" * 100_000 + b"L\n.",
    "terminal codes and lines": pickled(mention("os\x1b[2J", "system")) + b"\n\n",
}


@pytest.mark.parametrize("name", PICKLES)
def test_pickle_in_a_zip(name: str, refuse: Refuse) -> None:
    refuse(torch_zip(PICKLES[name], {"0": FOUR}))


@pytest.mark.parametrize("name", PICKLES)
def test_pickle_in_a_legacy_stream(name: str, refuse: Refuse) -> None:
    refuse(torch_legacy(PICKLES[name], pickled(b"](", text("0"), b"e"), [(4, FOUR)]))


@pytest.mark.parametrize("name", PICKLES)
def test_pickle_in_the_legacy_head(name: str, refuse: Refuse) -> None:
    refuse(LEGACY_START + PICKLES[name] + b"\x80\x02}.")

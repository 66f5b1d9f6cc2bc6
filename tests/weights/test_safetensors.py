"""Our reader of safetensors says what the format's own library says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import safetensors
from hypothesis import example, given, settings
from hypothesis import strategies as st

from resnetfea.errors import ResnetFeaError
from resnetfea.weights import safetensors_file
from weights.making import safetensors as written

SMALL = st.integers(-1, 3)
BYTES = {"U8": 1, "F16": 2, "F32": 4}


@st.composite
def headers(draw: st.DrawFn) -> dict[str, Any]:
    """Of tensors behind each other; often one of them is moved, stretched, or is no tensor."""
    header: dict[str, Any] = {}
    at = 0
    for name in draw(st.permutations("abc"))[: draw(st.integers(0, 3))]:
        dtype, shape = draw(st.sampled_from([*BYTES])), draw(st.lists(st.integers(0, 3), max_size=2))
        size = BYTES[dtype]
        for one in shape:
            size *= one
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    if draw(st.booleans()) and header:
        entry = header[draw(st.sampled_from([*header]))]
        part = draw(st.sampled_from([*entry]))
        entry[part] = draw(
            st.one_of(
                st.lists(SMALL, max_size=3), st.sampled_from(["F32", "X", None, 1.0, True, [True], [1.0], [0, 4]])
            )
        )
    if draw(st.integers(0, 3)) == 0:
        header["__metadata__"] = draw(st.sampled_from([{}, None, {"a": "b"}, {"a": 1}, [], "a", {"a": None}]))
    return header


@settings(max_examples=400, deadline=None)
@given(header=headers(), beyond=st.integers(-1, 1))
@example(header={"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], "more": 1}}, beyond=0)
@example(header={"a": {"dtype": "F32", "shape": [1]}}, beyond=0)
@example(header={"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}}, beyond=0)
def test_the_librarys_verdict(header: dict[str, Any], beyond: int) -> None:
    ends = [part["data_offsets"][-1] for part in header.values() if isinstance(part, dict) and _is_placed(part)]
    data = written(json.dumps(header), bytes(max(0, max(ends, default=0) + beyond)))
    theirs: Callable[[bytes], Any] = safetensors.deserialize
    assert _takes(safetensors_file.read, data, ResnetFeaError) == _takes(theirs, data, safetensors.SafetensorError)


def _is_placed(part: dict[str, Any]) -> bool:
    places = part.get("data_offsets")
    return isinstance(places, list) and bool(places) and all(type(one) is int for one in places)


def _takes(read: Callable[[bytes], Any], data: bytes, refusal: type[Exception]) -> bool:
    try:
        read(data)
    except refusal:
        return False
    return True

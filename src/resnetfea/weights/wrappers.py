"""A checkpoint is often a dictionary of many things; the weights lie under one of a few names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from resnetfea.errors import ResnetFeaError

# In this order. timm aa4b585, models/_helpers.py takes the averaged copy (`*_ema`) where there is one, and is what
# writes it. Then torch's examples, MoCo, SwAV, OpenMMLab (whose `state_dict` is the averaged one already), Lightning;
# detectron2, maskrcnn-benchmark; pycls; Detectron; DINO 7c446df, eval_linear.py: the teacher, its averaged one.
NAMES = (
    "state_dict_ema",
    "model_ema",
    "state_dict",
    "model",
    "model_state_dict",
    "model_state",
    "blobs",
    "teacher",
    "student",
    "net",
    "network",
    "module",
)
DEEPEST = 3


def unwrap(value: Any, is_tensor: Callable[[Any], bool]) -> tuple[dict[str, Any], str, list[str]]:
    """The dictionary of tensors, the name it lies under ("" where bare), and the names of what lies beside it.

    Raises:
        ResnetFeaError: this is no dictionary.
    """
    if not isinstance(value, dict):
        raise ResnetFeaError("holds no state dict")
    return _unwrapped(value, is_tensor, (), set()) or (value, "", [])


def _unwrapped(
    value: dict[Any, Any], is_tensor: Callable[[Any], bool], path: tuple[str, ...], empty: set[tuple[int, int]]
) -> tuple[dict[Any, Any], str, list[str]] | None:
    """The same; None where there are no tensors. `empty`: (id, depth) of dictionaries that had none, for one may hang
    in many places: 12^3 ways lead to it."""
    if (id(value), len(path)) in empty:
        return None
    for name in NAMES if len(path) < DEEPEST else ():
        inner = value.get(name)
        if isinstance(inner, dict) and (deeper := _unwrapped(inner, is_tensor, (*path, name), empty)):
            found, wrapper, beside = deeper
            return found, wrapper, [*(str(key) for key in value if key != name), *beside]
    if any(map(is_tensor, value.values())):
        return value, ".".join(path), []
    empty.add((id(value), len(path)))
    return None

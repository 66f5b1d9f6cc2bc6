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


def unwrap(
    value: Any, is_tensor: Callable[[Any], bool], path: tuple[str, ...] = ()
) -> tuple[dict[str, Any], str, tuple[str, ...]]:
    """The dictionary of tensors, the name it lies under ("" where bare), and the names of what lies beside it.

    Raises:
        ResnetFeaError: this is no dictionary.
    """
    if not isinstance(value, dict):
        raise ResnetFeaError("holds no state dict")
    for name in NAMES if len(path) < DEEPEST else ():
        inner = value.get(name)
        if isinstance(inner, dict) and any(is_tensor(part) or isinstance(part, dict) for part in inner.values()):
            found, wrapper, beside = unwrap(inner, is_tensor, (*path, name))
            if any(map(is_tensor, found.values())):
                return found, wrapper, (*(str(key) for key in value if key != name), *beside)
    return value, ".".join(path), ()

"""What any checkpoint's pickle may mention besides tensors: plain containers, and objects that nothing is done with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from resnetfea.weights.pickle_machine import Global, UnsafePickle, filled

HISTORY = Global("mmengine.logging.history_buffer", "HistoryBuffer")  # mmengine 0.10.7: losses in OpenMMLab's files
STATISTICS = ("min", "max", "current", "mean")  # its methods, which it stores with itself


class Inert:
    """Stands for an object that training scripts leave in a checkpoint. What belongs into it is forgotten."""

    def build(self, state: Any) -> None:
        """Takes the state, and does nothing."""


def _ordered_dict(*arguments: Any) -> dict[Any, Any]:
    """Empty, to be filled by SETITEMS; Python 2 gives a list of pairs."""
    match arguments:
        case () | ([],):
            return {}
        case ([*pairs],):
            flat = [part for pair in pairs if isinstance(pair, list | tuple) and len(pair) == 2 for part in pair]
            if len(flat) == 2 * len(pairs):
                return filled({}, flat)
    raise UnsafePickle("its pickle fills an OrderedDict in a way that Python does not")


def _statistic(owner: Any, name: Any) -> Inert:
    """getattr, of nothing but that class's four methods, and it gets nothing."""
    if owner != HISTORY or name not in STATISTICS:
        raise UnsafePickle("its pickle calls getattr, which no weights file needs")
    return Inert()


# Namespace holds the flags of a training script (DINO, timm)
PLAIN_CALLS: dict[Global, Callable[..., Any]] = {
    Global("collections", "OrderedDict"): _ordered_dict,
    Global("argparse", "Namespace"): Inert,
    HISTORY: Inert,
    Global("__builtin__", "getattr"): _statistic,
    Global("builtins", "getattr"): _statistic,
}

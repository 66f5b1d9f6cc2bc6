"""ResNet-50 image features in MindSpore that equal the original's.

    from resnetfea import ResNetFea, ResidualBlockUsing, resnet50, read, CompiledEngine

Names are loaded when they are first used, so that `import resnetfea` costs neither MindSpore nor OpenVINO. Imported
before mindspore, it holds the slow versions' oneDNN to AVX2 (cpu_guard.py).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from resnetfea import cpu_guard as _cpu_guard
from resnetfea import import_order as _import_order

if TYPE_CHECKING:
    from resnetfea.engine.compiled import CompiledEngine
    from resnetfea.engine.mindspore_engine import MindSporeEngine
    from resnetfea.errors import ResnetFeaError
    from resnetfea.features.limits import Limits
    from resnetfea.features.store import Failure, Row
    from resnetfea.features.stream import extract
    from resnetfea.network.build import resnet50
    from resnetfea.network.resnet import ResidualBlockUsing, ResNetFea, weight_init_ones
    from resnetfea.network.variant import Variant
    from resnetfea.weights import Recipe, Weights, read

__version__ = "0.1.0"

_HOME = {
    "CompiledEngine": "resnetfea.engine.compiled",
    "MindSporeEngine": "resnetfea.engine.mindspore_engine",
    "Failure": "resnetfea.features.store",
    "Limits": "resnetfea.features.limits",
    "Recipe": "resnetfea.weights",
    "ResNetFea": "resnetfea.network.resnet",
    "ResidualBlockUsing": "resnetfea.network.resnet",
    "ResnetFeaError": "resnetfea.errors",
    "Row": "resnetfea.features.store",
    "Variant": "resnetfea.network.variant",
    "Weights": "resnetfea.weights",
    "extract": "resnetfea.features.stream",
    "read": "resnetfea.weights",
    "resnet50": "resnetfea.network.build",
    "weight_init_ones": "resnetfea.network.resnet",
}

__all__ = [
    "CompiledEngine",
    "Failure",
    "Limits",
    "MindSporeEngine",
    "Recipe",
    "ResNetFea",
    "ResidualBlockUsing",
    "ResnetFeaError",
    "Row",
    "Variant",
    "Weights",
    "extract",
    "read",
    "resnet50",
    "weight_init_ones",
]

_cpu_guard.set_limit()
_import_order.make_safe()


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'resnetfea' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value

"""Write real libraries' weights files and maps, for compare.py. Runs where the libraries are (requirements/others.txt).

Usage: PYTHONPATH=src:tests python tests/parity/others/write.py OUT [LIBRARY ...]
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
import warnings
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from unittest.mock import MagicMock

OF_TORCH = ("torchvision", "timm", "smp", "transformers", "mmdet", "mmpretrain", "detectron2", "keras")
# What their packages import, and a ResNet never calls: compiled for CUDA, long gone, or another model's
STAND_INS = (
    "mmcv._ext",
    "mmpretrain.apis",
    "mmpretrain.models.multimodal",
    "detectron2._C",
)


def main() -> None:
    """Every case of the libraries, or of all that run on PyTorch."""
    warnings.simplefilter("ignore")
    out, libraries = Path(sys.argv[1]), sys.argv[2:] or OF_TORCH
    if libraries != ["mindcv"]:
        stand_in()
    from parity.others.case import write

    for name in libraries:
        module = import_module(f"parity.others.of_{name}")
        version = importlib.metadata.version(module.LIBRARY)
        for case in module.CASES:
            write(out, f"{module.LIBRARY} {version}", case)


def stand_in() -> None:
    """Let packages be imported whose compiled parts are not there, or want another torch."""
    import PIL.Image
    import torch

    from data.write_names import declare_operators

    declare_operators(torch)
    os.environ["KERAS_BACKEND"] = "torch"
    torch.manual_seed(0)  # of the heads
    sys.modules["importlib_metadata"] = importlib.metadata  # which it was a backport of
    for name in STAND_INS:
        sys.modules[name] = MagicMock(__spec__=ModuleSpec(name, None))
    PIL.Image.LINEAR = PIL.Image.BILINEAR  # type: ignore[attr-defined]  # its name when detectron2 0.6 came out


if __name__ == "__main__":
    main()

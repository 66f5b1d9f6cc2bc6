"""Write the files of this folder that torch, safetensors and torch's ONNX exporter make. Runs with torch, onnxruntime.

Usage: PYTHONPATH=src:tests python tests/data/write_torch_files.py
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from data.tiny import HERE, INPUT, SEED, TINY_BN, TINY_FOLDED, classifier, weights
from data.torch_net_module import build, export
from resnetfea.network.variant import Variant
from rich_weights import digest, rich_input


def main() -> None:
    """Each file, then its size."""
    state = state_dict()
    torch.save(state, HERE / "tiny.pth")
    torch.save(state, HERE / "tiny-legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(half(state), HERE / "tiny-half.pth")
    torch.save(parallel_checkpoint(state), HERE / "tiny-module.pth")
    save_file(state, HERE / "tiny.safetensors", metadata={"format": "pt"})
    (HERE / "tiny.safetensors").chmod(0o644)  # save_file lets nobody else read it
    write_onnx("tiny-bn", TINY_BN, state, keep_norms=True)
    write_onnx("tiny-folded", TINY_FOLDED, state, keep_norms=False)
    for path in sorted(HERE.glob("tiny*")):
        print(f"{path.stat().st_size:8} {path.name}")


def state_dict() -> OrderedDict[str, Tensor]:
    """What torchvision's ResNet.state_dict() gives: with the counters of its norms and a classifier."""
    state: OrderedDict[str, Tensor] = OrderedDict()
    for name, tensor in weights().items():
        state[name] = torch.from_numpy(tensor)
        if name.endswith(".running_var"):
            state[name.replace("running_var", "num_batches_tracked")] = torch.tensor(1000)  # int64 scalar
    state["fc.weight"], state["fc.bias"] = map(torch.from_numpy, classifier())
    return state


def half(state: OrderedDict[str, Tensor]) -> OrderedDict[str, Tensor]:
    """As Module.half() leaves it: floats narrowed, counters as they were."""
    return OrderedDict((name, value.half() if value.is_floating_point() else value) for name, value in state.items())


def parallel_checkpoint(state: OrderedDict[str, Tensor]) -> dict[str, object]:
    """A training checkpoint of DataParallel."""
    return {"epoch": 3, "arch": "resnet50", "state_dict": OrderedDict((f"module.{k}", v) for k, v in state.items())}


def write_onnx(name: str, variant: Variant, state: OrderedDict[str, Tensor], keep_norms: bool) -> None:
    """The graph, and beside it what ONNX Runtime makes of one seeded input."""
    path, x = HERE / f"{name}.onnx", rich_input(INPUT, SEED)
    export(build(variant, state), torch.from_numpy(x), str(path), keep_norms)
    arrays: dict[str, Any] = {"seed": SEED, "input": INPUT, "digest": digest({"x": x})} | run(path, x)
    np.savez_compressed(HERE / f"{name}-expected.npz", **arrays)


def run(path: Path, x: NDArray[np.float32]) -> dict[str, Any]:
    """c2 to c5 by ONNX Runtime."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"x": x}), strict=True))


if __name__ == "__main__":
    main()

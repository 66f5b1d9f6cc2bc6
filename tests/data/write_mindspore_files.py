"""Write the .ckpt files of this folder by mindspore.save_checkpoint. Runs with mindspore.

Usage: PYTHONPATH=src:tests python tests/data/write_mindspore_files.py
"""

from __future__ import annotations

import mindspore
import numpy as np
from mindspore import Tensor
from numpy.typing import NDArray

from data.tiny import HERE, TINY, classifier, weights
from parity.cell import NORM, build_cell

Tensors = dict[str, NDArray[np.float32]]


def main() -> None:
    """Each file, then its size."""
    cell = build_cell(weights(), TINY)
    mindspore.save_checkpoint(cell, str(HERE / "tiny-resnetfea.ckpt"))
    # As it lies inside a Mask R-CNN, whose parameters also begin so.
    save("tiny-backbone", {f"backbone.{p.name}": p.asnumpy() for p in cell.get_parameters()})
    modelzoo = mindspore_names("down_sample_layer", "end_point")
    training = {"global_step": Tensor(1875, mindspore.int32), "moments.conv1.weight": modelzoo["conv1.weight"] * 0.01}
    save("tiny-modelzoo", modelzoo | training)
    save("tiny-mindcv", mindspore_names("down_sample", "classifier"))
    for path in sorted(HERE.glob("tiny*.ckpt")):
        path.chmod(0o644)  # save_checkpoint leaves it read-only for its owner
        print(f"{path.stat().st_size:8} {path.name}")


def mindspore_names(projection: str, head: str) -> Tensors:
    """The weights as a MindSpore classifier names them, its projection and head by the given names."""
    tensors = {}
    for name, tensor in weights().items():
        *path, kind = name.replace(".downsample.", f".{projection}.").split(".")
        is_norm = path[-1].startswith("bn") or path[-2:] == [projection, "1"]
        tensors[".".join([*path, NORM[kind] if is_norm else kind])] = tensor
    tensors[f"{head}.weight"], tensors[f"{head}.bias"] = classifier()
    return tensors


def save(name: str, tensors: dict[str, NDArray[np.float32] | Tensor]) -> None:
    """One .ckpt of these names."""
    entries = [{"name": key, "data": Tensor(value)} for key, value in tensors.items()]
    mindspore.save_checkpoint(entries, str(HERE / f"{name}.ckpt"))


if __name__ == "__main__":
    main()

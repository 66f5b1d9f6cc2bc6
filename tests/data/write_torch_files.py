"""Write the files of this folder that torch, safetensors and torch's ONNX exporter make. Runs with torch, onnxruntime.

Usage: PYTHONPATH=src:tests python tests/data/write_torch_files.py
"""

from __future__ import annotations

import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from transformers import ResNetConfig, ResNetForImageClassification

from data.tiny import CLASSES, HERE, INPUT, SEED, TINY_BN, TINY_FOLDED, classifier, weights
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
    write_transformers(state)
    write_onnx("tiny-bn", TINY_BN, state, keep_norms=True)
    write_onnx("tiny-folded", TINY_FOLDED, state, keep_norms=False)
    write_dynamo("tiny-dynamo", TINY_BN, state)
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


def write_transformers(state: OrderedDict[str, Tensor]) -> None:
    """HuggingFace's own model, filled in the order of its forward pass, so that no table of names is needed here."""
    config = ResNetConfig(embedding_size=4, hidden_sizes=[8, 16, 32, 64], depths=[3, 4, 6, 3], num_labels=CLASSES)
    model = ResNetForImageClassification(config).eval()
    leaves: list[torch.nn.Module] = []
    hooks = [
        leaf.register_forward_hook(lambda module, *_: leaves.append(module))
        for leaf in model.modules()
        if isinstance(leaf, torch.nn.Conv2d | torch.nn.BatchNorm2d)
    ]
    model(torch.zeros(INPUT))
    for hook in hooks:
        hook.remove()
    layers = [leaf for leaf in leaves if isinstance(leaf, torch.nn.Conv2d)]
    norms = [leaf for leaf in leaves if isinstance(leaf, torch.nn.BatchNorm2d)]
    for layer, norm, (conv, bn) in zip(layers, norms, in_order_of_use(), strict=True):
        layer.load_state_dict({"weight": state[f"{conv}.weight"]})
        norm.load_state_dict({part: state[f"{bn}.{part}"] for part in norm.state_dict()})
    model.classifier[1].load_state_dict({"weight": state["fc.weight"], "bias": state["fc.bias"]})
    x = rich_input(INPUT, SEED)
    with torch.inference_mode():
        maps = model(torch.from_numpy(x), output_hidden_states=True).hidden_states[1:]
    expected = {f"c{index}": one.numpy() for index, one in enumerate(maps, start=2)}
    np.savez_compressed(HERE / "tiny-transformers-expected.npz", digest=digest({"x": x}), **expected)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        shutil.copyfile(Path(folder) / "model.safetensors", HERE / "tiny-transformers.safetensors")


def in_order_of_use() -> Iterator[tuple[str, str]]:
    """torchvision's names as transformers' layers run: a block's three convolutions, then its projection."""
    yield "conv1", "bn1"
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        for index in range(blocks):
            block = f"layer{stage}.{index}"
            own = [(f"{block}.conv{k}", f"{block}.bn{k}") for k in (1, 2, 3)]
            shortcut = [(f"{block}.downsample.0", f"{block}.downsample.1")] if index == 0 else []
            yield from own + shortcut


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


def write_dynamo(name: str, variant: Variant, state: OrderedDict[str, Tensor]) -> None:
    """torch's newer exporter, as it comes: norms folded, weights in NAME.onnx.data."""
    path, x = HERE / f"{name}.onnx", rich_input(INPUT, SEED)
    names = {"input_names": ["x"], "output_names": ["c2", "c3", "c4", "c5"]}
    torch.onnx.export(
        build(variant, state), (torch.from_numpy(x),), str(path), dynamo=True, external_data=True, **names
    )
    graph = onnx.load(path, load_external_data=False)
    for node in graph.graph.node:  # they name folders of this machine
        for entry in [entry for entry in node.metadata_props if entry.key.endswith("stack_trace")]:
            node.metadata_props.remove(entry)
    path.write_bytes(graph.SerializeToString())
    np.savez_compressed(HERE / f"{name}-expected.npz", digest=digest({"x": x}), **run(path, x))


def run(path: Path, x: NDArray[np.float32]) -> dict[str, Any]:
    """c2 to c5 by ONNX Runtime."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"x": x}), strict=True))


if __name__ == "__main__":
    main()

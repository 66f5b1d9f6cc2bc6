"""The MindSpore engine beside torch eager: milliseconds for one 224x224 image, c2 to c5, in alternation.

    PYTHONPATH=src .venv/bin/python benchmarks/measure_mindspore.py --torch .venv-bench/bin/python \
        --mindspore .venv/bin/python --mindspore OTHER/bin/python

One process for each Python, all of them alive, a few passes each in turn, so that other work on the machine meets all
alike; only ratios to torch are printed as results, of wall time and of CPU time. Two threads each, or --threads.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

WARM_UP, PASSES = 3, 3


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--torch", required=True, help="Python of an environment with torch")
    parser.add_argument("--mindspore", action="append", required=True, help="Python of one with MindSpore; repeat it")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    pythons = [(arguments.torch, "torch"), *((python, "mindspore") for python in arguments.mindspore)]
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "resnet50.safetensors")
        _write_weights(weights)
        running = [_Child(python, kind, weights, arguments.threads) for python, kind in pythons]
        times: list[list[tuple[float, float]]] = [[] for _ in running]
        for _ in range(arguments.rounds):
            for child, list_of in zip(running, times, strict=True):
                list_of.append(child.measure())
        for child in running:
            child.end()
    for child, list_of in zip(running, times, strict=True):
        wall, cpu = (
            sorted(one[which] / base[which] for one, base in zip(list_of, times[0], strict=True)) for which in (0, 1)
        )
        quarter = len(wall) // 4
        spread = f"{wall[quarter]:.2f} to {wall[-1 - quarter]:.2f}"
        print(f"{child.name:48} wall {median(wall):.2f} ({spread})  CPU {median(cpu):.2f}  of torch eager's")


class _Child:
    """A process that measures a few passes whenever it is asked to."""

    def __init__(self, python: str, kind: str, weights: str, threads: int) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        command = [python, __file__, "--child", kind, weights, str(threads)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
        assert self._process.stdin
        assert self._process.stdout
        self._ask, self._answer = self._process.stdin, self._process.stdout
        self.name = self._answer.readline().strip()
        if not self.name:
            sys.exit(f"{' '.join(command)}: ended with {self._process.wait()}")

    def measure(self) -> tuple[float, float]:
        """Wall and CPU time of a pass."""
        print("go", file=self._ask, flush=True)
        wall, cpu = json.loads(self._answer.readline())
        return wall, cpu

    def end(self) -> None:
        self._ask.close()
        self._process.wait()


def _child(kind: str, weights: str, threads: int) -> None:
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print to the other one
    x = np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)
    name, run = (_torch if kind == "torch" else _mindspore)(weights, x, threads)
    for _ in range(WARM_UP):
        run()
    print(name, file=answer, flush=True)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(PASSES):
            run()
        print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]), file=answer, flush=True)


def _torch(weights: str, x: np.ndarray[Any, Any], threads: int) -> tuple[str, Callable[[], object]]:
    """The plain network, eager and contiguous, as torchvision's is run by most."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)

    def conv(inputs: int, outputs: int, size: int, stride: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs)]

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            width, relu = outputs // 4, nn.ReLU(inplace=True)
            middle = [*conv(inputs, width, 1), relu, *conv(width, width, 3, stride), relu]
            self.way = nn.Sequential(*middle, *conv(width, outputs, 1))
            self.shortcut = nn.Sequential(*(conv(inputs, outputs, 1, stride) if inputs != outputs else []))
            self.relu = relu

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.way(x)
            y += self.shortcut(x)
            return self.relu(y)

    stages: list[nn.Module] = []
    inputs = 64
    for blocks, outputs, stride in ((3, 256, 1), (4, 512, 2), (6, 1024, 2), (3, 2048, 2)):
        first = Block(inputs, outputs, stride)
        stages.append(nn.Sequential(first, *(Block(outputs, outputs, 1) for _ in range(blocks - 1))))
        inputs = outputs
    stem = nn.Sequential(*conv(3, 64, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1))
    stem[0].padding = (3, 3)
    network = nn.Sequential(stem, *stages).eval()
    images = torch.from_numpy(x)

    def run() -> object:
        with torch.no_grad():
            y, maps = stem(images), []
            for stage in stages:
                y = stage(y)
                maps.append(y.numpy())
        return maps

    assert len(list(network.parameters())) == 159  # 53 convolutions with scale and shift: it is a ResNet-50
    return f"torch {torch.__version__}", run


def _mindspore(weights: str, x: np.ndarray[Any, Any], threads: int) -> tuple[str, Callable[[], object]]:
    import resnetfea

    engine = resnetfea.MindSporeEngine(resnetfea.read(weights))
    import mindspore

    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "no limit")
    return f"MindSpore {mindspore.__version__}, oneDNN: {limit}", lambda: engine.maps(x)


def _write_weights(path: str) -> None:
    """A full-width ResNet-50 in torchvision's names: He-initialised, norms that do nothing."""
    from safetensors.numpy import save_file

    draw = np.random.default_rng(0)
    tensors: dict[str, np.ndarray[Any, Any]] = {}

    def conv(name: str, norm: str, inputs: int, outputs: int, size: int) -> None:
        values = draw.standard_normal((outputs, inputs, size, size), np.float32)
        tensors[f"{name}.weight"] = values * np.float32((2 / (inputs * size * size)) ** 0.5)
        for part, value in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            tensors[f"{norm}.{part}"] = np.full(outputs, value, np.float32)

    conv("conv1", "bn1", 3, 64, 7)
    inputs = 64
    for stage, (blocks, outputs) in enumerate(((3, 256), (4, 512), (6, 1024), (3, 2048)), 1):
        for index in range(blocks):
            block, width = f"layer{stage}.{index}", outputs // 4
            conv(f"{block}.conv1", f"{block}.bn1", inputs, width, 1)
            conv(f"{block}.conv2", f"{block}.bn2", width, width, 3)
            conv(f"{block}.conv3", f"{block}.bn3", width, outputs, 1)
            if inputs != outputs:
                conv(f"{block}.downsample.0", f"{block}.downsample.1", inputs, outputs, 1)
            inputs = outputs
    save_file(tensors, path)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _child(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main()

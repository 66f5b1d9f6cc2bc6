"""ResNet-50 features as most people write them: PyTorch, Pillow, a DataLoader.

    python -m benchmarks.peers.torch_dataloader PHOTOS.txt WEIGHTS.safetensors OUT.npy [--export MODEL.onnx]

channels_last, batches of 8 and as many workers as cores: what its documentation recommends for a CPU.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks.peers.photos import arguments, listed, normalised, report

BATCH = 8


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, inner: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * inner
        self.conv1, self.bn1 = nn.Conv2d(inputs, inner, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = nn.Conv2d(inner, inner, 3, stride, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = nn.Conv2d(inner, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Sequential()
        if inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class ResNet50(nn.Module):
    """torchvision's network and names, without the classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        inputs, inner = 64, 64
        for stage, blocks in enumerate((3, 4, 6, 3), start=1):
            layer = []
            for index in range(blocks):
                layer.append(Bottleneck(inputs, inner, 2 if stage > 1 and index == 0 else 1))
                inputs = 4 * inner
            setattr(self, f"layer{stage}", nn.Sequential(*layer))
            inner *= 2

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        c2 = self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(x)))))
        c3 = self.layer2(c2)
        c4 = self.layer3(c3)
        return c2, c3, c4, self.layer4(c4)


class Photos(torch.utils.data.Dataset[Tensor]):
    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(normalised(self.paths[index]))


def features(model: nn.Module, paths: list[str]) -> Tensor:
    """c5's average of every photo (N, 2048)."""
    loader: Any = torch.utils.data.DataLoader(Photos(paths), BATCH, num_workers=len(os.sched_getaffinity(0)))
    rows = []
    with torch.inference_mode():
        for batch in loader:
            rows.append(model(batch.contiguous(memory_format=torch.channels_last))[3].mean((2, 3)))
    return torch.cat(rows)


def export(model: nn.Module, out: Path) -> None:
    """ONNX with any number of images, for the peers that run it."""
    layers = ["c2", "c3", "c4", "c5"]
    options: dict[str, Any] = {"input_names": ["x"], "output_names": layers, "dynamic_axes": {"x": {0: "n"}}}
    torch.onnx.export(model, (torch.rand(1, 3, 224, 224),), str(out), dynamo=False, **options)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--export", type=Path, help="write the network as ONNX, and do nothing else")
    options = parser.parse_args()
    model = ResNet50().eval()
    model.load_state_dict(load_file(options.model), strict=False)  # without num_batches_tracked
    if options.export:
        export(model, options.export)
        return
    model = model.to(memory_format=torch.channels_last)
    ready = time.perf_counter()
    report(options.out, features(model, listed(options.photos)).numpy(), ready)


if __name__ == "__main__":
    main()

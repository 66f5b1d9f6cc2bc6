"""Traces written by the lines of `resnetfea trace-script`, pasted as they are, from models of several projects' names.

write_references.py calls this; it runs in an environment with torch, where resnetfea is source code only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from data import torch_net_module
from parity import torch_others
from parity.traces import CASES, FULL, Case
from resnetfea.network.variant import Variant
from resnetfea.parity.trace_script import SCRIPT

Build = Callable[[Variant, OrderedDict[str, torch.Tensor]], nn.Module]
BUILD: Mapping[str, Build] = {
    "torchvision": torch_net_module.build,
    "maskrcnn-benchmark": torch_others.maskrcnn_benchmark,
    "detectron2": torch_others.detectron2,
    "detector": torch_others.detector,
    "full-size": torch_net_module.build,
}
# torchvision's own transform and its models' (0.29.2, transforms/_presets.py)
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def write_all(folder: Path, *, full: bool) -> None:
    """One .npz for each case; of a full-size network, too."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, case in (CASES | (FULL if full else {})).items():
        write(folder / f"{name}.npz", case, BUILD[name])
        print("trace", name)


def write(path: Path, case: Case, build: Build) -> None:
    """One case's file."""
    pasted: dict[str, Any] = {}
    exec(SCRIPT, pasted)
    state = OrderedDict((name, torch.from_numpy(array)) for name, array in (case.weights | case.fpn).items())
    pixels = torch.from_numpy(case.picture).permute(2, 0, 1).float() / 255
    x = ((pixels - MEAN[:, None, None]) / STD[:, None, None])[None]  # (1, 3, H, W)
    torch.manual_seed(0)
    pasted["trace"](build(case.variant, state), x, path, image=case.picture, gradients=case.gradients)

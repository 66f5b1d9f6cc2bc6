"""timm: its own two ways of saving, its names being torchvision's."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import timm
import torch
from timm.models import save_for_hf
from timm.utils import CheckpointSaver, ModelEmaV3
from torch import nn

from parity.others.case import CLASSES, Case, Model
from parity.others.torch_models import fill, made, numbered
from resnetfea.network.variant import Variant

LIBRARY = "timm"


def hub(name: str, variant: Variant, folder: Path) -> Model:
    """As for the hub: safetensors."""
    model = built(name, variant)
    save_for_hf(model, folder, safe_serialization=True)
    return of(model, folder / "model.safetensors")


def averaged(folder: Path) -> Model:
    """A training checkpoint whose averaged copy is the one to take; the other one's weights are all else."""
    model = timm.create_model("resnet50", num_classes=CLASSES)
    average = ModelEmaV3(model)
    fill(average.module, Variant())
    args = argparse.Namespace(model="resnet50")
    saver = CheckpointSaver(
        model, torch.optim.SGD(model.parameters(), lr=0.1), args, average, checkpoint_dir=str(folder)
    )
    saver.save_checkpoint(epoch=3)
    return of(average.module, folder / "last.pth.tar")


def built(name: str, variant: Variant) -> nn.Module:
    """A model of timm's list."""
    model = timm.create_model(name, num_classes=CLASSES)
    fill(model, variant)
    return model


def of(model: nn.Module, file: Path) -> Model:
    """By timm's own way to c2 to c5."""
    model.eval()
    levels = [1, 2, 3, 4]  # 0 is the stem
    return made(file, lambda x: numbered(model.forward_intermediates(x, indices=levels, intermediates_only=True)))


CASES = (
    Case(name="resnet50", build=partial(hub, "resnet50", Variant())),
    Case(name="resnet50-ema", build=averaged),
    Case(name="resnext50_32x4d", build=partial(hub, "resnext50_32x4d", Variant(groups=32, width_per_group=4))),
)

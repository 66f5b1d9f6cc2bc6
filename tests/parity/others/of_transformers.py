"""Hugging Face transformers: three classes of its ResNet, by save_pretrained."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import ResNetBackbone, ResNetConfig, ResNetForImageClassification, ResNetModel

from parity.others.case import CLASSES, SMALL, Case, Model
from parity.others.torch_models import Maps, fill, made, numbered
from resnetfea.network.variant import Variant

LIBRARY = "transformers"
STAGES = ["stage1", "stage2", "stage3", "stage4"]


def model(kind: Any, folder: Path, variant: Variant | None = None) -> Model:
    """Any of the three; config.json, which we do not read, has what else differs."""
    variant = variant or Variant()
    network = kind(
        ResNetConfig(
            depths=list(variant.layer_nums),
            downsample_in_bottleneck=variant.stride_in == "1x1",
            num_labels=CLASSES,
            out_features=STAGES,
        )
    )
    fill(network, variant)
    network.save_pretrained(folder)

    def run(x: Tensor) -> Maps:
        found = network(x, output_hidden_states=True)
        return numbered(found.feature_maps if kind is ResNetBackbone else found.hidden_states[1:])

    return made(folder / "model.safetensors", run)


CASES = (
    Case(name="classifier", build=partial(model, ResNetForImageClassification)),
    Case(name="model", build=partial(model, ResNetModel)),
    Case(name="backbone", build=partial(model, ResNetBackbone)),
    Case(
        name="downsample_in_bottleneck",
        build=partial(model, ResNetForImageClassification, variant=Variant(stride_in="1x1")),
        told={"stride_in": "1x1"},
    ),
    Case(name="resnet-101", build=partial(model, ResNetModel, variant=Variant(depth=101)), inputs=SMALL),
)

"""MMPreTrain: a classifier from its own configuration."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from parity.others.case import Case, Model
from parity.others.openmmlab import build, save
from parity.others.torch_models import fill, made, watched
from resnetfea.network.variant import Variant

LIBRARY = "mmpretrain"


def classifier(config: str, variant: Variant, folder: Path) -> Model:
    """The classifier's checkpoint."""
    model, settings = build("mmpretrain", config)
    fill(model.backbone, variant)
    return made(save(model, settings, folder), lambda x: watched(model.backbone, model.backbone, x)[0])


CASES = (Case(name="resnet50_8xb32", build=partial(classifier, "resnet/resnet50_8xb32_in1k.py", Variant())),)

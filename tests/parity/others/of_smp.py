"""segmentation-models-pytorch: its encoder is torchvision's with a forward pass of its own."""

from __future__ import annotations

from pathlib import Path

import segmentation_models_pytorch as smp

from parity.others.case import Case, Model
from parity.others.torch_models import fill, numbered, saved
from resnetfea.network.variant import Variant

LIBRARY = "segmentation-models-pytorch"


def encoder(folder: Path) -> Model:
    """The encoder alone; the first two of its maps are the image and the stem's."""
    model = smp.encoders.get_encoder("resnet50", weights=None)
    fill(model, Variant())
    return saved(model, folder, lambda x: numbered(model(x)[2:]))


CASES = (Case(name="resnet50-encoder", build=encoder),)

"""mindcv, on MindSpore, saved by mindspore.save_checkpoint. Runs in our own environment, with mindcv beside it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import mindcv
import mindspore
from mindspore import Tensor

from parity.cell import NORM
from parity.others.case import CLASSES, SEED, Case, Model
from parity.references import Floats
from resnetfea.network.variant import Variant
from rich_weights import rich_state

LIBRARY = "mindcv"


def classifier(name: str, variant: Variant, folder: Path) -> Model:
    """mindcv's own way to c2 to c5, on the classifier's cells."""
    model = mindcv.create_model(name, num_classes=CLASSES)
    parameters = model.parameters_dict()
    for canonical, array in rich_state(variant, SEED).items():
        *path, kind = canonical.replace("downsample", "down_sample").split(".")
        is_norm = path[-1].startswith("bn") or path[-2:] == ["down_sample", "1"]
        parameters[".".join([*path, NORM[kind] if is_norm else kind])].set_data(Tensor(array))
    mindspore.save_checkpoint(model, str(folder / f"{name}.ckpt"))
    maps = mindcv.create_model(name, num_classes=CLASSES, features_only=True, out_indices=[1, 2, 3, 4])
    missing = mindspore.load_param_into_net(maps, mindspore.load_checkpoint(str(folder / f"{name}.ckpt")))[0]
    assert not missing, missing
    maps.set_train(False)

    def run(x: Floats) -> dict[str, Floats]:
        return {f"c{index}": value.asnumpy() for index, value in enumerate(maps(Tensor(x)), start=2)}

    return Model(folder / f"{name}.ckpt", run)


CASES = (Case(name="resnet50", build=partial(classifier, "resnet50", Variant())),)

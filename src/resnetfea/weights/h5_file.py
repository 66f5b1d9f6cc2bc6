"""Keras' .h5 in all its layouts, to names of one kind: layer/variable, e.g. conv2_block1_1_conv/kernel.

Read in keras 3.0.5, 3.5.0 and 3.15.1 (legacy/saving/legacy_h5_format.py, saving/saving_lib.py), and seen in files that
these wrote:
- legacy, `save_weights("w.h5")`: conv1_conv/conv1_conv/kernel, with `:0` behind it from Keras 2, conv1_conv/kernel from
  Keras 3.0; a model in a model lies in the group of the inner one's name;
- legacy, `save("model.h5")`: the same below model_weights, the optimiser's numbers below optimizer_weights;
- Keras 3, `save_weights("w.weights.h5")`: layers/conv2d_1/vars/0, where the group `vars` says the layer's name, but not
  before some version behind 3.5. There a layer's place among the model's is all there is, and ORDER says what it means.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from resnetfea.errors import ResnetFeaError
from resnetfea.network.variant import BLOCKS
from resnetfea.weights import hdf5
from resnetfea.weights.raw import RawFile

looks_like = hdf5.looks_like
OPTIMISER = ("optimizer/", "optimizer_weights/")
VARIABLES = {  # Keras 3 numbers what a layer of this class has
    "conv2d": ("kernel", "bias"),
    "dense": ("kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}
NUMBERED = re.compile(rf"(?P<model>(?:.*/)?)(?P<kind>{'|'.join(VARIABLES)})(?:_(?P<place>\d+))?/vars/(?P<part>\d+)")
# The parts of a block in the order of the model's layers, which Keras sorts by their distance from the output. So the
# projection, 0, stands in front of 3. The same in all three versions; a first block's 0 and 3 may be of one shape.
FIRST, OTHER = ("1", "2", "0", "3"), ("1", "2", "3")
ENDINGS = {"conv2d": "conv", "batch_normalization": "bn"}


def read(data: bytes) -> RawFile:
    """All variables of the file; the optimiser's keep their paths as names."""
    content = hdf5.read(data, frozenset({"name", "dtype"}))  # `dtype` says that opaque bytes are bfloat16
    layers = {path: texts["name"] for path, texts in content.texts.items() if "name" in texts}
    names = _names(list(content.arrays), layers)
    doubled = [name for name, count in Counter(names.values()).items() if count > 1]
    if doubled:
        raise ResnetFeaError(f"two models, or one twice: {', '.join(doubled)}")
    if not names:
        raise ResnetFeaError("holds no numbers")
    return RawFile("h5", {names[path]: array for path, array in content.arrays.items()})


def _names(paths: list[str], layers: Mapping[str, str]) -> dict[str, str]:
    """layer/variable of each path."""
    numbered = {path: match for path in paths if (match := NUMBERED.fullmatch(path)) and not path.startswith(OPTIMISER)}
    by_place: dict[str, str] = {}
    for model in {match["model"] for match in numbered.values() if match["kind"] in ENDINGS}:
        groups = {path.rsplit("/", 1)[0] for path, match in numbered.items() if match["model"] == model}
        if not groups & layers.keys():
            by_place |= dict(_in_order(model, groups))
    names = {}
    for path in paths:
        match = numbered.get(path)
        group = path.rsplit("/", 1)[0]
        layer = layers.get(group) or by_place.get(group)
        if match is None:
            names[path] = path if path.startswith(OPTIMISER) else _legacy(path)
        elif layer and int(match["part"]) < len(VARIABLES[match["kind"]]):
            names[path] = f"{layer}/{VARIABLES[match['kind']][int(match['part'])]}"
        else:
            names[path] = path
    return names


def _legacy(path: str) -> str:
    """The last two parts; where Keras 2 made conv1_conv_1 of a second model's variable, the group has the true name."""
    *groups, variable = path.removeprefix("model_weights/").removesuffix(":0").split("/")
    if not groups:
        return variable
    layer = groups[0] if re.fullmatch(rf"{re.escape(groups[0])}_\d+", groups[-1]) else groups[-1]
    return f"{layer}/{variable}"


def _in_order(model: str, groups: set[str]) -> Iterator[tuple[str, str]]:
    """Group and layer name of a model that tells no names: only for one with just a ResNet's count of layers."""
    depths = {len(list(_places(depth))): depth for depth in BLOCKS}
    for kind, ending in ENDINGS.items():
        count = len([group for group in groups if re.fullmatch(rf"{re.escape(model)}{kind}(_\d+)?/vars", group)])
        if count not in depths:
            raise ResnetFeaError(
                f"its layers have no names, and {count} of the kind {kind} are not those of a ResNet "
                f"({', '.join(map(str, depths))}); save it again with a newer Keras"
            )
        for place, layer in enumerate(_places(depths[count])):
            yield f"{model}{kind}{f'_{place}' if place else ''}/vars", f"{layer}_{ending}"


def _places(depth: int) -> Iterator[str]:
    """keras.applications' names of the convolutions without their ending, in the order of the model's layers."""
    yield "conv1"
    for stage, blocks in enumerate(BLOCKS[depth], start=2):
        for block in range(1, blocks + 1):
            for part in FIRST if block == 1 else OTHER:
                yield f"conv{stage}_block{block}_{part}"

"""Every hostile file goes the same way; weights that have all there is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from data import tiny
from resnetfea.errors import ResnetFeaError
from resnetfea.weights import Weights, canonical, look, read, recipe
from rich_weights import State, rich_input
from weights.making import (
    CANARY,
    Refuse,
)


@pytest.fixture
def refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Refuse:
    """Writes the bytes to a file, and looks: an error with the file's name, and the canary is not there."""
    monkeypatch.chdir(tmp_path)

    def check(data: bytes) -> None:
        path = tmp_path / "hostile.pth"
        path.write_bytes(data)
        with pytest.raises(ResnetFeaError) as caught:
            look(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / CANARY).exists()

    return check


def fpn() -> State:
    """A pyramid on the tiny network's four stages."""
    channels = tiny.TINY.out_channels
    shapes = {f"fpn.inner_blocks.{level}.0": (6, width, 1, 1) for level, width in enumerate(channels)}
    shapes |= {f"fpn.layer_blocks.{level}.0": (6, 6, 3, 3) for level in range(4)}
    weights = {f"{name}.weight": rich_input(shape, 11) for name, shape in shapes.items()}
    return weights | {f"{name}.bias": rich_input((6,), 12) for name in shapes}


@pytest.fixture
def complete(tmp_path: Path) -> Weights:
    """Weights with a classifier and a pyramid, of a variant and a recipe that no format's names tell."""
    weight, bias = tiny.classifier()
    state = tiny.weights() | {"fc.weight": weight, "fc.bias": bias} | fpn()
    save_file(state, tmp_path / "source.safetensors")
    found = read(tmp_path / "source.safetensors")
    assert len(found.fc) == 2
    assert found.fpn.keys() == set(canonical.FPN)
    strange = replace(found.variant, stride_in="1x1", pool="ceil", conv_pad="same", bn_eps=1.001e-5)
    return replace(found, variant=strange, recipe=recipe.OPEN_NSFW, recipe_of="somebody")

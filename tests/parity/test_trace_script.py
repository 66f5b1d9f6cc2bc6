"""The printed lines: short enough to be read, and the ones that wrote tests/golden/traces (write_traces.py)."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from types import ModuleType

import pytest
from typer.testing import CliRunner

from resnetfea.cli import app
from resnetfea.network.variant import Variant
from resnetfea.parity.trace_script import SCRIPT
from resnetfea.weights import canonical
from weights.test_real_names import NAMES


def test_it_prints_at_most_25_lines_of_python() -> None:
    done = CliRunner().invoke(app, ["trace-script"])
    assert done.exit_code == 0
    assert done.stdout == SCRIPT
    lines = SCRIPT.splitlines()
    assert len(lines) <= 25
    assert max(map(len, lines)) <= 120
    (function,) = [
        node for node in ast.parse(SCRIPT).body if isinstance(node, ast.FunctionDef) and node.name == "trace"
    ]
    assert [one.arg for one in function.args.args] == ["model", "x", "path", "image", "gradients"]


@pytest.fixture
def renamed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """The script's own function; defining it needs no torch."""
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    pasted: dict[str, Callable[[str], str]] = {}
    exec(SCRIPT, pasted)
    return pasted["renamed"]


@pytest.mark.parametrize(
    ("library", "model", "variant"),
    [
        ("torchvision", "resnet101", Variant(depth=101)),
        ("torchvision", "maskrcnn_resnet50_fpn", Variant()),
        ("timm", "resnet50_gn", Variant(norm="group")),
        ("transformers", "resnet-50", Variant()),
        ("mmdet", "resnet50-fpn", Variant()),
        ("mmdet", "resnet50-gn", Variant(norm="group")),
        ("mmdet", "resnet50-mdcn", Variant(deform=("none", "v2", "v2", "v2"))),
    ],
)
def test_it_knows_real_models_names(library: str, model: str, variant: Variant, renamed: Callable[[str], str]) -> None:
    found = [renamed(name) for name in NAMES[library][model]]
    wanted = canonical.shapes(variant)
    assert [name for name in wanted if found.count(name) != 1] == []
    beside = ("fc.", "classifier.", "fpn.", "backbone.fpn.", "neck.", "rpn.", "roi_heads.")
    assert [
        name for name in found if name not in wanted and not name.startswith(beside) and "num_batches" not in name
    ] == []


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("backbone.body.stem.bn1", "bn1"),  # maskrcnn-benchmark 57eec25
        ("backbone.body.layer2.0.conv2.conv.weight", "layer2.0.conv2.weight"),
        ("backbone.body.layer2.0.conv2.offset.bias", "layer2.0.conv2.offset.bias"),
        ("backbone.bottom_up.stem.conv1.norm", "bn1"),  # detectron2 02b5c4e
        ("backbone.bottom_up.stem", "maxpool"),
        ("backbone.bottom_up.res3.0.shortcut.norm", "layer2.0.downsample.1"),
        ("backbone.bottom_up.res3.0.shortcut.weight", "layer2.0.downsample.0.weight"),
        ("backbone.bottom_up.res5.2.conv2_offset.weight", "layer4.2.conv2.offset.weight"),
        ("resnet.embedder.pooler", "maxpool"),  # transformers 5.23.0
        ("resnet.encoder.stages.3.layers.2", "layer4.2"),
    ],
)
def test_it_knows_names_of_what_pypi_does_not_have(theirs: str, ours: str, renamed: Callable[[str], str]) -> None:
    assert renamed(theirs) == ours

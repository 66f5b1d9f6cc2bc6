"""The house: which room may import what (design.md's table, CONTRIBUTING.md), and what stays light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "resnetfea"
PLAIN = {
    "resnetfea.atomic",
    "resnetfea.cache_folder",
    "resnetfea.errors",
    "resnetfea.cpu_guard",
    "resnetfea.import_order",
    "resnetfea.network.variant",
}  # data, importable from anywhere
ROOMS = {  # what a room may import of ours besides itself, and of others besides the standard library
    "weights": (set(), {"numpy"}),
    "network": ({"weights"}, {"numpy", "mindspore"}),
    "engine": ({"weights", "network"}, {"numpy", "openvino", "mindspore"}),
    "features": (
        {"weights", "engine"},
        {"fsspec", "numpy", "PIL", "pillow_heif", "pillow_jxl", "pyarrow", "ray", "rich"},
    ),
    "parity": ({"weights", "network", "engine", "features"}, {"numpy", "mindspore", "onnxruntime", "openvino", "PIL"}),
    "bench": ({"weights", "engine", "features"}, {"numpy", "onnxruntime", "PIL"}),
}
NEED_MINDSPORE = {"MindSporeEngine", "ResNetFea", "ResidualBlockUsing", "resnet50", "weight_init_ones"}
EXPORTERS = {
    "convolution_speed.py",
    "export.py",
    "mindspore_engine.py",
}  # the only files of engine/ that may import mindspore
CLUSTER = {"cluster.py", "cluster_ray.py", "cluster_staff.py"}  # the only files that may import ray


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_its_row_allows(room: str) -> None:
    ours, others = ROOMS[room]
    for path in (PACKAGE / room).glob("*.py"):
        for module in imported(path):
            top = module.split(".")[0]
            if module in PLAIN or module == "resnetfea" or top in sys.stdlib_module_names:
                continue
            if top == "resnetfea":
                assert module.split(".")[1] in ours | {room}, f"{path.name} imports {module}"
            else:
                assert top in others, f"{path.name} imports {module}"
                assert top != "ray" or path.name in CLUSTER, path.name
                assert top != "mindspore" or room != "engine" or path.name in EXPORTERS, path.name


def test_the_files_of_features_import_downwards() -> None:
    """CONTRIBUTING.md's table of them: a line imports from itself and those below it."""
    text = (PACKAGE.parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = re.search(r"\| about \| files \|\n(.*?)\n\n", text, re.DOTALL)
    assert table is not None
    lines = table[1].splitlines()[1:]
    place = {name: index for index, line in enumerate(lines) for name in re.findall(r"`(\w+)\.py`", line)}
    files = {path.stem: path for path in (PACKAGE / "features").glob("*.py")}
    assert place.keys() == files.keys() - {"__init__", "source"}
    for name in place:
        for module in imported(files[name]):
            used = module.removeprefix("resnetfea.features.")
            assert place.get(used, len(lines)) >= place[name], f"{name}.py imports {module}"


def test_no_file_is_called_utils() -> None:
    assert not [path for path in PACKAGE.rglob("*.py") if path.stem in ("utils", "misc", "helpers", "common")]


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import resnetfea", {"mindspore", "openvino", "numpy", "onnx"}),
        ("import resnetfea.cli", {"mindspore", "openvino", "numpy", "onnx", "pyarrow"}),
        ("from resnetfea import Variant", {"mindspore", "openvino", "numpy"}),
        ("from resnetfea import read; read('opennsfw')", {"mindspore", "openvino"}),
        ("from resnetfea.features.extract import extract", {"mindspore", "openvino", "fsspec", "ray"}),
        ("from resnetfea import CompiledEngine", {"mindspore"}),
    ],
)
def test_heavy_libraries_are_imported_only_when_used(statement: str, absent: set[str]) -> None:
    code = f"{statement}\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not absent & set(done.stdout.split())


def test_every_public_name_is_there() -> None:
    import resnetfea

    for name in resnetfea.__all__:
        if name not in NEED_MINDSPORE:
            assert getattr(resnetfea, name).__name__ == name
    assert set(resnetfea.__all__) == set(resnetfea._HOME)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        resnetfea.nothing  # noqa: B018


def imported(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it; `from a import b` is a.b where that is a module."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                is_module = (PACKAGE.parent / Path(*inner.split("."))).with_suffix(".py").exists() or (
                    PACKAGE.parent / Path(*inner.split("."))
                ).is_dir()
                found.add(inner if is_module else node.module)
    return found

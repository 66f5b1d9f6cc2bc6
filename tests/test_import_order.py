"""Any order of imports works with every supported MindSpore."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from resnetfea import import_order


@pytest.mark.parametrize(
    ("version", "choice"), [("2.8.0", "python"), ("2.9.0", "python"), ("2.10.0", None), ("2.80.0", None), (None, None)]
)
def test_only_the_affected_versions_get_pure_python_protobuf(
    version: str | None, choice: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(import_order.VARIABLE, raising=False)
    monkeypatch.setattr(import_order, "mindspore_version", lambda: version)
    monkeypatch.delitem(sys.modules, "google.protobuf", raising=False)
    import_order.make_safe()
    assert os.environ.get(import_order.VARIABLE) == choice


def test_your_own_choice_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(import_order.VARIABLE, "upb")
    monkeypatch.setattr(import_order, "mindspore_version", lambda: "2.8.0")
    monkeypatch.delitem(sys.modules, "google.protobuf", raising=False)
    import_order.make_safe()
    assert os.environ[import_order.VARIABLE] == "upb"


@pytest.mark.slow
@pytest.mark.parametrize("first", ["onnx", "mindspore"])
def test_weights_may_be_read_before_mindspore_is_imported_and_after(first: str) -> None:
    code = f"import resnetfea, {first}; resnetfea.read('opennsfw'); import mindspore, onnx; print('alive')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "alive\n", done.stderr

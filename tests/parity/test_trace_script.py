"""The printed lines: short enough to be read, and the ones that wrote tests/golden/traces (write_traces.py)."""

from __future__ import annotations

import ast

from typer.testing import CliRunner

from resnetfea.cli import app
from resnetfea.parity.trace_script import SCRIPT


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

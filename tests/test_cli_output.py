"""What commands say when they end early."""

import errno
from pathlib import Path

import pytest
import typer

from resnetfea.cli_output import errors


@pytest.mark.parametrize("begun", [False, True])
def test_only_a_run_that_has_begun_keeps_something(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], begun: bool
) -> None:
    if begun:
        (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(typer.Exit), errors(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device", "/cache/file")
    said = capsys.readouterr().err
    assert said.startswith("resnetfea: /cache/file: No space left on device")
    assert ("--resume" in said) == begun

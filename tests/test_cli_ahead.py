"""What makes a command start and end sooner changes nothing else."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from resnetfea.cli_ahead import imported
from resnetfea.cli_collector import resting


def test_modules_are_there_when_the_block_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "this", raising=False)
    with imported("this"):
        pass
    assert "this" in sys.modules


def test_a_module_that_is_missing_is_whoever_needs_its_matter() -> None:
    with imported("resnetfea.no_such_module"):
        pass


def test_the_collector_works_again_after_a_failure() -> None:
    with resting():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        _failing()
    assert gc.isenabled()


@resting()
def _failing() -> None:
    raise ZeroDivisionError


def test_a_command_ends_with_nothing_to_collect() -> None:
    program = (
        "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > 10_000)); "
        "from resnetfea.cli import app; app(['weights', '--json'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("True\n")

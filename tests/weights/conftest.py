"""Every hostile file goes the same way."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnetfea.errors import ResnetFeaError
from resnetfea.weights import look
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

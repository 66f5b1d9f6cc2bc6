"""A run's list on disk: what goes in comes out, however it is cut, and its digest tells lists apart."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from resnetfea.features import inputs

NAMES = st.lists(st.binary(min_size=1, max_size=9).map(lambda name: name.replace(b"\0", b"\n")), max_size=30)


@given(names=NAMES, size=st.integers(1, 9))
def test_names_come_back_in_parts(names: list[bytes], size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        listed = inputs.written(names, Path(folder) / "names")
        parts = list(listed.parts(size))
        assert [name for part in parts for name in part] == list(listed.names()) == names
        assert all(len(part) == size for part in parts[:-1])
        assert listed.count == len(names)
        assert inputs.found(listed.path) == listed


def test_names_that_lie_across_blocks(tmp_path: Path) -> None:
    given = [b"a", b"\xff\n.jpg", b"x" * 5000] * 500  # 2.5 MB: more than one block
    listed = inputs.written(iter(given), tmp_path / "names")
    assert [len(part) for part in listed.parts(7)] == [7] * 214 + [2]
    assert list(listed.names()) == given
    assert inputs.written(given[1:] + given[:1], tmp_path / "others").sha256 != listed.sha256


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    assert inputs.found(tmp_path / "names") is None

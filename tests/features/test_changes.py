"""What came and what went, held to sets; whatever bytes the names are made of, and more than memory's share of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resnetfea.features import changes, sorting
from resnetfea.features.changes import Changes

KEY = st.text(alphabet="ab\1\2\xff", min_size=1, max_size=4).map(lambda text: text.encode("latin-1"))
KEYS = st.lists(KEY, max_size=12)


@given(known=KEYS, listed=KEYS)
@example(known=[b"a", b"a"], listed=[b"a"])
@example(known=[b"a\1"], listed=[b"a", b"a\1\1", b"a\1\2"])
def test_it_is_what_sets_say(known: list[bytes], listed: list[bytes]) -> None:
    found = Changes(known, [(key, b"its " + key) for key in listed])
    assert list(found) == [b"its " + key for key in listed if key not in known]
    assert found.vanished == len(set(known) - set(listed))
    assert found.some == sorted(set(known) - set(listed))[: changes.SHOWN]


def test_through_files_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def small_runs(records: Iterable[bytes], folder: Path | None) -> Iterator[bytes]:
        return sorting.in_order(records, folder=folder, run_records=7)

    monkeypatch.setattr(changes, "in_order", small_runs)
    known = [b"%d" % number for number in range(0, 400, 2)]
    listed = [b"%d" % number for number in range(399, 0, -3)]
    found = Changes(known, [(key, key) for key in listed])
    assert list(found) == [key for key in listed if int(key) % 2]
    assert found.vanished == len(set(known) - set(listed))

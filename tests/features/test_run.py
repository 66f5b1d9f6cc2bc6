"""Runs that go on, mend and grow: what an undisturbed run gives, byte for byte, and what is refused."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from features.quick import Runs, content, draw, run
from resnetfea.errors import ResnetFeaError

__all__ = ["run"]  # a fixture

NAMES = [f"{number:02}.png" for number in range(11)]  # three shards of four


class Stop(Exception):
    """Ends a run as Ctrl-C would."""


def stop_at(count: int) -> Any:
    def progress(done: int, total: int) -> None:
        if done == count:
            raise Stop

    return progress


def begin(run: Runs, source: Path, out: Path, *, stop: int, **options: Any) -> None:
    with pytest.raises(Stop):
        run(source, out, progress=stop_at(stop), **options)
    assert (out / ".inputs").exists()


def paths(out: Path, file: str) -> list[str]:
    found: list[str] = pq.read_table(out / file)["path"].to_pylist()
    return found


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    draw(tmp_path / "photos", *NAMES)
    return tmp_path / "photos"


@pytest.mark.parametrize("pool", ["avg", "none"])
@pytest.mark.parametrize("begun", [None, 6])
def test_failures_are_tried_again_alone(run: Runs, photos: Path, tmp_path: Path, pool: str, begun: int | None) -> None:
    whole = run(photos, tmp_path / "whole", pool=pool)
    kept = {name: (photos / name).read_bytes() for name in ("00.png", "05.png", "10.png")}
    (photos / "00.png").write_bytes(b"")
    (photos / "05.png").write_bytes(kept["05.png"][:-1])
    (photos / "10.png").write_bytes(b"no picture")
    if begun:
        begin(run, photos, tmp_path / "out", stop=begun, pool=pool)
    else:
        assert run(photos, tmp_path / "out", pool=pool).failures == 3
    for name in ("00.png", "10.png"):
        (photos / name).write_bytes(kept[name])
    mended = run(photos, tmp_path / "out", pool=pool, existing="resume", retry_failed=True)
    assert (mended.failures, mended.images) == (1, 10)
    if not begun:
        assert (run.seen, mended.done) == (2, 3)
    assert pq.read_table(tmp_path / "out/failures.parquet").to_pylist() == [
        {"path": "05.png", "kind": "cut short", "reason": "cut short"}
    ]
    (photos / "05.png").write_bytes(kept["05.png"])
    assert run(photos, tmp_path / "out", pool=pool, existing="resume", retry_failed=True).failures == 0
    assert run.seen == 1
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert whole.images == 11


def test_the_size_of_files_need_not_be_repeated(run: Runs, photos: Path, tmp_path: Path) -> None:
    for out in (tmp_path / "out", tmp_path / "whole"):
        run(photos, out, shard_size=3)
    (tmp_path / "out/features-00001.parquet").unlink()
    run(photos, tmp_path / "out", shard_size=None, existing="resume")
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    with pytest.raises(ResnetFeaError, match="began it: shard_size"):
        run(photos, tmp_path / "out", shard_size=4, existing="resume")


def test_a_failure_whose_file_has_gone_stays_one(run: Runs, photos: Path, tmp_path: Path) -> None:
    (photos / "05.png").write_bytes(b"no picture")
    run(photos, tmp_path / "out")
    (photos / "05.png").unlink()
    mended = run(photos, tmp_path / "out", existing="resume", retry_failed=True)
    assert (mended.failures, mended.vanished, mended.some) == (1, 1, ("05.png",))
    assert pq.read_table(tmp_path / "out/failures.parquet")["kind"].to_pylist() == ["missing"]


def test_an_update_adds_files_and_touches_none(run: Runs, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(photos, out)
    before = content(out)
    draw(photos, "02b.png", "zz.png", "sub/a.png")
    (photos / "07.png").unlink()
    with pytest.raises(ResnetFeaError, match=r"differ .*: inputs: 3 that it did not list then; use --update"):
        run(photos, out, existing="resume")
    assert content(out) == before
    done = run(photos, out, existing="resume", update=True)
    assert (done.new, done.vanished, done.some, done.images, done.done) == (3, 1, ("07.png",), 14, 3)
    assert run.seen == 3
    assert sorted(content(out)) == sorted([*before, "features-00003.parquet"])
    assert all(content(out)[name] == before[name] for name in before if name.startswith("features-"))
    assert paths(out, "features-00003.parquet") == ["02b.png", "sub/a.png", "zz.png"]
    after = content(out)
    again = run(photos, out, existing="resume", update=True)
    assert (again.new, again.vanished, again.done) == (0, 1, 0)
    draw(photos, "new.png")
    assert run(photos, out, existing="resume", update=True).new == 1
    assert {name: data for name, data in content(out).items() if name in after and name.startswith("features")} == {
        name: data for name, data in after.items() if name.startswith("features")
    }
    assert paths(out, "features-00004.parquet") == ["new.png"]
    assert run(photos, out, existing="resume").done == 0


def test_an_update_knows_failures_too(run: Runs, photos: Path, tmp_path: Path) -> None:
    (photos / "05.png").write_bytes(b"no picture")
    run(photos, tmp_path / "out")
    draw(photos, "new.png")
    assert run(photos, tmp_path / "out", existing="resume", update=True).new == 1
    assert paths(tmp_path / "out", "failures.parquet") == ["05.png"]


@pytest.mark.parametrize("stop", [2, 6, 10])
def test_an_interrupted_update_goes_on(run: Runs, photos: Path, tmp_path: Path, stop: int) -> None:
    for out in (tmp_path / "out", tmp_path / "whole"):
        run(photos, out)
    draw(photos, *(f"new-{number}.png" for number in range(9)))
    run(photos, tmp_path / "whole", existing="resume", update=True)
    begin(run, photos, tmp_path / "out", stop=11 + stop - 1, existing="resume", update=True)
    (photos / "03.png").unlink()
    run(photos, tmp_path / "out", existing="resume")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_an_update_of_an_interrupted_run_first_finishes_it(run: Runs, photos: Path, tmp_path: Path) -> None:
    begin(run, photos, tmp_path / "out", stop=6)
    draw(photos, "00a.png")
    with pytest.raises(ResnetFeaError, match="inputs: 1 that it did not list then"):
        run(photos, tmp_path / "out", existing="resume")
    done = run(photos, tmp_path / "out", existing="resume", update=True)
    assert (done.images, done.new, done.shards) == (12, 1, 4)
    assert paths(tmp_path / "out", "features-00003.parquet") == ["00a.png"]


def test_a_photo_that_vanishes_is_a_failure_and_ends_nothing(run: Runs, photos: Path, tmp_path: Path) -> None:
    begin(run, photos, tmp_path / "out", stop=6)
    (photos / "09.png").unlink()
    done = run(photos, tmp_path / "out", existing="resume")
    assert (done.images, done.failures, done.vanished) == (10, 1, 1)
    assert paths(tmp_path / "out", "failures.parquet") == ["09.png"]


@pytest.mark.parametrize("emptied", [False, True])
def test_a_source_that_has_gone_stops_the_run(run: Runs, photos: Path, tmp_path: Path, emptied: bool) -> None:
    """As where a disk is unmounted: no image is bad, so none becomes a failure."""
    run(photos, tmp_path / "whole")
    away = tmp_path / "away"

    def unmount(done: int, total: int) -> None:
        if done == 1:
            photos.rename(away)
            if emptied:
                photos.mkdir()

    with pytest.raises(ResnetFeaError, match="photos: it is gone, or empty now"):
        run(photos, tmp_path / "out", progress=unmount, workers=1)
    shutil.rmtree(photos, ignore_errors=True)
    away.rename(photos)
    run(photos, tmp_path / "out", existing="resume")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


@pytest.mark.parametrize("change", ["one more", "one less", "another order"])
@pytest.mark.parametrize("complete", [False, True])
def test_a_list_is_what_somebody_wrote(run: Runs, photos: Path, tmp_path: Path, change: str, complete: bool) -> None:
    source, out = photos / "list.txt", tmp_path / "out"
    source.write_text("\n".join(NAMES[:9]))
    if complete:
        run(source, out)
    else:
        begin(run, source, out, stop=6)
    changed = {"one more": NAMES[:10], "one less": NAMES[:8], "another order": NAMES[8::-1]}[change]
    source.write_text("\n".join(changed))
    if change == "another order":
        assert run(source, out, existing="resume").images == 9
        return
    with pytest.raises(ResnetFeaError, match="inputs"):
        run(source, out, existing="resume")
    if change == "one more":
        assert run(source, out, existing="resume", update=True).images == 10


def test_a_lost_shard_is_made_again_where_its_images_are_known(run: Runs, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(photos, out)
    whole = content(out)
    (out / "features-00001.parquet").unlink()
    run(photos, out, existing="resume")
    assert content(out) == whole
    draw(photos, "new.png")
    run(photos, out, existing="resume", update=True)
    (out / "features-00001.parquet").unlink()
    before = content(out)
    for options in ({}, {"update": True}, {"retry_failed": True}):
        with pytest.raises(ResnetFeaError, match=r"features-00001\.parquet: missing or damaged.*--overwrite"):
            run(photos, out, existing="resume", **options)
        assert content(out) == before


def test_a_lost_shard_is_made_again_by_an_update(run: Runs, photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path / "out")
    whole = content(tmp_path / "out")
    (tmp_path / "out/features-00001.parquet").unlink()
    run(photos, tmp_path / "out", existing="resume", update=True)
    assert content(tmp_path / "out") == whole


def test_a_list_that_was_damaged_is_not_gone_through(run: Runs, photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path / "whole")
    begin(run, photos, tmp_path / "out", stop=6)
    listed = (tmp_path / "out/.inputs").read_bytes()
    (tmp_path / "out/.inputs").write_bytes(listed.replace(b"09.png", b"00.png"))
    run(photos, tmp_path / "out", existing="resume")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_an_archive_that_was_cut_short_may_be_whole_by_now(run: Runs, photos: Path, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    for name, part in (("a.tar", NAMES[:5]), ("b.tar", NAMES[5:])):
        with tarfile.open(shards / name, "w") as archive:
            for photo in part:
                archive.add(photos / photo, photo)
    whole = (shards / "b.tar").read_bytes()
    (shards / "b.tar").write_bytes(whole[:2500])  # two members and half of a header
    source, out = shards / "*.tar", tmp_path / "out"
    begin(run, source, out, stop=4)
    first = run(source, out, existing="resume")
    assert (first.failures, first.images < len(NAMES)) == (1, True)
    run(source, out, existing="resume", retry_failed=True)
    (failure,) = pq.read_table(out / "failures.parquet").to_pylist()
    assert (failure["path"], failure["kind"]) == ("b.tar", "cut short")
    begin(run, source, tmp_path / "other", stop=4)
    (shards / "b.tar").write_bytes(whole)
    for folder in (out, tmp_path / "other"):
        done = run(source, folder, existing="resume", update=True)
        assert (done.images, done.new) == (11, 11 - first.images)


def test_an_update_tries_failures_again_once(run: Runs, photos: Path, tmp_path: Path) -> None:
    (photos / "00.png").write_bytes(b"no picture")
    begin(run, photos, tmp_path / "out", stop=6)
    draw(photos, "new.png")
    done = run(photos, tmp_path / "out", existing="resume", update=True, retry_failed=True)
    assert (done.done, done.new, done.failures) == (7 + 1 + 1, 1, 1)  # what was left, the failure, the new one

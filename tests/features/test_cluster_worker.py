"""What a cluster's worker does, in this process and without Ray."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from features.quick import Quick, Runs, content, draw, run
from resnetfea import Weights
from resnetfea.atomic import committed
from resnetfea.errors import ResnetFeaError
from resnetfea.features import cluster_ray, listing
from resnetfea.features.bad_image import BadImage
from resnetfea.features.cluster_worker import Done, Order, Worker, shipped
from resnetfea.features.folder import opened
from resnetfea.features.limits import Limits
from resnetfea.features.map_store import MapStore
from resnetfea.features.plan import Job
from resnetfea.features.source import Content, Named, Place, Source
from resnetfea.features.store import Store, half_done
from resnetfea.features.work import Work

__all__ = ["run"]  # a fixture

NAMES = [f"{number:02}.png" for number in range(10)]  # three shards of four


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    draw(tmp_path / "photos", *NAMES)
    (tmp_path / "photos/05.png").write_bytes(b"no picture")
    return tmp_path / "photos"


def begun(weights: Weights, photos: Path, out: Path, pool: Any = "avg") -> tuple[Worker, Store, Source, Any]:
    source = listing.images(photos)
    target = (MapStore if pool == "none" else Store)(out, {"c5": 64})
    work = Work(
        weights=weights,
        layers=("c5",),
        pool=pool,
        engine="openvino",
        precision="fp32",
        photos=None,
        min_cosine=0.99,
        batch=1,
        decode="exact",
        limits=Limits(),
        workers=2,
    )
    some = pickle.loads(pickle.dumps(shipped(work, Quick(whole=pool == "none"), target, source.check)))
    worker = Worker()
    return worker, target, source, worker.begin(some, 2)


def orders(source: Source) -> Iterator[Order]:
    images = [Named(source.shown(name), source.content(name)) for name in source.names()]
    for shard, start in enumerate(range(0, len(images), 4)):
        part = images[start : start + 4]
        yield Order(Job(shard, len(part), len(part), mend=False), part)


@pytest.mark.parametrize("pool", ["avg", "none"])
def test_its_shards_are_those_of_a_plain_run(run: Runs, photos: Path, tmp_path: Path, pool: str) -> None:
    run(photos, tmp_path / "plain", pool=pool)
    wanted = content(tmp_path / "plain")
    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest.json").write_bytes(wanted["manifest.json"])
    worker, target, source, error = begun(run.weights, photos, out, pool)
    assert error is None
    said = [one for one in worker.shards(pickle.loads(pickle.dumps(list(orders(source))))) if not isinstance(one, int)]
    assert [one.job.shard for one in said if isinstance(one, Done)] == [0, 1, 2]
    for one in said:
        assert isinstance(one, Done)
        assert half_done(out / one.partial)
        with committed(target.shard(one.job.shard), out / one.partial):
            pass
    assert {name: data for name, data in content(out).items() if name.startswith("f")} == {
        name: data for name, data in wanted.items() if name.startswith("features-")
    }


def test_what_a_user_can_put_right_comes_back_as_a_value(run: Runs, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest.json").write_text("one")
    worker, _, source, error = begun(run.weights, photos, out)
    assert error is None
    work = list(orders(source))
    photos.rename(tmp_path / "away")
    said = list(worker.shards(work))
    assert [type(one) for one in said] == [ResnetFeaError]
    assert "it is gone" in str(said[0])
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json"]  # no half of a shard
    some = worker._some
    (out / "manifest.json").write_text("another")  # as where the node has another folder under this name
    error = worker.begin(some, 1)
    assert isinstance(error, ResnetFeaError)
    assert "not the same folder there" in str(error)


def test_what_a_dead_worker_left_is_removed(tmp_path: Path) -> None:
    left = Store(tmp_path, {"c5": 64}).partial(7)
    left.write_bytes(b"half")
    assert left != Store(tmp_path, {"c5": 64}).partial(7)
    assert half_done(left)
    assert not half_done(tmp_path / ".holiday.parquet.0123456789abcdef.partial")
    with opened(tmp_path, "refuse") as before:
        assert before is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("cluster", "says"),
    [
        ("127.0.0.1:1", "127.0.0.1:1: cannot be reached"),
        ("auto", "neither local nor HOST:PORT"),
        ("ray://127.0.0.1:10001", "neither local nor HOST:PORT"),
        ("127.0.0.1:99999", "cannot be reached"),
    ],
)
def test_an_address_that_cannot_be_one(run: Runs, photos: Path, tmp_path: Path, cluster: str, says: str) -> None:
    with pytest.raises(ResnetFeaError, match=says):
        run(photos, tmp_path / "out", cluster=cluster)
    assert not (tmp_path / "out").exists()


def test_ray_is_not_installed(run: Runs, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_ray, "find_spec", lambda name: None)
    with pytest.raises(ResnetFeaError, match=r"pip install 'resnetfea\[cluster\]'"):
        run(photos, tmp_path / "out", cluster="local")


def test_folders_of_killed_runs_are_removed_and_no_others(tmp_path: Path) -> None:
    for name in ("dead", "alive", "new"):
        (tmp_path / name / "logs").mkdir(parents=True)
        if name != "new":
            os.utime(tmp_path / name, (0, 0))
    handle = cluster_ray._locked(tmp_path / "alive")
    for folder in tmp_path.iterdir():
        cluster_ray._remove_abandoned(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alive", "new"]
    os.close(handle)


@pytest.mark.parametrize("source", ["{}", "{}/0*.png", "{}/04.png", "{}/cut.tar", "memory://{}", "memory://{}/*.tar"])
def test_what_a_worker_gets_of_each_source_goes_to_other_machines(photos: Path, source: str) -> None:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        tar.add(photos / "04.png", "04.png")
    (photos / "cut.tar").write_bytes(whole.getvalue()[:-9000] + b"no header" * 300)
    if source.startswith("memory"):
        memory = fsspec.filesystem("memory")
        for path in photos.iterdir():
            memory.pipe(str(path), path.read_bytes())
    found = listing.images(source.format(photos))
    names = list(found.names())
    assert names
    check, contents = pickle.loads(pickle.dumps((found.check, [found.content(name) for name in names])))
    check()
    for one, name in zip(contents, names, strict=True):
        assert answer(one) == answer(found.content(name))


def answer(content: Content) -> object:
    if isinstance(content, Place):
        return content
    try:
        return content()
    except BadImage as bad:
        return bad.args

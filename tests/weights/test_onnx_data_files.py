"""Weights that lie beside an ONNX model: read where they are the model's own, and no other file is opened."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx
import pytest

from resnetfea.errors import ResnetFeaError
from resnetfea.weights import look, read
from weights.making import DATA
from weights.onnx_data_making import whole, write
from weights.onnx_making import Style, model


@pytest.mark.parametrize("location", ["w.data", "w.onnx_data", "sub/folder/w.data", "w ü.data", "..data"])
def test_one_file(location: str, tmp_path: Path) -> None:
    path = write(tmp_path, location)
    assert whole(path)
    assert read(path).sha256 != read(path).identity


def test_many_files(tmp_path: Path) -> None:
    assert whole(write(tmp_path, "part", many=True))


@pytest.mark.parametrize("align", [4096, 65536])
def test_gaps_that_align(align: int, tmp_path: Path) -> None:
    """As onnx_ir does where it is told an alignment. torch 2.13 tells none."""
    assert whole(write(tmp_path, align=align))


def test_onnx_save(tmp_path: Path) -> None:
    onnx.save(model(Style()), tmp_path / "w.onnx", save_as_external_data=True, size_threshold=0, location="beside.bin")
    assert whole(tmp_path / "w.onnx")
    written, path = model(Style()), tmp_path / "v.onnx"
    onnx.save(written, path, save_as_external_data=True, size_threshold=0, all_tensors_to_one_file=False)
    assert whole(tmp_path / "v.onnx")


def test_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert whole(Path("w.onnx"))


def test_identity_is_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = write(tmp_path / "a"), write(tmp_path / "b")
    assert read(first).identity == read(second).identity
    data = bytearray((tmp_path / "b" / "w.data").read_bytes())
    data[3] ^= 1  # a sign or an exponent
    (tmp_path / "b" / "w.data").write_bytes(data)
    assert read(first).sha256 == read(second).sha256
    assert read(first).identity != read(second).identity
    assert read(DATA / "tiny-bn.onnx").identity == read(DATA / "tiny-bn.onnx").sha256


# ---- a cache made of links -------------------------------------------------------------------------------------------


def hub(folder: Path, location: str = "model.onnx_data") -> Path:
    """As huggingface_hub lays a model out: snapshots/x/NAME are links into blobs."""
    made = write(folder, location)
    blobs, snapshot = folder / "blobs", folder / "snapshots" / "x"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    made.rename(blobs / "aaa")
    (folder / location).rename(blobs / "bbb")
    (snapshot / "model.onnx").symlink_to("../../blobs/aaa")
    (snapshot / location).symlink_to("../../blobs/bbb")
    return snapshot / "model.onnx"


def test_hub(tmp_path: Path) -> None:
    assert whole(hub(tmp_path))


def test_a_link_to_the_model_alone(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    write(tmp_path / "models")
    (tmp_path / "link.onnx").symlink_to("models/w.onnx")
    assert whole(tmp_path / "link.onnx")


def test_hub_whose_data_leads_elsewhere(tmp_path: Path) -> None:
    path = hub(tmp_path)
    (tmp_path / "blobs" / "bbb").rename(tmp_path / "secret")
    (path.parent / "model.onnx_data").unlink()
    (path.parent / "model.onnx_data").symlink_to("../../secret")
    with pytest.raises(ResnetFeaError, match="which is a link"):
        look(path)


def test_hub_whose_blob_is_a_link(tmp_path: Path) -> None:
    path = hub(tmp_path)
    (tmp_path / "blobs" / "bbb").rename(tmp_path / "secret")
    (tmp_path / "blobs" / "bbb").symlink_to("../secret")
    with pytest.raises(ResnetFeaError, match="which is a link"):
        look(path)


def test_hub_whose_model_is_no_link(tmp_path: Path) -> None:
    path = hub(tmp_path)
    shutil.copyfile(tmp_path / "blobs" / "aaa", tmp_path / "real.onnx")
    path.unlink()
    (tmp_path / "real.onnx").rename(path)
    with pytest.raises(ResnetFeaError, match="which is a link"):
        look(path)

"""What lies around where weights are expected: the error says what it is and what to do."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest

from resnetfea.errors import ResnetFeaError
from resnetfea.weights import look
from weights.making import DATA, EMPTY_TUPLE, FOUR, mention, pickled, pickled_dict, text, torch_zip, zipped

TINY = (DATA / "tiny.pth").read_bytes()
# as GitHub serves a file that `git lfs` keeps elsewhere (git-lfs 3, docs/spec.md)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 102530333\n"


def tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.add(DATA / "tiny.pth", arcname="tiny.pth")
    return stream.getvalue()


def whole_model(module: str) -> bytes:
    """The beginning of what torch.save(model) writes."""
    return torch_zip(pickled(mention(module, "ResNet"), EMPTY_TUPLE, b"\x81"), {"0": FOUR})


FILES = {
    "nothing": (b"", "it is empty; download or copy it again"),
    "a reserved download": (bytes(5000), "nothing but zeros"),
    "a Git LFS pointer": (POINTER, "`git lfs pull`"),
    "a page": (b"<!DOCTYPE html>\n<html><title>Google Drive - Virus scan warning</title></html>", "a web page"),
    "a page behind white space": (b"\r\n\r\n<HTML lang=en>" + b"x" * 1000, "a web page"),
    "a page in GBK": (b"\xef\xbb\xbf<html>" + "登录".encode("gbk"), "a web page"),
    "an answer of S3": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "it is XML"),
    "an index of shards": (b'{"metadata": {}, "weight_map": {}}', "it is JSON text"),
    "one line": (b"Entry not found", "it begins with 'Entry not found'"),
    "text that is cut within a letter": (("x" + "征" * 300).encode(), "it is text, not weights"),
    "gzip": (gzip.compress(TINY), "packed by gzip; unpack it"),
    "bzip2": (bz2.compress(TINY), "packed by bzip2; unpack it"),
    "xz": (lzma.compress(TINY), "packed by xz; unpack it"),
    "tar": (tar(), "a tar archive; unpack it"),
    "a zip around it": (zipped([("models/r50.pth", TINY)], zipfile.ZIP_DEFLATED), "a zip around a weights file"),
    ".keras": (zipped([("metadata.json", b"{}"), ("model.weights.h5", FOUR)]), "unzip -p FILE model.weights.h5"),
    "SavedModel": (zipped([("m/saved_model.pb", b""), ("m/variables/variables.index", b"")]), "TensorFlow SavedModel"),
    "TorchScript": (zipped([("m/data/0", FOUR), ("m/code/a.py", b""), ("m/data.pkl", b"")]), "torch.jit.load"),
    "torch.export": (zipped([("e/data/weights/weight_0", FOUR), ("e/models/e.json", b"")]), "torch.export.load"),
    "a whole model": (whole_model("torchvision.models.resnet"), r"whole model.*model.state_dict\(\)"),
    "a parallel one": (whole_model("torch.nn.parallel.data_parallel"), r"whole model.*model.state_dict\(\)"),
    "one of their own": (whole_model("__main__"), "__main__.ResNet, .*save the tensors alone"),
    "the optimizer alone": (
        torch_zip(pickled_dict([(text("state"), b"}"), (text("param_groups"), b"]")]), {}),
        "only state, param_groups",
    ),
    "noise": (b"\xff\xfe\xfd" * 50, "none of .*by its content"),
}


@pytest.mark.parametrize("name", FILES)
def test_it_is_called_by_its_name(name: str, tmp_path: Path) -> None:
    content, says = FILES[name]
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(ResnetFeaError, match=rf"w\.pth: cannot be read as weights: .*{says}"):
        look(tmp_path / "w.pth")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ResnetFeaError, match="a folder; give the weights file in it"):
        look(tmp_path)


def test_what_a_message_shows_of_a_file_is_plain(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"Not Found\n\x1b[31m")
    with pytest.raises(ResnetFeaError) as raised:
        look(tmp_path / "w.pth")
    assert str(raised.value).isprintable()

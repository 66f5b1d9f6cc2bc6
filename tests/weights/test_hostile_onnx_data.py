"""Data files of ONNX models made to harm: no other file is opened, no size is believed."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from resnetfea.errors import ResnetFeaError
from resnetfea.weights import look, onnx_file, reading
from weights.onnx_data_making import BIG, change, whole, write


def locate(location: str) -> Callable[[Path], None]:
    return lambda path: change(path, lambda entries: entries.update(location=location))


def entry(**values: str) -> Callable[[Path], None]:
    return lambda path: change(path, lambda entries: entries.update(values))


def data(path: Path) -> Path:
    return path.with_name("w.data")


def linked(path: Path) -> None:
    data(path).rename(path.with_name("real"))
    data(path).symlink_to("real")


def linked_folder(path: Path) -> None:
    (path.parent / "real").mkdir()
    data(path).rename(path.parent / "real" / "w.data")
    (path.parent / "sub").symlink_to("real")
    everywhere(path, "sub/w.data")


def everywhere(path: Path, location: str) -> None:
    written = onnx.load(path, load_external_data=False)
    for tensor in written.graph.initializer:
        tensor.external_data[0].value = location
    path.write_bytes(written.SerializeToString())


def hard_linked(path: Path) -> None:
    os.link(data(path), path.with_name("other"))


def pipe(path: Path) -> None:
    data(path).unlink()
    os.mkfifo(data(path))


def folder(path: Path) -> None:
    data(path).unlink()
    data(path).mkdir()


def device(path: Path) -> None:
    data(path).unlink()
    data(path).symlink_to("/dev/zero")


def itself(path: Path) -> None:
    change(path, lambda entries: entries.update(location="w.onnx", offset="0"))


def overlapping(path: Path) -> None:
    change(path, lambda entries: entries.update(offset=str(int(entries["offset"]) - 4)))


def shared(path: Path) -> None:
    """Two tensors of one shape, one span."""
    written = onnx.load(path, load_external_data=False)
    by_name = {tensor.name: tensor for tensor in written.graph.initializer}
    del by_name["layer4.1.conv2.weight"].external_data[:]
    by_name["layer4.1.conv2.weight"].external_data.extend(by_name["layer4.2.conv2.weight"].external_data)
    path.write_bytes(written.SerializeToString())


def hole(path: Path) -> None:
    """Bytes of a tensor that is gone."""
    written = onnx.load(path, load_external_data=False)
    tensor = next(tensor for tensor in written.graph.initializer if tensor.name == BIG)
    written.graph.initializer.remove(tensor)
    path.write_bytes(written.SerializeToString())


def inside_too(path: Path) -> None:
    written = onnx.load(path, load_external_data=False)
    next(tensor for tensor in written.graph.initializer if tensor.name == BIG).raw_data = bytes(64)
    path.write_bytes(written.SerializeToString())


def twice(path: Path) -> None:
    written = onnx.load(path, load_external_data=False)
    tensor = next(tensor for tensor in written.graph.initializer if tensor.name == BIG)
    tensor.external_data.add(key="location", value="w.data")
    path.write_bytes(written.SerializeToString())


def cut(path: Path) -> None:
    data(path).write_bytes(data(path).read_bytes()[:-4])


def longer(path: Path) -> None:
    data(path).write_bytes(data(path).read_bytes() + b"more")


def padded_for_ever(path: Path) -> None:
    data(path).write_bytes(data(path).read_bytes() + bytes(1 << 20))


def sparse(path: Path) -> None:
    os.truncate(data(path), 1 << 40)


def dims(*sizes: int) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        written = onnx.load(path, load_external_data=False)
        next(tensor for tensor in written.graph.initializer if tensor.name == BIG).dims[:] = sizes
        path.write_bytes(written.SerializeToString())

    return edit


HARM: dict[str, tuple[Callable[[Path], object], str]] = {
    "above": (locate("../w.data"), "not a plain path"),
    "above, from below": (locate("sub/../../w.data"), "not a plain path"),
    "above, by backslash": (locate("..\\w.data"), "not a plain path"),
    "absolute": (locate("/etc/passwd"), "not a plain path"),
    "a drive": (locate("C:w.data"), "not a plain path"),
    "the folder": (locate("."), "not a plain path"),
    "the same by another name": (locate("./w.data"), "not a plain path"),
    "nothing": (locate(""), "not a plain path"),
    "a null byte": (locate("w.data\0"), "not a plain path"),
    "a long name": (locate("w" * 5000), "cannot be read"),
    "a line break": (locate("w\n.data"), "cannot be read"),
    "through a file": (locate("w.data/x"), "folder itself|cannot be read"),
    "missing": (lambda path: data(path).unlink(), "cannot be read: No such file"),
    "a link": (linked, "which is a link"),
    "a linked folder": (linked_folder, "folder itself"),
    "a hard link": (hard_linked, "second name"),
    "a pipe": (pipe, "not a regular file"),
    "a folder": (folder, "not a regular file"),
    "a device": (device, "which is a link"),
    "the model itself": (itself, "the model itself"),
    "overlapping": (overlapping, "shares its numbers"),
    "one span for two": (shared, "shares its numbers"),
    "a hole": (hole, "belong to no tensor"),
    "inside and outside": (inside_too, "in another file and in this one"),
    "two locations": (twice, "says twice"),
    "cut short": (cut, "cut short"),
    "something behind": (longer, "at its end that belong to no tensor"),
    "much filling behind": (padded_for_ever, "at its end that belong to no tensor"),
    "a terabyte": (sparse, "no ResNet's weights need that many"),
    "offset beyond": (entry(offset="1000000000000"), "cut short"),
    "offset of 40 digits": (entry(offset="1" * 40), "no number"),
    "offset below zero": (entry(offset="-4"), "no number"),
    "offset in words": (entry(offset="four"), "no number"),
    "offset in other digits": (entry(offset="٤"), "no number"),
    "length too long": (entry(length="100000"), "its type and shape need"),
    "length below zero": (entry(length="-1"), "no number"),
    "an unknown entry": (entry(prepacked_0="x|0|8"), "a way that is not read"),
    "no location": (lambda path: change(path, lambda entries: entries.pop("location")), "a way that is not read"),
    "huge dims": (dims(1 << 60, 1 << 60, 3, 3), "its type and shape need"),
    "dims below zero": (dims(-16, 16, 3, -3), "has the shape"),
    "many dims": (dims(*[1] * 1000), "has the shape"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes")
@pytest.mark.parametrize("name", HARM)
def test_harm(name: str, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    path = write(tmp_path / "models")
    shutil.copyfile(data(path), tmp_path / "w.data")
    harm, reason = HARM[name]
    harm(path)
    with pytest.raises(ResnetFeaError, match=reason) as caught:
        look(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sizes_are_capped_in_sum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "part", many=True)
    size = sum(place.stat().st_size for place in tmp_path.iterdir())
    monkeypatch.setattr(reading, "MAX_BYTES", size)
    assert whole(path)
    monkeypatch.setattr(reading, "MAX_BYTES", size - 1)
    with pytest.raises(ResnetFeaError, match="need that many"):
        look(path)


def test_bytes_without_a_path_open_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ResnetFeaError, match="lie in another file"):
        onnx_file.read(path.read_bytes())


def test_no_more_files_than_a_model_needs(tmp_path: Path) -> None:
    path = write(tmp_path)
    written = onnx.load(path, load_external_data=False)
    for index in range(1001):
        extra = written.graph.initializer.add(name=f"extra{index}", data_type=1, dims=[0])
        extra.data_location = onnx.TensorProto.EXTERNAL
        extra.external_data.add(key="location", value=f"extra{index}")
    path.write_bytes(written.SerializeToString())
    with pytest.raises(ResnetFeaError, match="at most 1000"):
        look(path)

"""`resnetfea extract` from archives, patterns and URLs, from end to end, with the default weights' real network."""

import json
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from test_cli_extract import PHOTOS, SAMPLES, extract, failures, good, refused, rows

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """samples/ in the order of their paths."""
    path = tmp_path_factory.mktemp("archive") / "samples.tar"
    with tarfile.open(path, "w") as tar:
        for photo in PHOTOS:
            tar.add(photo, photo.relative_to(SAMPLES))
    return path


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("reference") / "out"
    assert extract(SAMPLES, "-o", out).returncode == 0  # it may have to compile the network
    return out


def test_the_same_rows_from_an_archive_a_pattern_and_a_url(reference: Path, archive: Path, tmp_path: Path) -> None:
    for index, source in enumerate([archive, f"{SAMPLES}/**", f"file://{SAMPLES}"]):
        good(source, "-o", tmp_path / str(index))
        assert rows(tmp_path / str(index)).equals(rows(reference))
    assert json.loads((tmp_path / "2" / "manifest.json").read_text())["source"] == f"file://{SAMPLES}"
    calibrated = extract(
        archive, "-o", tmp_path / "3", "--precision", "int8", "--calibration", f"file://{SAMPLES}/*/*.jpg"
    )
    assert "int8" in calibrated.stdout


def test_an_archive_that_is_cut_gives_what_is_whole_and_resumes(archive: Path, reference: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.tar"
    whole = archive.read_bytes()
    with tarfile.open(archive) as tar:
        fourth = tar.getmembers()[3]
    cut.write_bytes(whole[: fourth.offset_data + fourth.size // 2])
    out, run = tmp_path / "out", [f"{tmp_path}/*.tar", "-o", tmp_path / "out", "--shard-size", "2"]
    assert extract(*run).returncode == 3
    assert rows(out)["path"].to_pylist() == [f"cut.tar/{path.relative_to(SAMPLES)}" for path in PHOTOS[:3]]
    assert rows(out)["c5"].equals(rows(reference)["c5"][:3])
    assert failures(out) == {
        f"cut.tar/{PHOTOS[3].relative_to(SAMPLES)}": "cut short",
        "cut.tar": f"the archive is cut short at byte {cut.stat().st_size:,}",
    }
    before = (out / "features-00000.parquet").read_bytes()
    (out / "features-00000.parquet").unlink()
    assert extract(*run, "--resume").returncode == 3
    assert (out / "features-00000.parquet").read_bytes() == before
    assert pq.read_table(out / "failures.parquet")["kind"].to_pylist() == ["cut short"] * 2


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("{folder}/*.gif", "no image and no .tar matches"),
        ("{folder}/nowhere/*.jpg", "there is no folder"),
        ("{folder}/x.tar.gz", "unpack it to a plain .tar"),
        ("nosuch://user:secret@host/a", "nosuch://host/a: cannot be used"),
    ],
)
def test_what_cannot_be_a_source_is_one_line(tmp_path: Path, source: str, says: str) -> None:
    refused(source.format(folder=tmp_path), "-o", tmp_path / "out", says=says)
    assert not (tmp_path / "out").exists()

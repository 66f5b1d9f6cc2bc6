"""Both engines against PyTorch's golden numbers, against ONNX Runtime, against each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from parity.compare import TOLERANCE, compare
from parity.references import load_all
from resnetfea import CompiledEngine, MindSporeEngine, Weights, read, resnet50
from resnetfea.engine.layers import Pool, normalised
from resnetfea.engine.picture_graph import save
from resnetfea.errors import ResnetFeaError
from resnetfea.network import mode
from resnetfea.network.build import loaded
from weights import onnx_making

pytestmark = pytest.mark.slow
Array = NDArray[Any]
POOLS: tuple[tuple[Pool, Any], ...] = (("avg", np.mean), ("max", np.max), ("none", lambda maps, axis: maps))
GOLDEN = Path(__file__).parents[1] / "golden"
DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def opennsfw() -> Weights:
    return read("opennsfw")


@pytest.fixture(scope="module")
def pictures() -> Array:
    return np.random.default_rng(0).integers(0, 256, (7, 224, 224, 3), dtype=np.uint8)


def error(ours: Array, theirs: Array) -> float:
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


@pytest.mark.parametrize("case", sorted(path.stem for path in GOLDEN.glob("*.npz")))
def test_equal_to_pytorch(case: str) -> None:
    (reference,) = [found for name, found in load_all(GOLDEN) if name == case]
    rows = list(compare(case, reference))
    engines = {row.engine for row in rows}
    assert engines == {"cell", "mindspore", *([] if reference.variant.deforms else ["compiled"])}
    assert len(rows) == len(reference.inputs) * len(engines)
    assert {(*row.errors,) for row in rows} == {reference.variant.out}
    assert [str(row) for row in rows if not row.right] == []


@pytest.mark.parametrize("engine", [CompiledEngine, MindSporeEngine])
def test_open_nsfw_equals_onnx_runtime_on_the_original_file(
    opennsfw: Weights, pictures: Array, engine: type[CompiledEngine] | type[MindSporeEngine]
) -> None:
    theirs = onnxruntime_maps(opennsfw.path, pictures[:2])
    x = np.stack([normalised(picture, opennsfw.recipe) for picture in pictures[:2]])
    ours = engine(opennsfw).maps(x)
    assert {layer: error(ours[layer], theirs[layer]) < TOLERANCE for layer in theirs} == dict.fromkeys(theirs, True)


def onnxruntime_maps(path: Path, pictures: Array) -> dict[str, Array]:
    """c2 to c5 of the original file: the values behind the last block of each stage."""
    import onnxruntime

    model = onnx.load(path)
    adds = [node for node in model.graph.node if node.op_type == "Add"]
    relus = {node.input[0]: node.output[0] for node in model.graph.node if node.op_type == "Relu"}
    last = dict(zip(("c2", "c3", "c4", "c5"), [relus[adds[i].output[0]] for i in (2, 6, 12, 15)], strict=True))
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in last.values())
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = pictures[..., ::-1].astype(np.float32) - np.array([104, 117, 123], np.float32)  # its own preprocessing: BGR
    return dict(zip(last, session.run(list(last.values()), {"input:0": x}), strict=True))


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("tiny-bn.onnx", "tiny-bn"),
        ("tiny-folded.onnx", "tiny-folded"),
        ("tiny-dynamo.onnx", "tiny-dynamo"),
        ("tiny-tf2onnx.onnx", "tiny-tf2onnx"),
        ("tiny-tf2onnx-transposed.onnx", "tiny-tf2onnx-transposed"),
        ("tiny-transformers.safetensors", "tiny-transformers"),
        ("tiny-keras-legacy.h5", "tiny-keras"),
        ("tiny-keras-model.h5", "tiny-keras"),
        ("tiny-keras3.weights.h5", "tiny-keras"),
    ],
)
def test_files_of_others_give_what_their_own_libraries_gave(name: str, reference: str) -> None:
    from data.tiny import SEED
    from rich_weights import rich_input

    weights = read(DATA / name)
    expected = np.load(DATA / f"{reference}-expected.npz")
    maps = CompiledEngine(weights).maps(rich_input((1, 3, 64, 64), SEED))
    for layer, ours in maps.items():
        assert error(ours, expected[layer]) < TOLERANCE, layer


@pytest.mark.parametrize("name", onnx_making.STYLES)
def test_onnx_of_every_style_gives_what_onnx_runtime_makes_of_it(name: str, tmp_path: Path) -> None:
    import onnxruntime

    from rich_weights import rich_input

    style, path, x = onnx_making.STYLES[name], tmp_path / "w.onnx", rich_input((1, 3, 64, 64), 3)
    path.write_bytes(onnx_making.model(style).SerializeToString())
    options = onnxruntime.SessionOptions()  # its optimiser breaks Pad with axes behind a transpose (1.32)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    theirs = session.run(None, {"x": np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if style.nhwc else x})
    ours = MindSporeEngine(read(path)).maps(x)
    for index, layer in enumerate(ours):
        wanted = theirs[index].transpose(0, 3, 1, 2) if style.nhwc else theirs[index]
        assert error(ours[layer], wanted) < TOLERANCE, layer


def test_two_models_that_share_their_onnx_file_are_not_confused(tmp_path: Path) -> None:
    """Only the data file beside it differs; the cache of compiled graphs must know them apart."""
    x, found = np.ones((1, 3, 64, 64), np.float32), []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        data = (DATA / "tiny-dynamo.onnx.data").read_bytes()
        stem = np.frombuffer(data, "<f4").copy()
        stem[:100] *= 2 if folder == "b" else 1
        (tmp_path / folder / "tiny-dynamo.onnx").write_bytes((DATA / "tiny-dynamo.onnx").read_bytes())
        (tmp_path / folder / "tiny-dynamo.onnx.data").write_bytes(stem.tobytes())
        weights = read(tmp_path / folder / "tiny-dynamo.onnx")
        found.append(CompiledEngine(weights).maps(x)["c5"])
    assert error(found[1], found[0]) > 1e-3


def test_features_are_the_maps_pooled_or_whole(opennsfw: Weights, pictures: Array) -> None:
    x = np.stack([normalised(picture, opennsfw.recipe) for picture in pictures])
    maps = MindSporeEngine(opennsfw).maps(x)
    for engine in (CompiledEngine, MindSporeEngine):
        for pool, reduce in POOLS:
            rows = list(engine(opennsfw, layers=("c3", "c5"), pool=pool).features(pictures))
            assert [list(row) for row in rows] == [["c3", "c5"]] * len(pictures)
            for layer in ("c3", "c5"):
                ours = np.stack([row[layer] for row in rows])
                assert error(ours, reduce(maps[layer], axis=(2, 3))) < TOLERANCE


@pytest.mark.parametrize("pool", ["avg", "none"])
@pytest.mark.parametrize(("threads", "batch"), [(1, 1), (4, 1), (2, 3), (1, 7)])
def test_bytes_do_not_depend_on_threads_or_batches(
    opennsfw: Weights, pictures: Array, threads: int, batch: int, pool: Pool
) -> None:
    wanted = list(CompiledEngine(opennsfw, threads=2, pool=pool).features(pictures))
    rows = list(CompiledEngine(opennsfw, threads=threads, batch=batch, pool=pool).features(pictures))
    alone = [next(CompiledEngine(opennsfw, threads=threads, pool=pool).features(pictures[i : i + 1])) for i in (0, 6)]
    assert all(np.array_equal(a[layer], b[layer]) for a, b in zip(rows, wanted, strict=True) for layer in a)
    assert all(np.array_equal(a[layer], wanted[i][layer]) for i, a in zip((0, 6), alone, strict=True) for layer in a)


@pytest.mark.parametrize("pool", ["avg", "none"])
@pytest.mark.parametrize("batch", [1, 4])
def test_pictures_may_differ_in_size_where_the_recipe_keeps_it(opennsfw: Weights, batch: int, pool: Pool) -> None:
    from dataclasses import replace

    weights = replace(opennsfw, recipe=replace(opennsfw.recipe, resize=None, crop=None))
    rng = np.random.default_rng(1)
    sizes = ((90, 64), (90, 64), (33, 200), (90, 64))
    pictures = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in sizes]
    compiled, cell = CompiledEngine(weights, batch=batch, pool=pool), MindSporeEngine(weights, pool=pool)
    rows = list(zip(compiled.features(pictures), cell.features(pictures), strict=True))
    assert [error(a[layer], b[layer]) < TOLERANCE for a, b in rows for layer in a] == [True] * len(sizes) * 4
    if pool == "none":
        assert [a["c5"].shape[1:] for a, _ in rows] == [(-(-h // 32), -(-w // 32)) for h, w in sizes]


@pytest.mark.parametrize("engine", [lambda w: CompiledEngine(w, threads=1), CompiledEngine, MindSporeEngine])
@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 4, 64, 64), (0, 3, 64, 64), (1, 3, 0, 64)])
def test_what_is_no_batch_of_images_is_refused(opennsfw: Weights, engine: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="N, 3, H, W"):
        engine(opennsfw).maps(np.zeros(shape, np.float32))


@pytest.mark.parametrize("engine", [CompiledEngine, MindSporeEngine])
def test_what_is_no_picture_or_layer_is_refused(opennsfw: Weights, engine: Any) -> None:
    for wrong in (np.zeros((224, 224, 3), np.float32), np.zeros((224, 224, 4), np.uint8), np.zeros((224, 3), np.uint8)):
        with pytest.raises(ValueError, match="uint8"):
            list(engine(opennsfw).features([wrong]))
    for layers in (("c9",), ()):
        with pytest.raises(ValueError, match="choose"):
            engine(opennsfw, layers=layers)


def test_threads_may_share_an_engine(opennsfw: Weights, pictures: Array) -> None:
    engine = CompiledEngine(opennsfw, layers=("c5",))
    x = [normalised(picture, opennsfw.recipe)[None] for picture in pictures]
    wanted = [engine.maps(one)["c5"] for one in x]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda one: engine.maps(one)["c5"], x * 3))
    assert all(np.array_equal(a, b) for a, b in zip(found, wanted * 3, strict=True))


def test_a_network_that_does_not_fit_on_the_disk_is_said(opennsfw: Weights, tmp_path: Path) -> None:
    for name in ("model.xml", "model.bin"):
        (tmp_path / name).symlink_to("/dev/full")
    graph = CompiledEngine(opennsfw)._graph
    with pytest.raises(ResnetFeaError, match=f"^{tmp_path}: .* make room"):
        save(graph, tmp_path / "model.xml")


def test_mindspores_context_is_left_as_it_was(opennsfw: Weights) -> None:
    import mindspore as ms

    before = ms.get_context("mode")
    MindSporeEngine(opennsfw).maps(np.zeros((1, 3, 64, 64), np.float32))
    CompiledEngine(opennsfw).maps(np.zeros((1, 3, 64, 64), np.float32))
    assert ms.get_context("mode") == before == ms.PYNATIVE_MODE


def test_the_ready_cell_has_every_tensor_of_its_file(opennsfw: Weights) -> None:
    from resnetfea.weights.ecosystems import RESNETFEA

    parameters = resnet50(opennsfw).parameters_dict()
    assert len(parameters) == len(opennsfw.tensors) == 265
    for name, array in opennsfw.tensors.items():
        assert np.array_equal(parameters[RESNETFEA.theirs(name)].asnumpy(), array), name


@pytest.mark.parametrize("pool", ["pad1", "ceil"])
def test_the_engines_own_padding_changes_no_bit(pool: Any) -> None:
    """It pads the stem's pool in another way than the cell, which can be exported (network/pooling.py)."""
    weights = read(DATA / "tiny.safetensors")
    weights = replace(weights, variant=replace(weights.variant, pool=pool))
    x = np.random.default_rng(1).standard_normal((2, 3, 45, 62)).astype(np.float32)
    with mode.graph():
        plain = [one.asnumpy() for one in loaded(weights, weights.variant)(ms.Tensor(x))]
    ours = MindSporeEngine(weights).maps(x)
    assert [np.array_equal(ours[layer], one) for layer, one in zip(ours, plain, strict=True)] == [True] * 4

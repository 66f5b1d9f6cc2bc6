"""What got past those who forbid names (picklescan, fickling, modelscan): here nothing need be forbidden.

The names are those of picklescan 1.0.5, tests/test_scanner.py, each from an advisory; the shapes are those that
users.md lists in section 2a.
"""

from __future__ import annotations

import io
import marshal
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from data import tiny
from resnetfea.errors import ResnetFeaError
from resnetfea.weights import look, read
from resnetfea.weights.torch_file import LEGACY_START
from weights.making import (
    CANARY,
    DATA,
    FOUR,
    REDUCE,
    WRITERS,
    Refuse,
    group,
    h5,
    mention,
    number,
    pickled,
    pickled_dict,
    pickled_tensors,
    storage,
    tensor,
    text,
    torch_legacy,
    torch_zip,
    zipped,
)

CODE = f"open({CANARY!r}, 'w')"
NAMES = """
    __builtin__.eval builtins.exec builtins.__import__ builtins.open __builtin__.apply __builtin__.compile
    os.system posix.system nt.system subprocess.run pip.main pip._internal.main runpy._run_code pty.spawn
    sys.exit webbrowser.open socket.create_connection requests.api.get aiohttp.client.ClientSession
    httplib.HTTPSConnection shutil.rmtree ssl.get_server_certificate ctypes.CDLL logging.FileHandler _io.FileIO
    imaplib.IMAP4_stream uuid._get_command_stdout operator.attrgetter _operator.methodcaller functools.partial
    pickle.loads _pickle.loads marshal.loads types.CodeType pkgutil.resolve_name importlib.import_module
    asyncio.unix_events._UnixSubprocessTransport._start timeit.timeit bdb.Bdb.run cProfile.runctx
    profile.Profile.run trace.Trace.run doctest.debug_script code.InteractiveInterpreter.runcode pydoc.pipepager
    _pyrepl.pager.pipe_pager _osx_support._read_output _aix_support._read_cmd_output ensurepip._run_pip
    idlelib.run.Executive.runcode idlelib.calltip.get_entity lib2to3.pgen2.grammar.Grammar.loads
    distutils.file_util.write_file cloudpickle.cloudpickle._make_function numpy.f2py.crackfortran.getlincoef
    numpy.testing._private.utils.runstring numpy.load numpy.fromfile numpy.memmap numpy.lib.npyio.NpzFile
    torch.load torch.storage._load_from_bytes torch.jit.load torch.hub.load
    torch._dynamo.guards.GuardBuilder.get torch.utils._config_module.load_config torch.nn.Module
    torch.utils.bottleneck.__main__.run_autograd_prof torch.jit.unsupported_tensor_ops.execWrapper
    torch.ops.load_library torch._utils._rebuild_sparse_tensor torch._utils._rebuild_device_tensor_from_numpy
    torch._tensor._rebuild_from_type_v2 torch.serialization.load collections.Counter collections.defaultdict
    copyreg._reconstructor copy_reg._reconstructor
""".split()
HOW: dict[str, Callable[[str, str], bytes]] = {  # the ways in which a pickle can call something
    "a global": lambda module, name: mention(module, name) + group(text(CODE)) + REDUCE,
    "a global from the stack": lambda module, name: text(module) + text(name) + b"\x93" + group(text(CODE)) + REDUCE,
    "a global out of the memo": lambda module, name: (
        group(text(module) + b"q\x07", text(name) + b"q\x08") + b"h\x07h\x08\x93" + group(text(CODE)) + REDUCE
    ),
    "an instance": lambda module, name: b"(" + text(CODE) + f"i{module}\n{name}\n".encode(),
    "an object": lambda module, name: b"(" + mention(module, name) + text(CODE) + b"o",
    "newobj": lambda module, name: mention(module, name) + group(text(CODE)) + b"\x81",
    "newobj with keywords": lambda module, name: mention(module, name) + group(text(CODE)) + b"}\x92",
    "never called": lambda module, name: mention(module, name) + b"N\x86",
}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", NAMES)
def test_no_name_is_called_or_imported(name: str, how: str, refuse: Refuse) -> None:
    module, _, function = name.rpartition(".")
    value = HOW[how](module, function)
    for hostile in (pickled(value), pickled_dict([(text("conv1.weight"), value)])):
        refuse(hostile)
        refuse(torch_zip(hostile, {}))


EVAL = mention("__builtin__", "eval") + group(text(CODE)) + REDUCE
GOOD = tensor(storage("Float", "0", 4), [4], [1])
SHAPES: dict[str, bytes] = {
    "of protocol 0": f"c__builtin__\neval\n(V{CODE}\ntR.".encode(),
    "of protocol 0, in a dictionary": f"(dp0\nVx\np1\nc__builtin__\neval\n(V{CODE}\ntRs.".encode(),
    "a call whose result is dropped": pickled(EVAL + b"0" + b"}"),
    "a call whose group is dropped": pickled(b"(" + EVAL + b"1" + b"}"),
    "a call behind a good dictionary": pickled_dict([(text("conv1.weight"), GOOD)])[:-1] + EVAL + b"0.",
    "a call behind STOP": pickled_dict([(text("conv1.weight"), GOOD)]) + pickled(EVAL),
    "a value doubled": pickled(b"}2" + EVAL + b"."),
    "a frame that is too long": b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + EVAL + b".",
    "a protocol to come": b"\x80\xff" + EVAL + b".",
    "a set": pickled(b"\x8f(" + text("a") + b"\x90"),
    "a frozen set": pickled(b"(" + text("a") + b"\x91"),
    "a buffer from outside": b"\x80\x05\x97.",
    "a buffer made read-only": b"\x80\x05}\x98.",
    "an extension of 2 bytes": pickled(b"\x83\1\0"),
    "an extension of 4 bytes": pickled(b"\x84\1\0\0\0"),
    "a state for a global": pickled(mention("collections", "OrderedDict") + b"}b"),
    "a state that is called": pickled(mention("argparse", "Namespace") + b")R" + group(EVAL) + b"b"),
    "a persistent id that is a call": pickled(EVAL + b"Q"),
    "a class as a shape": pickled_dict(
        [
            (
                text("conv1.weight"),
                mention("torch._utils", "_rebuild_tensor_v2")
                + group(storage("Float", "0", 4), number(0), mention("os", "system"), group(number(1)), b"\x89", b"N")
                + REDUCE,
            )
        ]
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_of_calls(name: str, refuse: Refuse) -> None:
    refuse(SHAPES[name])
    refuse(torch_zip(SHAPES[name], {"0": FOUR}))
    refuse(LEGACY_START + SHAPES[name])


def test_a_magic_number_that_is_computed(refuse: Refuse) -> None:
    """picklescan looked for the literal number, and took what followed for something else."""
    magic = pickled(mention("__builtin__", "eval") + group(text("0x1950A86A20F9469CFC6C")) + REDUCE)
    good = torch_legacy(pickled(b"}"), pickled(b"]"), [])
    refuse(magic + good[len(LEGACY_START) :])


@pytest.mark.parametrize("suffix", [".pth", ".npz", ".npy", ".safetensors", ".h5", ".onnx", ".ckpt", ".png", ""])
def test_the_name_of_the_file_is_not_believed(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CVE-2025-1889."""
    monkeypatch.chdir(tmp_path)
    for data in (pickled(EVAL), torch_zip(pickled(EVAL), {})):
        (tmp_path / f"w{suffix}").write_bytes(data)
        with pytest.raises(ResnetFeaError):
            look(tmp_path / f"w{suffix}")
        assert not Path(CANARY).exists()


def flagged(data: bytes, flag: int, *, directory: bool, local: bool) -> bytes:
    """The flags of every entry, in the directory, in front of the entry, or both."""
    changed = bytearray(data)
    for signature, place, wanted in ((b"PK\3\4", 6, local), (b"PK\1\2", 8, directory)):
        at = -1
        while wanted and (at := data.find(signature, at + 1)) >= 0:
            changed[at + place : at + place + 2] = struct.pack("<H", flag)
    return bytes(changed)


@pytest.mark.parametrize("flag", [0x1, 0x20, 0x40, 0x2000, 0xF000])
@pytest.mark.parametrize(("directory", "local"), [(True, True), (True, False), (False, True)])
def test_flags_that_torch_ignores(flag: int, directory: bool, local: bool, refuse: Refuse) -> None:
    """Scanners gave such a zip up, and torch read it."""
    good = torch_zip(pickled_tensors({"bn1.weight": np.ones(4, "f4")}), {"0": FOUR})
    for data in (good, torch_zip(pickled(EVAL), {}), zipped([("a.npy", b"")])):
        refuse(flagged(data, flag, directory=directory, local=local))


def tar(name: str, data: bytes) -> bytes:
    """torch's format before 0.1.10; CVE-2025-32434 came by the old ways."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def keras_archive() -> bytes:
    return zipped(
        [
            ("metadata.json", b"{}"),
            ("config.json", b'{"class_name": "Lambda"}'),
            ("model.weights.h5", WRITERS["h5"]({})),
        ]
    )


OTHERS: dict[str, Callable[[], bytes]] = {
    "torch's tar": lambda: tar("pickle", pickled(EVAL)),
    "7-Zip": lambda: b"7z\xbc\xaf\x27\x1c" + pickled(EVAL),
    ".keras": keras_archive,
    "a zip in a zip": lambda: zipped([("w/data.pkl", torch_zip(pickled(EVAL), {}))]),
    "a pickle and a zip": lambda: pickled(b"}") + torch_zip(pickled(EVAL), {}),
    "safetensors and a zip": lambda: WRITERS["safetensors"]({"a": np.ones(1, "f4")}) + torch_zip(pickled(EVAL), {}),
    "HDF5 and a zip": lambda: WRITERS["h5"]({"a": np.ones(1, "f4")}) + torch_zip(pickled(EVAL), {}),
    "HDF5 behind a block of the user's": lambda: h5(lambda file: file.create_group("a"), userblock_size=512),
    "ckpt and a zip": lambda: WRITERS["ckpt"]({"a": np.ones(1, "f4")}) + torch_zip(pickled(EVAL), {}),
    "arrays and a pickle": lambda: zipped([("a.npy", b""), ("w/data.pkl", pickled(EVAL))]),
    "a pickle and arrays": lambda: zipped([("w/data.pkl", pickled(EVAL)), ("a.npy", b"")]),
    "two pickles of one archive": lambda: zipped([("w/data.pkl", pickled(b"}")), ("w/x/data.pkl", pickled(EVAL))]),
    "a pickle under a name that climbs": lambda: zipped([("../data.pkl", pickled(EVAL))]),
    "an absolute name": lambda: zipped([("/data.pkl", pickled(EVAL))]),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_and_two_in_one(name: str, refuse: Refuse) -> None:
    refuse(OTHERS[name]())


def test_a_lambda_in_keras_own_settings_stays_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CVE-2025-9905: `.h5` has a whole model in an attribute, with marshalled code. Weights are all that is read."""
    monkeypatch.chdir(tmp_path)
    code = marshal.dumps(compile(CODE, "x", "exec")).hex()
    config = f'{{"class_name": "Lambda", "config": {{"function": ["{code}", null, null]}}}}'
    data = (DATA / "tiny-keras-legacy.h5").read_bytes()
    stream = io.BytesIO(data)
    with h5py.File(stream, "r+") as file:
        file.attrs["model_config"] = config
    (tmp_path / "w.h5").write_bytes(stream.getvalue())
    assert np.array_equal(
        read(tmp_path / "w.h5").tensors["bn1.bias"], read(DATA / "tiny-keras-legacy.h5").tensors["bn1.bias"]
    )
    assert not Path(CANARY).exists()


def test_a_pickled_array_of_objects_in_npz_never_runs(refuse: Refuse) -> None:
    class Open:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[Any, ...]]:
            return open, (CANARY, "w")

    stream = io.BytesIO()
    np.savez(stream, **dict(tiny.weights()), extra=np.array([Open()], dtype=object))
    refuse(stream.getvalue())
    with zipfile.ZipFile(stream) as archive:
        assert b"open" in archive.read("extra.npy")
    assert pickle.dumps(Open())

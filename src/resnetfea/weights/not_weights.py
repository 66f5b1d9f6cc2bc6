"""Files that people take for weights: known by how they begin, refused with what they are and what to do."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable

from resnetfea.errors import ResnetFeaError

PAGE = "it is a web page, not the file; look at it in a browser: a login, an error, a question to confirm?"
JSON = "it is JSON text; give the file with the numbers, which often lies beside it"
UNPACK = "unpack it and give the weights file in it"

BY_START = (
    (b"version https://git-lfs", "it is Git LFS's pointer to the file; `git lfs pull` brings the file itself"),
    (b"\x93NUMPY", "it is one NumPy array; weights are many, as in .npz"),
    (b"\x1f\x8b", f"it is packed by gzip; {UNPACK}"),
    (b"BZh", f"it is packed by bzip2; {UNPACK}"),
    (b"\xfd7zXZ\0", f"it is packed by xz; {UNPACK}"),
    (b"\x28\xb5\x2f\xfd", f"it is packed by zstd; {UNPACK}"),
    (b"7z\xbc\xaf\x27\x1c", f"it is a 7z archive; {UNPACK}"),
    (b"Rar!", f"it is a RAR archive; {UNPACK}"),
)
PAGES = ((rb"<(!doctype )?html", PAGE), (rb"<\?xml|<error", "it is XML, as servers answer for an error"))
LONGEST = 200  # of a zip's names, those that are looked at: some patterns take its square in steps
TAR_AT, TAR = 257, b"ustar"
TFLITE_AT, TFLITE = 4, b"TFL3"
LOOK, SHOWN = 512, 40  # bytes to tell text by, and how much of it a message shows

SCRIPT = "torch.save(torch.jit.load(FILE).state_dict(), NEW)"
EXPORT = "torch.save(torch.export.load(FILE).state_dict, NEW)"
KERAS = "unzip -p FILE model.weights.h5 > new.weights.h5"
WEIGHTS = r"(.*/)?[^/]+\.(pth|pt|bin|tar|safetensors|npz|h5|ckpt|onnx)"  # not .pkl: torch's own zips hold one

# (pattern that one of a zip's entries matches as a whole, what the zip is), the most telling first
BY_ENTRY = (
    (r"model\.weights\.h5", f"it is a .keras archive; take the weights out of it: {KERAS}"),
    (r"(.*/)?(archive_format|models/.*\.json)", f"it is a program of torch.export; save its tensors alone: {EXPORT}"),
    (r"[^/]+/(constants\.pkl|code/.*)", f"it is TorchScript; save its tensors alone in PyTorch: {SCRIPT}"),
    (r"(.*/)?saved_model\.pb", "it is a TensorFlow SavedModel, which is not read; save the weights as .h5 or .onnx"),
    (r"word/.*|xl/.*|ppt/.*", "it is an office document"),
    (WEIGHTS, f"it is a zip around a weights file; {UNPACK}"),
)


class NotWeights(ResnetFeaError):
    """By its content it is nothing that is read."""


def known_as(data: bytes) -> str | None:
    """What this is, and what to do, where it is no container of weights; None where nothing tells."""
    if not data:
        return "it is empty; download or copy it again"
    for start, what in BY_START:
        if data.startswith(start):
            return what
    if data.startswith(TAR, TAR_AT):
        return f"it is a tar archive; {UNPACK}"
    if data.startswith(TFLITE, TFLITE_AT):
        return "it is a TFLite model, which is not read"
    if data.count(0) == len(data):
        return "it holds nothing but zeros, as after a copy or download that was cut; bring it again"
    return _text(data[:LOOK].removeprefix(codecs.BOM_UTF8).strip())


def _text(head: bytes) -> str | None:
    """The same for what a person could read."""
    for pattern, what in PAGES:
        if re.match(pattern, head, re.IGNORECASE):
            return what
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # whose last letter may be cut
    except UnicodeDecodeError:
        return None
    if not all(char.isprintable() or char.isspace() for char in text):
        return None
    return JSON if text[:1] in ("{", "[") else f"it is text, not weights: it begins with {text[:SHOWN]!r}"


def zip_known_as(names: Iterable[str]) -> str | None:
    """What a zip with these entries is, where it is none that is read."""
    given = [name for name in names if len(name) <= LONGEST]
    for pattern, what in BY_ENTRY:
        if any(re.fullmatch(pattern, name) for name in given):
            return what
    return None

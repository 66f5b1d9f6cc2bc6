"""Any weights file to canonical arrays and what they are. Exact, or one error that lists all that is wrong."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resnetfea.errors import ResnetFeaError, printable
from resnetfea.network.variant import Variant
from resnetfea.weights import (
    canonical,
    ckpt_file,
    known,
    not_weights,
    npz_file,
    own_words,
    safetensors_file,
    torch_file,
)
from resnetfea.weights import card as cards
from resnetfea.weights.known import Published
from resnetfea.weights.locate import Progress, locate
from resnetfea.weights.matching import check, match
from resnetfea.weights.raw import RawFile
from resnetfea.weights.recipe import TORCHVISION, Recipe

MAX_BYTES = 720 << 20  # a ResNet-152 detector with its optimiser's state; a library may hold it a second time
MAX_MESSAGE = 20_000  # characters; the names of all 265 tensors are 7,000
ONNX_START = b"\x08"  # ModelProto's first field, ir_version
READ = ".pth, .pkl, .safetensors, .npz, .ckpt, .h5 and .onnx"


@dataclass(frozen=True, kw_only=True, eq=False)
class Weights:
    """A backbone's weights, complete, and all that must go with them.

    Attributes:
        path, sha256: the file.
        parts: sha256 of each further file that it is made of: an ONNX model's data files.
        container: how the file is built, e.g. "torch-zip".
        ecosystem: whose names it uses, e.g. "modelzoo".
        variant: how this ResNet computes.
        recipe: what its pixels look like; recipe_of says whose recipe that is, or that it is assumed.
        assumed: sentences: what of variant and recipe nothing tells, so that the ecosystem's usual is taken.
        tensors: float32 by canonical name, e.g. layer1.0.conv1.weight (64, 64, 1, 1).
        count: tensors in the file.
        missing: canonical names that the file lacks. unused: its own names that the backbone does not need.
        problems: sentences; empty where the backbone is complete and everything else known.
        wrapper: the entry of a checkpoint that the tensors were taken from, e.g. "state_dict_ema"; "" for none.
        fc: the classifier, fc.weight (classes, C) and fc.bias, where the file has one.
        fpn: the feature pyramid, by fpn_names.py's names, where the file has it whole and tells what it is.
        left_out: those of `unused` that are not in fc or fpn either.
    """

    path: Path
    sha256: str
    container: str
    ecosystem: str
    variant: Variant
    recipe: Recipe
    recipe_of: str
    tensors: Mapping[str, NDArray[np.float32]]
    count: int
    missing: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    wrapper: str = ""
    fc: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    fpn: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """Of all that was read: sha256, and another digest for one .onnx with another data file beside it."""
        together = "\n".join((self.sha256, *self.parts))
        return hashlib.sha256(together.encode()).hexdigest() if self.parts else self.sha256


def read(weights: str | Path, *, offline: bool = False, progress: Progress | None = None) -> Weights:
    """The weights in a file, behind a URL, or under a known name (known.py).

    Args:
        weights: what is not on this machine yet is downloaded into the cache, verified.
        offline: make no connection. RESNETFEA_OFFLINE=1 and HF_HUB_OFFLINE=1 say so too.
        progress: of a download, called with bytes done and bytes in all (0 where unknown).

    Raises:
        ResnetFeaError: it can't be had or read, or a tensor is missing, unknown, or of a wrong shape or type.
    """
    found = look(weights, offline=offline, progress=progress)
    if found.problems:
        raise _error(found.path, "not the weights of a plain ResNet", "; ".join(found.problems))
    return found


def look(weights: str | Path, *, offline: bool = False, progress: Progress | None = None) -> Weights:
    """The same for a file that may be incomplete: what is wrong stands in `problems`.

    Raises:
        ResnetFeaError: not a file that can be had, or its container can't be read.
    """
    located = locate(weights, limit=MAX_BYTES, offline=offline, progress=progress)
    path, data = located.path, _bytes_of(located.path)
    sha256 = hashlib.sha256(data).hexdigest()
    located.check(sha256)
    try:
        found = _understood(path, data, sha256)
    except ResnetFeaError as error:
        again = located.again if isinstance(error, not_weights.NotWeights) else ""
        raise _error(path, "cannot be read as weights", f"{error}{again}") from error
    located.pin(sha256, len(data))  # only now: what is no weights file is not what its publisher meant
    return _as_published(found, located.published or known.with_sha256(sha256))


def _as_published(found: Weights, published: Published | None) -> Weights:
    """With what the publisher says, where the file can't tell."""
    if published is None:
        return found
    found = replace(found, variant=replace(found.variant, **published.variant), assumed=())
    if published.recipe is None:
        return found
    return replace(found, recipe=published.recipe, recipe_of=published.publisher)


def _error(path: Path, what: str, why: str) -> ResnetFeaError:
    """One line. Names in `why` are the file's: no line breaks, no terminal codes, no megabytes."""
    return ResnetFeaError(f"{path}: {what}: {printable(why[:MAX_MESSAGE])}{'...' if len(why) > MAX_MESSAGE else ''}")


def _bytes_of(path: Path) -> bytes:
    """The file's content. Never opens a pipe, which would wait for ever, or a device."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise ResnetFeaError(f"{path}: a folder; give the weights file in it (.pth, .safetensors, .npz, ...)")
        if not stat.S_ISREG(status.st_mode):
            raise ResnetFeaError(f"{path}: not a regular file; give a weights file (.pth, .safetensors, .npz, ...)")
        if status.st_size > MAX_BYTES:
            raise ResnetFeaError(f"{path}: {status.st_size:,} bytes; no ResNet's weights need more than {MAX_BYTES:,}")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ResnetFeaError(
            f"{path}: no such weights file; give a path, a URL, or one of {', '.join(known.KNOWN)}"
        ) from error
    except (OSError, ValueError) as error:
        raise ResnetFeaError(f"{path}: cannot be opened: {getattr(error, 'strerror', None) or error}") from error


def _understood(path: Path, data: bytes, sha256: str) -> Weights:
    reader = _reader(data)
    if reader is None:
        from resnetfea.weights import onnx_file, onnx_notes

        onnx = onnx_file.read(data, path, MAX_BYTES - len(data))
        shapes = {name: array.shape for name, array in onnx.tensors.items()}
        variant = canonical.fit(shapes, onnx.variant)
        unlike = variant.groups != onnx.variant.groups
        checked = check(onnx.tensors, variant, onnx.names, onnx.size)
        lost = ", ".join(f"{name} (its {onnx.names[name]!r})" for name in onnx.lost)
        note = onnx_notes.card(data)
        card = cards.from_json(note) if note is not None else None
        return Weights(
            path=path,
            sha256=sha256,
            container="onnx",
            ecosystem="onnx",
            variant=variant,
            recipe=card.recipe if card else TORCHVISION,
            recipe_of=card.recipe_of if card else "assumed: torchvision",
            tensors=checked.tensors,
            count=onnx.count,
            missing=checked.missing,
            unused=onnx.unused,
            left_out=onnx.unused,
            problems=(
                *checked.problems,
                *([f"used but not stored ({len(onnx.lost)}): {lost}"] if lost else []),
                *([f"its weights are of {variant.groups} groups, its graph is not"] if unlike else []),
                *(card.differences(variant) if card else ()),
            ),
            parts=tuple(digest for _, digest in sorted(onnx.parts.items())),
            assumed=own_words.of_card(card).assumed if card else own_words.OF_A_GRAPH,
        )
    raw = reader(data)
    found = match(raw, max(len(data), raw.unpacked))
    return Weights(
        path=path,
        sha256=sha256,
        container=raw.container,
        ecosystem=found.ecosystem.name,
        variant=found.variant,
        recipe=found.ecosystem.recipe,
        recipe_of=found.recipe_of,
        tensors=found.tensors,
        count=len(raw.tensors),
        missing=found.missing,
        unused=found.unused,
        left_out=found.left_out,
        problems=found.problems,
        wrapper=raw.wrapper,
        fc=found.fc,
        fpn=found.fpn,
        assumed=found.assumed,
    )


def _reader(data: bytes) -> Callable[[bytes], RawFile] | None:
    """Who reads this container, by its content; None for ONNX, whose structure is read instead of names."""
    if npz_file.looks_like(data):
        return npz_file.read
    if data.startswith(b"PK\x03\x04"):
        return torch_file.read_zip
    if data.startswith(torch_file.LEGACY_START):
        return torch_file.read_legacy
    if safetensors_file.looks_like(data):
        return safetensors_file.read
    if ckpt_file.looks_like(data):
        return ckpt_file.read
    from resnetfea.weights import h5_file, pickle_file  # as ONNX's above, imported where they are used: 0.04 s

    if h5_file.looks_like(data):
        return h5_file.read
    if data.startswith(ONNX_START):
        return None
    if pickle_file.looks_like(data):
        return pickle_file.read
    what = not_weights.known_as(data)
    raise not_weights.NotWeights(what or f"none of {READ} by its content; is it cut short or empty?")

"""Weights to a file of another format, whole or not at all, and in words what that format cannot hold."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from resnetfea.atomic import committed, partial_name
from resnetfea.errors import ResnetFeaError
from resnetfea.network.variant import Variant
from resnetfea.weights import canonical, ckpt_file, npz_file, safetensors_file, write_pkl
from resnetfea.weights.card import Card
from resnetfea.weights.ecosystem import Ecosystem
from resnetfea.weights.ecosystems import ECOSYSTEMS
from resnetfea.weights.group_norms import GROUP_NORMS
from resnetfea.weights.reading import Weights
from resnetfea.weights.recipe import Recipe

Floats = Mapping[str, NDArray[np.float32]]
DEFAULT_NAMES = "resnetfea"
# of Variant: told by the tensors' shapes, or of training alone
SIZES = {"depth", "stem_channels", "res2_channels", "groups", "width_per_group", "freeze_at"}
HEADS = {"fc": "the classifier (fc.weight, fc.bias)", "fpn": "the feature pyramid (fpn.*)"}


@dataclass(frozen=True, kw_only=True)
class Form:
    """One kind of file that can be written.

    Attributes:
        names: the ecosystem whose names its tensors get.
        holds: "fc" and "fpn", where it has a place for them. Caffe2's: for an FPN of c2 to c5 with a pool.
        put: writes tensors and card into a stream.
    """

    names: str
    holds: frozenset[str]
    put: Callable[[BinaryIO, Floats, bytes], None]


ALL = frozenset(HEADS)
FORMS = {  # by suffix and, where there is a choice, by names
    ".safetensors": Form(names="torchvision", holds=ALL, put=safetensors_file.write),
    ".npz": Form(names="torchvision", holds=ALL, put=npz_file.write),
    ".pkl": Form(names="detectron1", holds=ALL, put=write_pkl.write),
    ".ckpt resnetfea": Form(names="resnetfea", holds=frozenset({"fpn"}), put=ckpt_file.write),
    ".ckpt modelzoo": Form(names="modelzoo", holds=frozenset({"fc"}), put=ckpt_file.write),
}


class Written(NamedTuple):
    """How many tensors a file got, and a sentence for each thing that it could not get."""

    tensors: int
    notes: list[str]


def write(weights: Weights, out: Path, *, names: str = DEFAULT_NAMES, overwrite: bool = False) -> Written:
    """Write `out`, whose suffix says the format: .safetensors .npz .ckpt .pkl.

    Args:
        weights: what resnetfea.read gave.
        out: appears whole or not at all.
        names: whose parameter names a .ckpt gets, "resnetfea" or "modelzoo".
        overwrite: replace `out` where it is there already.

    Raises:
        ResnetFeaError: no such format or names; out is there already; its folder is not, or can't be written to.
    """
    kind = out.suffix.lower()
    form = FORMS.get(kind) or FORMS.get(f"{kind} {names}")
    if form is None:
        raise ResnetFeaError(f"{out}: no format of this name to write; choose from {', '.join(FORMS)}")
    ecosystem = _named(form.names, weights.variant)
    holds = form.holds - ({"fpn"} if ecosystem.fused and weights.fpn.keys() != set(canonical.FPN) else set())
    tensors, variant, notes = weights.tensors, weights.variant, lost(weights, holds)
    if ecosystem.fused:
        try:
            tensors, exact = write_pkl.folded(tensors, variant.bn_eps)
        except ResnetFeaError as error:
            raise ResnetFeaError(f"{weights.path}: {error}") from error
        variant = replace(variant, bn_eps=0.0)
        if not exact:
            notes.append("its norms are folded to scale and shift, which rounds each number once; their statistics go")
    kept = {**tensors, **(weights.fc if "fc" in holds else {}), **(weights.fpn if "fpn" in holds else {})}
    notes += _strange(variant, weights.recipe, ecosystem)
    with new_file(out, overwrite=overwrite) as stream:
        form.put(stream, {_theirs(ecosystem, name, variant): kept[name] for name in kept}, card_of(weights, variant))
    return Written(len(kept), notes)


def _named(name: str, variant: Variant) -> Ecosystem:
    """The ecosystem of this name; where it has names of its own for group norms, and these are, those."""
    tables = (*GROUP_NORMS, *ECOSYSTEMS) if variant.norm == "group" else ECOSYSTEMS
    return next(one for one in tables if one.name == name)


def card_of(weights: Weights, variant: Variant) -> bytes:
    """The card of a file with these weights, whose network computes like this."""
    return Card(
        variant=variant,
        recipe=weights.recipe,
        recipe_of=weights.recipe_of,
        ecosystem=weights.ecosystem,
        sha256=weights.sha256,
    ).to_json()


def lost(weights: Weights, holds: frozenset[str]) -> list[str]:
    """A sentence for each head that the weights have and a format does not."""
    return [
        f"{what} is left out: this format has no place for it"
        for head, what in HEADS.items()
        if getattr(weights, head) and head not in holds
    ]


@contextmanager
def new_file(out: Path, *, overwrite: bool) -> Iterator[BinaryIO]:
    """A stream that becomes `out` where the block ends well; else nothing is left of it."""
    check_target(out, overwrite=overwrite)
    try:
        with committed(out, partial_name(out)) as partial:
            with partial.open("xb") as stream:
                yield stream
            check_target(out, overwrite=overwrite)  # once more: another process may have been faster
    except OSError as error:
        raise ResnetFeaError(f"{out}: cannot be written: {error.strerror or error}") from error


def check_target(out: Path, *, overwrite: bool) -> None:
    """Whether `out` may be written.

    Raises:
        ResnetFeaError: its folder is missing, it is no file, or it is there already.
    """
    if not out.parent.is_dir():
        raise ResnetFeaError(f"{out}: its folder {out.parent} does not exist; make it first")
    if os.path.lexists(out) and not (out.is_file() or out.is_symlink()):
        raise ResnetFeaError(f"{out}: is not a regular file")
    if os.path.lexists(out) and not overwrite:
        raise ResnetFeaError(f"{out}: is there already; --overwrite replaces it")


def _theirs(ecosystem: Ecosystem, name: str, variant: Variant) -> str:
    """The name in the file. Caffe2 names a pyramid's levels by each stage's last block, so by the depth."""
    name = ecosystem.theirs(name)
    if ecosystem.fused and name.startswith("fpn_"):
        for stage, blocks in enumerate(variant.layer_nums, 2):
            name = name.replace(f"res{stage}_sum", f"res{stage}_{blocks - 1}_sum")
    return name


def _strange(variant: Variant, recipe: Recipe, ecosystem: Ecosystem) -> list[str]:
    """What other programs, which know only the names, would take these weights for."""
    differences = [
        f"{field.name} {ours}, not {theirs}"
        for field in fields(Variant)
        if field.name not in SIZES
        and (ours := getattr(variant, field.name)) != (theirs := getattr(ecosystem.variant, field.name))
    ]
    if _pixels(recipe) != _pixels(ecosystem.recipe):
        differences.append(f"pixels as {_described(recipe)}, not {_described(ecosystem.recipe)}")
    if not differences:
        return []
    return [
        f"the names are those of {ecosystem.name}, but these weights need {'; '.join(differences)}: "
        "resnetfea reads that from the file, other programs have to be told"
    ]


def _pixels(recipe: Recipe) -> tuple[object, ...]:
    """Colour order, mean and std on the scale 0..255: 0.485 of 1 is 123.675 of 255."""
    return recipe.color, *(round(number / recipe.scale, 3) for number in (*recipe.mean, *recipe.std))


def _described(recipe: Recipe) -> str:
    _, *numbers = _pixels(recipe)
    return f"{recipe.color} with mean {numbers[:3]} and std {numbers[3:]}"

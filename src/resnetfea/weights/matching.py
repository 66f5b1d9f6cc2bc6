"""From a container's named tensors to a backbone: whether all of it is there, and what lies beside it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetfea.errors import ResnetFeaError
from resnetfea.network.variant import Variant
from resnetfea.weights import canonical, fpn_names, not_plain, own_words
from resnetfea.weights import card as cards
from resnetfea.weights.arrays import MAX_TENSORS, as_float32
from resnetfea.weights.ecosystem import Ecosystem
from resnetfea.weights.ecosystems import ECOSYSTEMS
from resnetfea.weights.folding import plain
from resnetfea.weights.raw import RawFile
from resnetfea.weights.recognition import recognise

MAX_NAME, MAX_NAMES = 1000, 2 << 20  # characters of one name and of all: each is held against some 200 patterns
MAX_BACKBONE = 600 << 20  # bytes of float32; Wide ResNet-101-2 has 485 MiB
OTHERS = "some trainers keep the optimizer's state in a file of its own; give the one with the weights"
HEADS = frozenset((*canonical.FC, *fpn_names.ALL))
Floats = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a ResNet needs beside what is there: exact tensors, canonical names that lack, and sentences."""

    tensors: Floats
    missing: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Match(Checked):
    """What of a file is a backbone, and whose.

    Attributes:
        recipe_of: whose recipe stands in `ecosystem`: its own, or that of the file this one was converted from.
        assumed: sentences: what of variant and recipe nothing in the file tells.
        fc, fpn: the classifier and the feature pyramid, by canonical names; empty unless complete, and plain.
        unused: the file's own names of what the backbone does not take, those of fc and fpn among them.
        left_out: the same without those of fc and fpn.
    """

    ecosystem: Ecosystem
    recipe_of: str
    assumed: tuple[str, ...]
    variant: Variant
    fc: Floats
    fpn: Floats
    unused: tuple[str, ...]
    left_out: tuple[str, ...]


def match(raw: RawFile, in_file: int) -> Match:
    """The backbone in these tensors; `in_file` is the file's size in bytes.

    Raises:
        ResnetFeaError: no table knows the names, or the network is none of ours.
    """
    if not raw.tensors:
        beside = ", ".join(raw.beside[:4]) or "nothing"
        raise ResnetFeaError(f"holds no tensors of a network, only {beside}; {OTHERS}")
    _check_names(raw.tensors)
    ecosystem, wrapper, prefix = recognise(raw.tensors)
    card = cards.from_json(raw.card) if raw.card is not None else None
    ours = fpn_names.from_first_level(ecosystem.found(raw.tensors, wrapper, prefix))
    theirs = _one_to_one(ours)
    taken = {name: raw.tensors[theirs[name]] for name in theirs}
    _check_size(taken, in_file)  # with its heads, and before anything is made of it
    found = plain(taken, ecosystem)
    heads = {name: found.pop(name) for name in HEADS if name in found}
    other = not_plain.known_as({name: array.shape for name, array in raw.tensors.items()})
    if other == not_plain.NO_STATISTICS and ecosystem.variant.norm == "group":
        other = None  # under this ecosystem's names they do tell
    if not found and other:
        raise ResnetFeaError(f"no plain ResNet: this is {other}")
    if not found:
        known, first = ", ".join(dict.fromkeys(one.name for one in ECOSYSTEMS)), ", ".join([*raw.tensors][:4])
        raise ResnetFeaError(f"holds no ResNet under the names of {known}; its names begin with {first}")
    sizes = {name: array.shape for name, array in found.items()}
    if card is not None:
        own = own_words.of_card(card)
    else:
        own = own_words.told(ecosystem, raw, wrapper, canonical.fit(sizes, ecosystem.variant))
    ecosystem = replace(ecosystem, variant=own.variant, recipe=own.recipe)
    variant = canonical.fit(sizes, ecosystem.variant)
    checked = check(found, variant, theirs, in_file, ecosystem)
    unused = [name for name in raw.tensors if ours.get(name, canonical.FC[0]) in HEADS]
    unknown = [name for name in unused if name not in ours and not ecosystem.is_beside(name, wrapper)]
    problems = checked.problems + ((f"unknown ({len(unknown)}): {', '.join(unknown)}",) if unknown else ())
    problems += own.problems + (card.differences(variant) if card is not None else ())
    fc = _complete(heads, canonical.fc_shapes(heads, variant))
    fpn, damage = _pyramid(heads, variant, theirs)
    others = [name for name in unused if name not in ours and ecosystem.is_neck(name, wrapper)]
    if others:
        fpn = {}  # with more than the rules know it is another pyramid
    problems += (*damage, *([f"unknown ({len(others)}): {', '.join(others)}"] if damage and others else ()))
    left_out = [name for name in unused if ours.get(name) not in (*fc, *fpn)]
    return Match(
        ecosystem=ecosystem,
        recipe_of=own.recipe_of,
        assumed=own.assumed,
        variant=variant,
        tensors=checked.tensors,
        fc=fc,
        fpn=fpn,
        missing=checked.missing,
        unused=(*unused, *raw.beside),
        left_out=(*left_out, *raw.beside),
        problems=(f"this is {other}", *problems) if other and problems else problems,
    )


def check(
    found: Mapping[str, NDArray[Any]],
    variant: Variant,
    theirs: Mapping[str, str],
    in_file: int,
    ecosystem: Ecosystem | None = None,
) -> Checked:
    """Whether this ResNet is there whole. `theirs` gives the file's name of a canonical one, for messages."""
    wanted = canonical.shapes(variant)
    biases = {f"{layer.conv}.bias": layer.shape[:1] for layer in canonical.layers(variant)}
    _check_size(found, in_file)
    missing = [name for name in wanted if name not in found]
    if ecosystem is not None and ecosystem.fused:
        missing = [name for name in missing if not name.endswith(canonical.STATISTICS)]
    if ecosystem is not None and ecosystem.conv_bias and any(name in theirs for name in biases):
        missing += [name for name in biases if name not in theirs]  # one trained without any is complete as well
    extra = [theirs.get(name, name) for name in found if name not in wanted and name not in biases]
    problems = [f"missing ({len(missing)}): {', '.join(missing)}"] if missing else []
    if extra:
        problems.append(f"more blocks than a ResNet-{variant.depth} ({len(extra)}): {', '.join(extra)}")
    exact, misshapen = {}, []
    unsound: dict[str, list[str]] = {}
    for name, shape in (wanted | biases).items():  # in the network's order, whatever the file's is
        if name not in found:
            continue
        if found[name].shape != shape:
            misshapen.append(f"{theirs.get(name, name)} is {found[name].shape} where {shape} belongs")
            continue
        try:
            exact[name] = _sound(name, found[name], variant.bn_eps)
        except ResnetFeaError as error:
            unsound.setdefault(str(error), []).append(theirs.get(name, name))
    for why, names in unsound.items():  # quantised weights would else be 265 sentences
        problems.append(f"{names[0]} {why}" + (f"; so do {len(names) - 1} more" if len(names) > 1 else ""))
    if misshapen:
        problems.append(f"wrong shape ({len(misshapen)}): {', '.join(sorted(misshapen))}")
    exact = {name: array for name, array in exact.items() if name in wanted}
    return Checked(tensors=exact, missing=tuple(missing), problems=tuple(problems))


def _sound(name: str, array: NDArray[Any], eps: float = 1e-5) -> NDArray[np.float32]:
    """The tensor as float32.

    Raises:
        ResnetFeaError: it holds what no network can.
    """
    exact = as_float32(array)
    if not np.isfinite(exact).all():
        raise ResnetFeaError("holds numbers that are not finite")
    if name.endswith("running_var") and (exact < 0).any():
        raise ResnetFeaError("holds negative variances")
    if name.endswith("running_var") and eps == 0 and not exact.all():
        raise ResnetFeaError("holds variances of 0, and its norms have no eps: they would divide by 0")
    return exact


def _one_to_one(ours: Mapping[str, str]) -> dict[str, str]:
    """The file's name of each canonical one."""
    theirs: dict[str, str] = {}
    for name, canonical_name in ours.items():
        if theirs.setdefault(canonical_name, name) != name:
            raise ResnetFeaError(f"{theirs[canonical_name]} and {name} are two names of one tensor")
    return theirs


def _complete(heads: Mapping[str, NDArray[Any]], shapes: Mapping[str, canonical.Shape]) -> Floats:
    """These tensors if all are there and right, else none: what the backbone does not need may be anything."""
    if any(name not in heads or heads[name].shape != shape for name, shape in shapes.items()):
        return {}
    try:
        return {name: _sound(name, heads[name]) for name in shapes}
    except ResnetFeaError:
        return {}


def _pyramid(
    heads: Mapping[str, NDArray[Any]], variant: Variant, theirs: Mapping[str, str]
) -> tuple[Floats, tuple[str, ...]]:
    """The pyramid where it is whole and plain, and a sentence where it is but for one tensor; else it is another."""
    table = fpn_names.shapes(heads, variant)
    off = [name for name, shape in table.items() if name not in heads or heads[name].shape != shape]
    if len(off) > 1 or not heads.keys() <= {*table, *canonical.FC}:
        return {}, ()
    for name in off:
        if name not in heads:
            return {}, (f"missing from its feature pyramid: {name}",)
        return {}, (f"wrong shape (1): {theirs[name]} is {heads[name].shape} where {table[name]} belongs",)
    found = {}
    for name in table:
        try:
            found[name] = _sound(name, heads[name])
        except ResnetFeaError as error:
            return {}, (f"{theirs[name]} {error}",)
    return found, ()


def _check_names(names: Collection[str]) -> None:
    """Few and short enough for patterns, of which some take the square of a name's length."""
    if len(names) > MAX_TENSORS:
        raise ResnetFeaError(f"it has {len(names):,} tensors; no ResNet has more than {MAX_TENSORS:,}")
    longest, total = max(map(len, names), default=0), sum(map(len, names))
    if longest > MAX_NAME or total > MAX_NAMES:
        raise ResnetFeaError(
            f"its tensors have names of up to {longest:,} characters, {total:,} in all; no ResNet's do"
        )


def _check_size(tensors: Mapping[str, NDArray[Any]], in_file: int) -> None:
    """Tensors that are views of the same numbers would need more memory, once copied, than the file has bytes."""
    # twice as much where bfloat16 or float16 widens; a little more for what stands for norms that are folded away
    size = 4 * sum(array.size for array in tensors.values() if array.dtype.kind == "f")
    if size > MAX_BACKBONE:
        raise ResnetFeaError(f"its backbone would need {size:,} bytes; no ResNet's needs more than {MAX_BACKBONE:,}")
    if size > 2 * in_file + (1 << 20):
        raise ResnetFeaError("its tensors share their numbers, so that they would be larger than the file")

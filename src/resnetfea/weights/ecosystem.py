"""What one family of files calls things: a table of renaming rules, and what follows for the network and its pixels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache

from resnetfea.network.variant import Variant
from resnetfea.weights import canonical, fpn_names
from resnetfea.weights.recipe import Recipe

Rules = tuple[tuple[str, str], ...]
WIDEST = Variant(depth=152, deform=("v2", "v2", "v2", "v2"))  # has every name that another one has
# what trainers put in front of every name: DataParallel, torch.compile, Lightning, and an averaged copy's mark
WRAPPERS = ("", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "ema.")
COUNTERS = r".*\.num_batches_tracked"  # of torch's batch norms
# of every ResNet; they alone tell most families apart, and all names of all families take 0.1 s
FIRST = ("conv1.weight", *(f"layer1.0.conv{index}.weight" for index in (1, 2, 3)))
AVERAGED = r"ema[._].*"  # mindcv's and mmcv's averaged copy beside the weights themselves


@dataclass(frozen=True, kw_only=True)
class Ecosystem:
    """One family of files.

    Attributes:
        name: as `inspect` prints it.
        prefixes: what may stand before every name of the backbone.
        rules: (pattern, replacement), applied in order to a canonical name. The classifier's (fc.*) and the pyramid's
            (fpn.*) give names without the prefix.
        spellings: (pattern, replacement), applied in order to a file's name: other spellings of what `rules` give.
        beside: pattern of what such files hold beside the backbone (heads, counters, optimiser); the rest is an error.
        neck: pattern of all that belongs to the feature pyramid; where that is more than the rules know (PAFPN, mmdet's
            further levels), it computes something else.
        variant, recipe: of the weights people have in this form.
        fused: the norms are scale and shift only: mean 0, variance 1, eps 0.
        conv_bias: every convolution has a bias, which the norm behind it takes over.
        channels_last: kernels are (k, k, in, out), the classifier's (in, out).
    """

    name: str
    prefixes: tuple[str, ...]
    rules: Rules
    spellings: Rules = ()
    beside: str
    neck: str = ""
    variant: Variant
    recipe: Recipe
    fused: bool = False
    conv_bias: bool = False
    channels_last: bool = False

    def theirs(self, name: str) -> str:
        """The ecosystem's name of a canonical one, without prefix."""
        return _renamed(name, self.rules)

    def to_canonical(self, variant: Variant, prefix: str) -> dict[str, str]:
        """Their name to the canonical one, for every tensor that such a file has of this ResNet."""
        names = [name for name in canonical.shapes(variant) if not (self.fused and name.endswith(canonical.STATISTICS))]
        if self.conv_bias:
            names += [f"{layer.conv}.bias" for layer in canonical.layers(variant)]
        return {prefix + self.theirs(name): name for name in names}

    def is_beside(self, name: str, wrapper: str) -> bool:
        """Whether such files have this beside the backbone."""
        return _beside(self.beside).fullmatch(name.removeprefix(wrapper)) is not None

    def is_neck(self, name: str, wrapper: str) -> bool:
        """Whether this belongs to the feature pyramid."""
        return re.fullmatch(rf"(?!{COUNTERS})(?:{self.neck})", name.removeprefix(wrapper)) is not None

    def found(self, names: Iterable[str], wrapper: str, prefix: str) -> dict[str, str]:
        """The canonical name of each of the file's names that a rule knows."""
        known = {wrapper + name: ours for name, ours in {**_heads(self), **_backbone(self, prefix)}.items()}
        return {name: known[spelled] for name in names if (spelled := self._spelled(name, wrapper)) in known}

    def begins(self, given: frozenset[str], wrapper: str, prefix: str) -> bool:
        """Whether the convolutions of the stem and of the first bottleneck are among these names."""
        if self.spellings:
            given = frozenset(self._spelled(name, wrapper) for name in given)
        return given.issuperset(wrapper + prefix + self.theirs(name) for name in FIRST)

    def hits(self, given: frozenset[str], wrapper: str, prefix: str) -> int:
        """How many of these names are the backbone's."""
        if self.spellings:
            given = frozenset(self._spelled(name, wrapper) for name in given)
        return len(given & {wrapper + name for name in _backbone(self, prefix)})

    def _spelled(self, name: str, wrapper: str) -> str:
        return wrapper + _renamed(name.removeprefix(wrapper), self.spellings) if self.spellings else name


def pyramid(lateral: str, output: str, first: int = 0, norms: tuple[str, str] | None = None) -> Rules:
    """Rules for the convolutions of an FPN, and for the norms behind them; {} is the level, `first` at c2."""
    kinds = [("inner_blocks", 0, lateral), ("layer_blocks", 0, output)]
    kinds += [("inner_blocks", 1, norms[0]), ("layer_blocks", 1, norms[1])] if norms else []
    return tuple(
        (rf"^fpn\.{kind}\.{level}\.{part}\.", theirs.format(level + first) + ".")
        for kind, part, theirs in kinds
        for level in range(4)
    )


@cache
def _backbone(ecosystem: Ecosystem, prefix: str) -> Mapping[str, str]:
    return ecosystem.to_canonical(replace(WIDEST, norm=ecosystem.variant.norm), prefix)


@cache
def _beside(pattern: str) -> re.Pattern[str]:
    return re.compile(f"{pattern}|{COUNTERS}|{AVERAGED}")


@cache
def _heads(ecosystem: Ecosystem) -> Mapping[str, str]:
    return {ecosystem.theirs(name): name for name in (*canonical.FC, *fpn_names.ALL)}


@lru_cache(1 << 14)  # asked again for every prefix; names have 1,000 characters at most, so this stays below 20 MB
def _renamed(name: str, rules: Rules) -> str:
    for pattern, replacement in _compiled(rules):
        name = pattern.sub(replacement, name)
    return name


@cache
def _compiled(rules: Rules) -> tuple[tuple[re.Pattern[str], str], ...]:
    """Compiled once: re's own look-up is a third of reading a file's names, which are tried with every ecosystem."""
    return tuple((re.compile(pattern), replacement) for pattern, replacement in rules)

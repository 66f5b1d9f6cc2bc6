"""The measured numbers as tables, in English and Chinese, and into the pages between their markers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from differences.trap import NETWORKS, Trap
from differences.traps import TRAPS

Language = Literal["en", "zh"]
DOCS = Path(__file__).parents[1]
NUMBERS = DOCS / "differences" / "numbers.json"
PAGES: dict[Language, Path] = {
    "en": DOCS / "why-numbers-differ.md",
    "zh": DOCS / "why-numbers-differ.zh.md",
}
BLOCK = re.compile(r"(?<=<!-- differences: )(\S+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)
SECTIONS = {  # of a page, and the settings that each is about
    "pool": ("pool",),
    "conv_pad": ("conv_pad",),
    "stride_in": ("stride_in",),
    "dilation": ("dilation",),
    "bn_eps": ("bn_eps",),
    "norms": ("bn_statistics", "bn_affine"),
    "weights": ("weights",),
    "pixels": ("color", "scale", "mean", "std"),
    "pad": ("pad",),
    "resize": ("interpolation", "antialias", "resize"),
    "precision": ("precision",),
    "nothing": ("nothing",),
}
SECTION_OF = {setting: section for section, settings in SECTIONS.items() for setting in settings}
VARIANCES = (1.0, 1e-1, 1e-2, 1e-3, 1e-4)
EPSILONS = ((0.0, 1e-5), (1e-5, 1.001e-5), (1e-5, 1e-4), (1e-5, 1e-3))  # right, wrong
WORDS: dict[Language, dict[str, str]] = {
    "en": {
        "c5": "c5 off by",
        "largest": "at most",
        "cosine": "lowest cosine",
        "first": "first to differ",
        "setting": "setting",
        "what": "what is different",
        "largest c5": "largest c5",
        "both cosines": "cosine of pooled c5",
        "lowest": "lowest",
        "none": "none",
        "other size": "other size",
        "picture": "picture",
        "variance": "variance of the channel",
        "colon": ": ",
        "instead": "{1} instead of {0}",
        "made": "{photos} photos, [samples/](../samples). First to differ: on {first_on}. MindSpore {mindspore}, "
        "OpenVINO {openvino}, Pillow {pillow}, NumPy {numpy}, {machine}.",
    },
    "zh": {
        "c5": "c5 误差",
        "largest": "最大",
        "cosine": "最低余弦",
        "first": "最先出现差异",
        "setting": "设置",
        "what": "差别",
        "largest c5": "c5 最大误差",
        "both cosines": "池化后 c5 的余弦",
        "lowest": "最低",
        "none": "无",
        "other size": "尺寸不同",
        "picture": "图片",
        "variance": "该通道的方差",
        "colon": "：",
        "instead": "{0} 变成 {1}",
        "made": "{photos} 张照片，见 [samples/](../samples)；“最先出现差异”一栏取自 {first_on}。MindSpore {mindspore}、"
        "OpenVINO {openvino}、Pillow {pillow}、NumPy {numpy}，{machine}。",
    },
}


def filled(page: Path) -> str:
    """The page's text with the measured numbers in its blocks."""
    language: Language = "zh" if ".zh" in page.suffixes else "en"
    made = dict(blocks(language))
    return BLOCK.sub(lambda found: f"{found[1]}{found[2]}{made[found[1]]}", page.read_text())


def blocks(language: Language) -> Iterator[tuple[str, str]]:
    """All blocks by name."""
    measured = json.loads(NUMBERS.read_text())
    words, rows = WORDS[language], measured["rows"]
    yield "made", words["made"].format(**measured, **measured["made_with"]) + "\n"
    yield "real", _lookup(language, rows, real=True)
    yield "random", _lookup(language, rows, real=False)
    for section in SECTIONS:
        yield section, _section(language, rows, section)
    yield "sizes", _sizes(language, rows)
    yield "variances", _variances(language)


def _lookup(language: Language, rows: Mapping[str, Any], *, real: bool) -> str:
    """All traps, the largest first."""
    words = WORDS[language]
    traps = [trap for trap in TRAPS if NETWORKS[trap.network].real is real and trap.size is None]
    traps.sort(key=lambda trap: -_size(rows[trap.key]["median"]["c5"]))
    lines = []
    for trap in traps:
        row = rows[trap.key]
        link = f"[{_setting(trap, words)}](#{SECTION_OF[trap.setting]})"
        first = f"`{row['first']}`" if row["first"] else words["none"]
        sizes = (_error(row["median"]["c5"], words), _error(row["largest"]["c5"], words))
        lines.append((*sizes, f"{row['cosine']['lowest']:.4f}", first, link, getattr(trap, language)))
    return _table([words[name] for name in ("c5", "largest", "cosine", "first", "setting", "what")], lines, numbers=3)


def _section(language: Language, rows: Mapping[str, Any], section: str) -> str:
    """The traps of one section, layer by layer."""
    words = WORDS[language]
    lines = []
    for trap in TRAPS:
        if trap.setting not in SECTIONS[section] or trap.size is not None:
            continue
        row = rows[trap.key]
        mark = "" if NETWORKS[trap.network].real else "† "
        setting = f"{_setting(trap, words)}{words['colon']}" if len(SECTIONS[section]) > 1 else ""
        medians = (_error(row["median"][layer], words) for layer in ("c2", "c3", "c4", "c5"))
        largest, cosine = row["largest"], row["cosine"]
        at_most = _error(largest["c5"], words) + (f" ({largest['photo']})" if largest["c5"] else "")
        lowest = f"{cosine['lowest']:.4f}" + (f" ({cosine['photo']})" if cosine["lowest"] < 1 else "")
        what = f"{mark}{setting}{getattr(trap, language)}"
        lines.append((what, *medians, at_most, f"{cosine['median']:.4f}", lowest))
    header = [words["what"], "c2", "c3", "c4", "c5", words["largest c5"], words["both cosines"], words["lowest"]]
    return _table(header, lines, numbers=0)


def _sizes(language: Language, rows: Mapping[str, Any]) -> str:
    """Which of the paddings shows at which size of picture."""
    words = WORDS[language]
    keys = {"pool.pad1": "`pool` `pad1`", "pool.ceil": "`pool` `ceil`", "conv_pad.same": "`conv_pad` `same`"}
    lines = []
    for side in (224, *sorted({trap.size for trap in TRAPS if trap.size is not None})):
        at = "" if side == 224 else f"@{side}"
        lines.append((f"{side}x{side}", *(_error(rows[f"{key}{at}"]["median"]["c5"], words) for key in keys)))
    return _table([words["picture"], *keys.values()], lines, numbers=0)


def _variances(language: Language) -> str:
    """How much eps changes a channel's scale, by the formula: the norm divides by sqrt(variance + eps)."""
    words = WORDS[language]
    lines = [
        (f"{variance:g}", *(_error(_scale_off(variance, *pair), words) for pair in EPSILONS)) for variance in VARIANCES
    ]
    pairs = (words["instead"].format(*map(_eps, pair)) for pair in EPSILONS)
    return _table([words["variance"], *pairs], lines, numbers=0)


def _scale_off(variance: float, right: float, wrong: float) -> float:
    return abs(math.sqrt((variance + right) / (variance + wrong)) - 1)


def _eps(value: float) -> str:
    """0, 1e-5, 1.001e-5."""
    mantissa, exponent = f"{value:.3e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}" if value else "0"


def _setting(trap: Trap, words: Mapping[str, str]) -> str:
    return words["none"] if trap.setting == "nothing" else f"`{trap.setting}`"


def _table(header: Sequence[str], lines: Sequence[tuple[str, ...]], *, numbers: int) -> str:
    """Markdown; the first columns, or where numbers is 0 all but the first, are numbers and stand to the right."""
    right = range(numbers) if numbers else range(1, len(header))
    rule = ["---:" if column in right else "---" for column in range(len(header))]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (header, rule, *lines))


def _size(error: float | None) -> float:
    return math.inf if error is None else error


def _error(error: float | None, words: Mapping[str, str]) -> str:
    """Two digits."""
    if error is None:
        return words["other size"]
    if error == 0 or error >= 10:
        return f"{error:.0f}"
    return f"{error:#.2g}".rstrip(".") if error >= 1e-3 else f"{error:.1e}".replace("e-0", "e-")

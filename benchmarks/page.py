"""The measured numbers as tables, into docs/performance.md and the READMEs between their markers. Ratios, no times."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.memory import LIMIT
from benchmarks.rows import MAX_REL, WITHIN

PAGES = tuple(Path(name) for name in ("docs/performance.md", "README.md", "README.zh.md"))
BLOCK = re.compile(r"(?<=<!-- bench: )(\S+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)
PARTS = ("read", "jpeg", "resize", "beside", "network", "write", "rest")
HEADS = {
    "en": ("photos", "precision, decoding", "times as fast"),
    "zh": ("照片", "精度，解码", "倍数"),
}
BESIDE = {
    "en": "Whole runs of `resnetfea extract` beside a PyTorch script with a DataLoader, on {cores} cores of an {cpu}:",
    "zh": "`resnetfea extract` 的完整运行与一个普通的 PyTorch + DataLoader 脚本相比，{cpu} 的 {cores} 个核：",
}


def filled(text: str, measured: Mapping[str, Any]) -> str:
    """A page with the measured numbers in its blocks."""
    made = blocks(measured)
    return BLOCK.sub(lambda found: f"{found[1]}{found[2]}{made[found[1]]}", text)


def blocks(measured: Mapping[str, Any]) -> dict[str, str]:
    """All blocks by name."""
    return {
        "machine": machine(measured),
        "goals": goals(measured["rows"]),
        "more": more(measured["rows"]),
        "peers": peers(measured["peers"]),
        "profile": profile(measured["rows"]),
        "limits": limits(measured),
        "startup": startup(measured["startup"]),
        "memory": memory(measured["memory"]),
        "readme": short(measured, "en"),
        "readme-zh": short(measured, "zh"),
    }


def goals(rows: Sequence[Mapping[str, Any]]) -> str:
    """Each row beside its goals."""
    lines = []
    for row in rows:
        name = (row["photos"], row["precision"], row["decode"])
        if row["missing"]:
            lines.append((*name, row["missing"], _goal(row["goal"]), "", "", "", ""))
            continue
        layer, worst = _worst(row)
        wanted = f"{row['cosine']:g}" if row["cosine"] is not None else f"{MAX_REL:g}"
        quality = f"{worst:.5f}" if row["cosine"] is not None else f"{worst:.1e}"
        lines.append(
            (
                *name,
                _spread(row["whole"]),
                _goal(row["goal"]),
                _yes(row["reached"]) if row["goal"] else "",
                f"{quality} ({layer})",
                wanted,
                _yes(row["good"]),
            )
        )
    head = ("photos", "precision", "decoding", "ratio", "goal", "reached", "quality (worst layer)", "goal", "reached")
    return _table(head, lines, words=3)


def more(rows: Sequence[Mapping[str, Any]]) -> str:
    """Where each row stands between the peers and what this machine can do."""
    lines = []
    for row in rows:
        if row["missing"]:
            continue
        lines.append(
            (
                _name(row),
                _spread(row["steady"]),
                f"{row['limit']:.2f}",
                _spread(row["to_hand"]) if row["to_hand"] else "",
                _yes(row["to_hand"]["median"] >= 1) if row["to_hand"] else "",
                f"{row['within']:.3f}",
                _yes(row["within"] <= WITHIN),
            )
        )
    head = (
        "row",
        "ratio without start-up",
        "the machine's limit",
        "to OpenVINO by hand",
        "not slower",
        "to the engine alone",
        f"at most {WITHIN}",
    )
    return _table(head, lines)


def peers(peers: Sequence[Mapping[str, Any]]) -> str:
    """What others reach."""
    lines = []
    for peer in peers:
        if peer["missing"]:
            lines.append((peer["key"], peer["missing"], "", ""))
            continue
        quality = "as fp32" if peer["quality"] is None else f"{min(peer['quality'].values()):.5f}"
        lines.append(
            (
                peer["key"],
                _spread(peer["whole"]),
                _spread(peer["steady"]),
                quality,
            )
        )
    return _table(("script", "ratio", "without start-up", "lowest cosine"), lines)


def profile(rows: Sequence[Mapping[str, Any]]) -> str:
    """Where an image's CPU time goes, in per cent, and how near the two large parts are to their limits."""
    lines = []
    for row in rows:
        if row["missing"]:
            continue
        whole = sum(row["parts"].values())
        shares = (f"{100 * row['parts'][part] / whole:.1f}" for part in PARTS)
        lines.append((_name(row), *shares, f"{100 * row['of_peak']:.0f} %", f"{100 * row['of_jpeg']:.0f} %"))
    names = ("read", "JPEG", "resize", "beside them", "network", "write", "rest")
    return _table(("row", *names, "network, of the peak", "decoding, of libjpeg-turbo"), lines)


def limits(measured: Mapping[str, Any]) -> str:
    """The matrix-multiply peak, and the arithmetic of a picture."""
    peak, cores = measured["machine"]["peak"], measured["machine"]["cores"]
    lines = [
        (name, f"{2 * one['gmacs'] * cores:.0f} GFLOP/s", f"{one['gmacs'] / peak['fp32']['gmacs']:.1f}", one["by"])
        for name, one in peak.items()
    ]
    table = _table(("precision", "matrix multiplication", "of fp32's", "fastest by"), lines)
    arithmetic = f"{measured['multiply_adds'] / 1e9:.2f} thousand million multiply-adds"
    return f"{table}\nA picture of 224x224 takes {arithmetic} in convolutions, each of them two FLOP.\n"


def startup(found: Mapping[str, Mapping[str, float]]) -> str:
    """How much of the time that they may take they take."""
    lines = [
        (f"`{name}`" if name.startswith("-") else name, f"{one['goal']:g} s", f"{one['seconds'] / one['goal']:.2f}")
        for name, one in found.items()
    ]
    return _table(("shown", "goal", "of it taken"), lines)


def memory(found: Mapping[str, int]) -> str:
    """Peaks by the number of images."""
    lines = [(count, f"{peak / 1e6:.0f} MB", _yes(peak <= LIMIT)) for count, peak in found.items()]
    return _table(("images in one run", "peak memory", f"at most {LIMIT / 1e6:.0f} MB"), lines, words=0)


def machine(measured: Mapping[str, Any]) -> str:
    """What it was measured on, with what, on how much."""
    found, counts = measured["machine"], measured["counts"]
    ours, theirs = (
        ", ".join(f"{name} {version}" for name, version in found[side].items()) for side in ("versions", "peers")
    )
    photos = "; ".join(
        f"{kind}: {one['images']} images a run of {one['distinct']} photos, {one['low']} to {one['high']} kB"
        for kind, one in counts.items()
    )
    lines = (
        f"- CPU: {found['cpu']}, {found['cores']} cores; {' '.join(found['flags'])}",
        f"- memory: {found['memory'] / 2**30:.0f} GiB; {found['system']}",
        f"- resnetfea with {ours}",
        f"- the peers with {theirs}",
        f"- {photos}; {measured['rounds']} rounds",
    )
    return "".join(f"{line}\n" for line in lines)


def short(measured: Mapping[str, Any], language: str) -> str:
    """The READMEs' table: what was measured, and nothing of what was not."""
    size = {"web": "500x375", "phone": "4000x3000"}
    lines = [
        (size[row["photos"]], f"{row['precision']}, {row['decode']}", f"{row['whole']['median']:.1f}")
        for row in measured["rows"]
        if not row["missing"]
    ]
    return f"{BESIDE[language].format(**measured['machine'])}\n\n{_table(HEADS[language], lines, words=2)}"


def _worst(row: Mapping[str, Any]) -> tuple[str, float]:
    """Layer and number."""
    pick = max if row["cosine"] is None else min
    layer = pick(row["quality"], key=lambda one: row["quality"][one])
    return layer, row["quality"][layer]


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['photos']} {row['precision']} {row['decode']}"


def _spread(found: Mapping[str, float]) -> str:
    return f"{found['median']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def _goal(goal: float | None) -> str:
    return "" if goal is None else f"{goal:g}"


def _yes(answer: bool) -> str:
    return "yes" if answer else "no"


def _table(head: Sequence[str], lines: Sequence[tuple[str, ...]], words: int = 1) -> str:
    """Markdown; the first columns are words, the others numbers that stand to the right."""
    rule = ["---" if column < words else "---:" for column in range(len(head))]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rule, *lines))

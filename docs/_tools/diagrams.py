"""The drawings of the docs, as SVG: the layers of the package, and how a clip passes through the commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter
from html import escape
from pathlib import Path

_WIDTH, _LEVEL, _GAP = 720, 66, 10
_INK, _LINE, _FILL, _SOFT = "#1d2b2a", "#5b8f88", "#d9ecea", "#f5faf9"
_FONT = "font-family='system-ui, sans-serif'"
_SMALL = 11


def collapsed(rule: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
    """Join the rules of subpackages into one rule a package; modules of the package itself are left out."""
    found: dict[str, set[str]] = {}
    for name, allowed in rule.items():
        if name:
            tops = {other.partition(".")[0] for other in allowed if other}
            found.setdefault(name.partition(".")[0], set()).update(tops)
    return {name: allowed - {name} for name, allowed in found.items()}


def levels_of(rule: Mapping[str, set[str]]) -> list[list[str]]:
    """Put each package one level above the highest that it may import."""
    order = TopologicalSorter(rule)
    level: dict[str, int] = {}
    for name in order.static_order():
        level[name] = max((level[other] + 1 for other in rule[name]), default=0)
    found: list[list[str]] = [[] for _ in range(max(level.values()) + 1)]
    for name in rule:
        found[level[name]].append(name)
    return found


def layers(rule: Mapping[str, Sequence[str]]) -> str:
    """Draw the layers: each package above those that it may import, with its subpackages named in it."""
    levels = levels_of(collapsed(rule))
    height = len(levels) * (_LEVEL + _GAP) + _GAP
    parts = [_open(_WIDTH, height, "Packages by layer: a package imports only those in layers below it")]
    for level, names in enumerate(levels):
        y = height - (level + 1) * (_LEVEL + _GAP)
        width = (_WIDTH - _GAP * (len(names) + 1)) / len(names)
        for i, name in enumerate(names):
            x = _GAP + i * (width + _GAP)
            inner = [other.partition(".")[2] for other in rule if other.startswith(f"{name}.")]
            small = _wrap(" · ".join(inner), width)
            parts.append(_box(x, y, width, _LEVEL, name, small, _FILL if level else _SOFT))
    return "".join((*parts, "</svg>"))


def flow() -> str:
    """Draw a clip's way from a list to a page."""
    steps = (
        ("lists", "Kinetics, Let's Dance, or clips on disk", ""),
        ("clips", "decoded, counted, hashed", "fetch, import, merge"),
        ("split", "train, val, test by source video", "dedup, split"),
        ("run", "weights, and the score of every clip", "augment, finetune"),
        ("page", "k of n, intervals, every mistake", "report, compare"),
    )
    width, box, gap = 1000, 132, 80
    parts = [_open(width, 118, "From lists to clips, a split, a run and a page")]
    for i, (name, small, command) in enumerate(steps):
        x = 10 + i * (box + gap)
        parts.append(_box(x, 38, box, 62, name, _wrap(small, box), _FILL))
        if i:
            parts.append(
                f"<path d='M{x - gap + 4} 69h{gap - 12}' stroke='{_LINE}' stroke-width='2'/>"
                f"<path d='M{x - 10} 63l8 6l-8 6z' fill='{_LINE}'/>"
            )
        if command:
            parts.append(
                f"<text x='{x - gap / 2}' y='24' text-anchor='middle' font-size='12' {_FONT} fill='{_INK}' "
                f"font-style='italic'>{escape(command)}</text>"
            )
    return "".join((*parts, "</svg>"))


def _open(width: float, height: float, title: str) -> str:
    # A ground of its own, so that it reads on a dark page too.
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' role='img' width='100%'>"
        f"<title>{escape(title)}</title><rect width='{width}' height='{height}' rx='8' fill='#fff'/>"
    )


def _box(x: float, y: float, width: float, height: float, name: str, small: list[str], fill: str) -> str:
    middle = x + width / 2
    top = y + height / 2 + 5 - 7 * len(small)
    lines = "".join(
        f"<text x='{middle:.1f}' y='{top + 15 + 13 * i:.1f}' text-anchor='middle' font-size='{_SMALL}' "
        f"{_FONT} fill='#4a5f5d'>{escape(line)}</text>"
        for i, line in enumerate(small)
    )
    return (
        f"<rect x='{x:.1f}' y='{y:.1f}' width='{width:.1f}' height='{height}' rx='6' fill='{fill}' "
        f"stroke='{_LINE}'/><text x='{middle:.1f}' y='{top:.1f}' text-anchor='middle' "
        f"font-size='{15 if width > 10 * len(name) else 11}' font-weight='600' {_FONT} fill='{_INK}'>"
        f"{escape(name)}</text>{lines}"
    )


def _wrap(text: str, width: float) -> list[str]:
    import textwrap

    return textwrap.wrap(text, max(8, int(width / 5.6)))


if __name__ == "__main__":
    (Path(__file__).parents[1] / "assets" / "images" / "flow.svg").write_text(flow() + "\n", encoding="utf-8")

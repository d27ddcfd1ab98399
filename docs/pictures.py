"""The drawings of the docs, as SVG: the floors of the house, and a clip's way through the commands."""

from __future__ import annotations

from collections.abc import Mapping, Set
from html import escape
from pathlib import Path

_WIDTH, _FLOOR, _GAP = 720, 58, 10
_INK, _LINE, _FILL, _SOFT = "#1d2b2a", "#5b8f88", "#d9ecea", "#f5faf9"
_FONT = "font-family='system-ui, sans-serif'"
_SMALL = 11


def floors(rule: Mapping[str, Set[str]], ground: Set[str]) -> list[list[str]]:
    """Put each room one floor above the highest that it may import; the ground is one floor."""
    rooms = [room for room in rule if room not in ground and not room.startswith("__")]
    height: dict[str, int] = dict.fromkeys(ground, 0)
    while len(height) < len(ground) + len(rooms):
        for room in rooms:
            if room not in height and rule[room] <= height.keys():
                height[room] = 1 + max(height[other] for other in rule[room])
    found: list[list[str]] = [[] for _ in range(max(height.values()) + 1)]
    for room in (*sorted(ground), *rooms):
        found[height[room]].append(room)
    return found


def house(rule: Mapping[str, Set[str]], ground: Set[str]) -> str:
    """Draw the house: a room stands on what it may import, and says what that is."""
    levels = floors(rule, ground)
    height = len(levels) * (_FLOOR + _GAP) + _GAP
    parts = [_open(_WIDTH, height, "Rooms by floor; a room may import those named below its name")]
    for level, rooms in enumerate(levels):
        y = height - (level + 1) * (_FLOOR + _GAP)
        width = (_WIDTH - _GAP * (len(rooms) + 1)) / len(rooms)
        for i, room in enumerate(rooms):
            x = _GAP + i * (width + _GAP)
            upper = sorted(rule[room] - ground)
            small = _wrap("on " + ", ".join(upper) if upper else "on the ground" if level else "", width)
            parts.append(_box(x, y, width, _FLOOR, room, small, _FILL if level else _SOFT))
    return "".join((*parts, "</svg>"))


def flow() -> str:
    """Draw a clip's way from a list to a page."""
    steps = (
        ("lists", "Kinetics, Let's Dance, or clips on disk", ""),
        ("clips", "decoded, counted, hashed", "fetch, adopt, merge"),
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
    (Path(__file__).parent / "images" / "flow.svg").write_text(flow() + "\n", encoding="utf-8")

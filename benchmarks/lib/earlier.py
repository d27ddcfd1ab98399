"""What an earlier page says of measurements that were not repeated."""

from __future__ import annotations

import re

_MEASURED = re.compile(
    r"^Measured (?P<when>.+?), \d+ minutes in all, on (?P<machine>.+?)\. dancecli ", re.MULTILINE
)
_EARLIER = "Not repeated since: measured "


def earlier_bars(page: str, title: str) -> list[str]:
    """Give the rows of a measurement in the table of bars of a page."""
    verdicts = ("| met |", "| **missed** |")
    return [
        line for line in page.splitlines() if line.startswith(f"| {title} | ") and line.endswith(verdicts)
    ]


def earlier_section(page: str, title: str) -> list[str]:
    """Give the lines of a measurement's section, with when and where it was measured; none without one."""
    _, heading, rest = page.partition(f"\n## {title}\n")
    if not heading:
        return []
    lines = rest.partition("\n## ")[0].strip().splitlines()
    measured = _MEASURED.search(page)
    if measured and not any(line.startswith(_EARLIER) for line in lines):
        lines += ["", f"{_EARLIER}{measured['when']}, on {measured['machine']}."]
    return [f"## {title}", "", *lines]

"""What all pages share: the templates, how figures are written, and a script that may run alone."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.report.intervals import Estimate

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parent / "templates"


def draw(
    template: str, scripts: Sequence[str], data: Any, styles: Sequence[str] = ("report.css",), **shown: Any
) -> str:
    """Draw a page with its style and scripts inside.

    Args:
        template: a template that extends `base.html`.
        scripts: files joined to the page's one script.
        data: what the script reads, as JSON.
        styles: files joined to the page's one style sheet.
        shown: what the template reads.
    """
    from markupsafe import Markup

    script, style = (
        "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in names)
        for names in (scripts, styles)
    )
    page = environment().get_template(template)
    return page.render(
        style=Markup(style),  # noqa: S704 - our own files
        script=Markup(script),  # noqa: S704 - our own files
        # Only this very script may run, so markup that slipped through could do nothing.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=Markup(for_script(data)),  # noqa: S704 - escaped by for_script
        **shown,
    )


def environment() -> jinja2.Environment:
    """Open the templates: what is shown in them is escaped, what they miss is an error."""
    import jinja2

    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    found.filters.update(
        pct=percent, signed=points, span=interval, several=several, size=size, duration=duration, cell=cell
    )
    return found


def cell(text: object) -> str:
    """Put a text on one line of Markdown, so that it cannot end a table's cell."""
    return " ".join(str(text).split()).replace("\\", "\\\\").replace("|", "\\|")


def percent(rate: float | None, digits: int = 1) -> str:
    """Write a rate as per cent."""
    return "\u2013" if rate is None else f"{100 * rate:.{digits}f}"


def points(difference: float, digits: int = 1) -> str:
    """Write a difference of rates in points, with its sign; zero has none."""
    text = f"{abs(100 * difference):.{digits}f}"
    sign = "" if float(text) == 0 else "+" if difference > 0 else "\u2212"
    return sign + text


def interval(estimate: Estimate | None) -> str:
    """Write an interval as per cent, without the sign."""
    return "" if estimate is None else f"{percent(estimate.low)}\u2013{percent(estimate.high)}"


def several(count: int, noun: str) -> str:
    """Write a count with its noun."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{count:,} {noun if count == 1 else plural}"


def size(count: int) -> str:
    """Write a number of parameters: what a million hides stays readable."""
    return f"{count / 1e6:.1f} M" if count >= 1_000_000 else f"{count:,}"


def duration(seconds: Any) -> str:
    """Write a time in the units that a person would use; empty for what is no number."""
    if not isinstance(seconds, int | float):
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def for_script(document: Any) -> str:
    """Write JSON that may stand in a script element: no character in it can end the element."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text

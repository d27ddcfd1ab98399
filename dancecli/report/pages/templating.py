"""What all pages share: the templates, how figures are written, and a script that may run alone."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.report.statistics.intervals import Estimate, Proportion
from dancecli.report.statistics.significance import Accuracy

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup
from dancecli.core.text import cell, duration, file_size, gap, percent, pluralize, points, size

TEMPLATES = Path(__file__).parent.parent / "templates"
# Letters of a heading in one line of a phone.
_KEPT = 18


def render(
    template: str, scripts: Sequence[str], data: Any, styles: Sequence[str] = ("report.css",), **shown: Any
) -> str:
    """Render a page with its style and scripts inside.

    Args:
        template: a template that extends `base.html`.
        scripts: files joined to the page's one script.
        data: what the script reads, as JSON.
        styles: files joined to the page's one style sheet.
        shown: what the template reads.
    """
    from markupsafe import Markup

    script, style = _joined(scripts), _joined(styles)
    page = environment().get_template(template)
    return page.render(
        style=Markup(style),  # noqa: S704 - our own files
        script=Markup(script),  # noqa: S704 - our own files
        # Only this very script may run, so markup that slipped through could do nothing.
        script_hash=script_hash(scripts),
        data=Markup(for_script(data)),  # noqa: S704 - escaped by for_script
        **shown,
    )


def script_hash(scripts: Sequence[str]) -> str:
    """Return the SHA-256 of a page's script in base64, as a content security policy names it."""
    return base64.b64encode(hashlib.sha256(_joined(scripts).encode()).digest()).decode()


def _joined(names: Sequence[str]) -> str:
    return "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in names)


def environment(*, autoescape: bool = True) -> jinja2.Environment:
    """Open the templates: what is shown in them is escaped for HTML, what they miss is an error."""
    import jinja2

    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=autoescape,  # noqa: S701 - off for Markdown alone
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        bytecode_cache=_bytecode_cache(),
    )
    found.filters.update(
        pct=percent,
        signed=points,
        gap=gap,
        interval=interval,
        pluralize=pluralize,
        size=size,
        file_size=file_size,
        duration=duration,
        cell=cell,
        count=count,
        keep=keep,
        count_of=lambda clips: f"{clips:.1f}".removesuffix(".0"),
        change=change,
    )
    return found


def _bytecode_cache() -> jinja2.BytecodeCache | None:
    """Keep compiled templates where Python keeps our modules; it takes a fifth of the time of a page."""
    import jinja2

    folder = TEMPLATES / "__pycache__"
    if sys.dont_write_bytecode or not os.access(folder if folder.exists() else TEMPLATES, os.W_OK):
        return None
    folder.mkdir(exist_ok=True)
    # Jinja tells other sources and Pythons apart, but not another Jinja.
    return jinja2.FileSystemBytecodeCache(str(folder), f"%s.jinja-{version('jinja2')}.pyc")


def interval(estimate: Estimate | None) -> str:
    """Write an interval as per cent, without the sign."""
    return "" if estimate is None else f"{percent(estimate.low)}\u2013{percent(estimate.high)}"


def keep(text: str) -> Markup:
    """Keep a name in one line that a browser would break at its hyphens, as far as it fits on a phone."""
    from markupsafe import Markup, escape

    words = (
        Markup('<span class="keep">{}</span>').format(w) if "-" in w and len(w) <= _KEPT else escape(w)
        for w in text.split(" ")
    )
    return Markup(" ").join(words)


def count(of: Proportion | Accuracy) -> str:
    """Write what a rate is of, as `50/58` or `mean of 3`."""
    return of.text if isinstance(of, Accuracy) else f"{of.k}/{of.n}"


def change(clips: float) -> str:
    """Write a difference in clips with its sign; zero has none."""
    return f"{clips:+.1f}".removesuffix(".0").replace("-", "\u2212") if clips else "0"


def for_script(document: Any) -> str:
    """Write JSON that may stand in a script element: no character in it can end the element."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text

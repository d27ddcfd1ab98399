"""Every link of the repository's pages leads somewhere: files, headings, and addresses of the right form."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
# Pages that the site's build writes, which checks the links to them.
GENERATED = {
    ROOT / "docs" / name
    for name in re.findall(r'"(reference/[\w-]+\.md)":', (ROOT / "docs/_tools/mkdocs_hooks.py").read_text())
} | {path.with_suffix(".md") for path in (ROOT / "docs" / "notebooks").glob("*.ipynb")}
_LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_REFERENCE = re.compile(r"^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
_BARE = re.compile(r"<(https?://[^>\s]+)>")
_CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)


def links(text: str) -> list[str]:
    """The targets of all links of a page, those in code left out."""
    plain = _CODE.sub("", text)
    return [*_LINK.findall(plain), *_REFERENCE.findall(plain), *_BARE.findall(plain)]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and MkDocs name them."""
    plain = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+?)(?:\s+\{#([\w-]+)\})?$", plain, re.MULTILINE)
    found = {given for _, given in headings if given}
    for title, _ in headings:
        words = re.sub(r"[^\w\s-]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower())
        found.add(re.sub(r"\s", "-", words.strip()))
        found.add(re.sub(r"[\s-]+", "-", words.strip()))
    return found | set(re.findall(r"<a (?:id|name)=\"([\w-]+)\"", text))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in links(page.read_text(encoding="utf-8")):
        parts = urlsplit(target)
        if parts.scheme:
            local = parts.hostname in ("127.0.0.1", "localhost")
            if not (parts.scheme == "mailto" or (parts.scheme == "https" and parts.netloc) or local):
                broken.append(f"{target}: not https")
            continue
        path = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if path in GENERATED:
            continue
        if not path.exists():
            broken.append(f"{target}: no such file")
        elif parts.fragment and path.suffix == ".md":
            text = path.read_text(encoding="utf-8")
            if parts.fragment not in anchors(text):
                broken.append(f"{target}: no such heading")
    assert broken == []


def test_what_a_link_is() -> None:
    text = (
        '[a](b.md#c) ![i](x.svg) `[no](code)` <https://h/> [t](u "title")\n\n[r]: v\n```\n[no](block)\n```\n'
    )
    assert links(text) == ["b.md#c", "x.svg", "u", "v", "https://h/"]
    assert anchors("# `dance fetch`: a, B\n## C {#own}\n") >= {"dance-fetch-a-b", "c", "own"}

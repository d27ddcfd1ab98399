"""The texts use the field's words: whatever a user or a reader can see is held against a list of others.

Each pattern was once in these texts. What to write instead stands beside it.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from dancecli.cli import loader, registry

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "dancecli"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
TEXTS = [
    *PAGES,
    *(p for kind in ("html", "md", "js") for p in PACKAGE.rglob(f"*.{kind}")),
    *(ROOT / "manifests").rglob("*.toml"),
]
SOURCES = [*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]

BANNED = {
    r"mend(?:s|ed|ing)?": "fix",
    r"by heart": "overfit one batch",
    r"heed(?:s|ed|ing)?": "read, apply, respect",
    r"(?:cannot|could not|can|may still) be had": "unavailable, available, retrievable",
    r"(?:go|goes|going|went) on (?:where|from there|by itself|with it)": "resumes, continues",
    r"look-?alikes?|look alike": "near-duplicates",
    r"judg(?:e|es|ed|ing)": "evaluate",
    r"(?:a|the) floors? of (?:the|a) house|house of floors|rooms? below": "layer, package",
    r"the one made last": "the latest",
    r"rehears(?:e|es|ed)": "overfit check",
    r"survivors?": "expected available clips",
    r"learnt": "learned",
    r"a (?:line|row|key|table|name|file|job|process) an? \w+": "one ... per ...",
    r"clips? a (?:step|second|video|class)": "clips per ...",
    r"dance (?:adopt|why|replay)": "dance import, history, reproduce",
    r"(?:behav|col|neighb|fav|hon)our\w*|centres?|licences?|grey|modell\w+": "American spelling",
    r"(?:labell|cancell|travell)(?:ed|ing)": "American spelling",
    r"(?:normal|optim|initial|general|regular|summar|util|memor|organ|recogn|minim|maxim)is(?:e|es|ed|er|ing|ation)\w*":
        "American spelling",
}  # fmt: skip
PATTERN = re.compile(rf"(?<![\w-])(?:{'|'.join(BANNED)})(?![\w])", re.IGNORECASE)
# The list itself.
OURSELVES = Path(__file__)


def prose_of(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a page; of a source its comments, its strings and the names of its functions."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), start=1)
        return
    kept = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    defined = False
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in kept:
            for number, line in enumerate(token.string.splitlines()):
                yield token.start[0] + number, line
        elif defined:
            yield token.start[0], token.string.replace("_", " ")
        defined = token.type == tokenize.NAME and token.string in ("def", "class")


def found_in(path: Path) -> list[str]:
    place = path.relative_to(ROOT)
    return [f"{place}:{n}: {hit[0]}" for n, line in prose_of(path) for hit in PATTERN.finditer(line)]


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_pages_and_templates_use_the_field_s_words(path: Path) -> None:
    assert found_in(path) == []


def test_sources_use_the_field_s_words() -> None:
    assert [hit for path in SOURCES if path != OURSELVES for hit in found_in(path)] == []


def test_every_help_text_uses_the_field_s_words() -> None:
    hits = []
    for name in registry.COMMANDS:
        command = loader.load(name)
        texts = [command.help or "", *(p.help or "" for p in command.params if hasattr(p, "help"))]
        hits += [f"dance {name}: {hit[0]}" for text in texts for hit in PATTERN.finditer(text)]
    assert hits == []


def test_a_banned_word_is_found(tmp_path: Path) -> None:
    source = tmp_path / "a.py"
    source.write_text('def looks_alike():\n    """Mend it."""\n    return f"{1} judged"  # a colour\n')
    hits = [hit[0] for _, line in prose_of(source) for hit in PATTERN.finditer(line)]
    assert hits == ["Mend", "judged", "colour"]

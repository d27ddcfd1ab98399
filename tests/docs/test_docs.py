"""The docs say what the commands are: checked against the live registry, not against a copy."""

from __future__ import annotations

import dataclasses
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dancecli.cli import loader, registry
from dancecli.core import records
from dancecli.core.recipe import Recipe

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Words that a sentence uses for a command or a flag of any kind.
PLACEHOLDERS = {"COMMAND", "--help", "--version", "--install-completion"}


@pytest.fixture(scope="module")
def hooks() -> Iterator[object]:
    sys.path.insert(0, str(ROOT / "docs" / "_tools"))
    import mkdocs_hooks as module

    yield module
    sys.path.remove(str(ROOT / "docs" / "_tools"))


def invocations(text: str) -> Iterator[list[str]]:
    """Every `dance ...` of a page: in a code block, a line; in a sentence, what is in backquotes."""
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in re.sub(r"\\\n\s*", "", block).splitlines()]
    inline = re.findall(r"`(dance [^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))
    for line in [*lines, *inline]:
        found = re.match(r"\s*(?:\$ )?(dance(?: .*)?)$", line)
        if found:
            yield shlex.split(found[1].replace("…", ""), comments=True)[1:]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_command_line_in_the_docs_is_one(page: Path) -> None:
    for words in invocations(page.read_text(encoding="utf-8")):
        if not words or words[0] in PLACEHOLDERS:
            continue
        assert words[0] in registry.COMMANDS, f"{page.name}: dance {' '.join(words)}"
        known = {flag for p in loader.load(words[0]).params for flag in (*p.opts, *p.secondary_opts)}
        flags = [word.partition("=")[0] for word in words[1:] if re.match(r"--?[a-z]", word)]
        flags = flags[: words.index("--")] if "--" in words else flags
        assert set(flags) <= known | PLACEHOLDERS, f"{page.name}: dance {' '.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_command_line_of_a_shell_block_is_parsed(page: Path) -> None:
    blocks = re.findall(r"^```sh\n.*?^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    for words in invocations("\n".join(blocks)):
        if words and words[0] not in PLACEHOLDERS:
            loader.load(words[0]).make_context(words[0], words[1:])


def test_the_readme_tells_of_every_command() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in registry.COMMANDS if f"`dance {name}`" not in text] == []


def test_every_flag_and_key_is_in_the_reference(hooks: object) -> None:
    commands, settings = hooks.commands(), hooks.settings()  # type: ignore[attr-defined]
    for name in registry.COMMANDS:
        command = loader.load(name)
        section = commands.partition(f"## dance {name}\n")[2].partition("\n## dance ")[0]
        assert section, name
        for parameter in command.params:
            if parameter.name == "help":
                continue
            shown = (*parameter.opts, *parameter.secondary_opts)
            words = shown if parameter.param_type_name == "option" else (parameter.metavar,)
            for word in words:
                assert f"`{word}`" in section.replace("\\|", "|"), f"{name} {word}"
        for option in [] if registry.COMMANDS[name].settings_of else command.settings():
            assert f"# {max(option.opts, key=len).removeprefix('--')} =" in settings


@pytest.mark.parametrize(
    "record",
    [
        records.Segment,
        records.Clip,
        records.Group,
        records.SplitClip,
        records.Flow,
        records.Outcome,
        records.Prediction,
        Recipe,
    ],
    ids=lambda r: r.__name__,
)
def test_every_column_and_key_has_its_meaning(hooks: object, record: type) -> None:
    meanings = hooks.attributes(record)  # type: ignore[attr-defined]
    missing = [field.name for field in dataclasses.fields(record) if not meanings.get(field.name)]
    assert not missing


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False, env={"NO_MKDOCS_2_WARNING": "1", "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == ""
    design = (tmp_path / "explanation" / "architecture" / "index.html").read_text(encoding="utf-8")
    assert "<svg" in design
    assert ">dataset</text>" in design


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_file_of_ours_that_is_named_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    names = re.findall(
        r"`((?:dancecli|core|storage|video|engine|sources|dataset|model|report|reproduction|demo|cli|benchmarks|tests)/[\w/-]+\.py)`",
        text,
    )
    assert [n for n in names if not (ROOT / n).exists() and not (ROOT / "dancecli" / n).exists()] == []


def test_the_texts_under_troubleshooting_are_texts_of_ours() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "dancecli").rglob("*.py"))
    # A sentence that is written over several lines, and what is put into it.
    source = re.sub(r"\{[^{}]*\}", "{}", re.sub(r'"\s*\n\s*f?"', "", source))
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    told = [
        text
        for line in re.findall(r"^\*\*(.+?)\*\*", page, re.MULTILINE)
        for text in re.findall(r"`([^`]+)`", line)
    ]
    parts = [part.strip() for text in told for part in re.split(r"…|'[^']*'", text)]
    assert len(told) > 10
    assert [part for part in parts if part.strip(" ,") not in source] == []


def test_the_picture_in_the_repository_is_the_one_that_is_drawn(hooks: object) -> None:
    import diagrams

    kept = ROOT / "docs" / "assets" / "images" / "flow.svg"
    assert kept.read_text(encoding="utf-8") == diagrams.flow() + "\n"


def test_the_levels_of_the_diagram_follow_the_rules(hooks: object) -> None:
    import diagrams

    rules = {"a": (), "b": ("a",), "c.x": ("a", "c.y"), "c.y": ("b",), "d": ("a",)}
    levels = diagrams.levels_of(diagrams.collapsed(rules))
    assert levels == [["a"], ["b", "d"], ["c"]]

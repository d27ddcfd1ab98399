"""Pages that are written from the code as it is, so that they cannot lag behind it.

MkDocs calls `on_files` when it builds. Each function here gives one page as Markdown.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "docs" / "_tools")]

from diagrams import layers  # noqa: E402
from helpers.layers import MAY_IMPORT  # noqa: E402

from dancecli.cli import loader, registry  # noqa: E402
from dancecli.cli.loader import default_settings  # noqa: E402
from dancecli.core import records  # noqa: E402
from dancecli.core.recipe import Recipe, read_recipe, recipe_names  # noqa: E402
from dancecli.model.networks.zoo import read_zoo  # noqa: E402

# The tables that commands write, and where.
TABLES = {
    "Segment": "manifests/segments.parquet",
    "Clip": "manifests/clips.parquet",
    "Group": "manifests/groups.parquet",
    "SplitClip": "manifests/splits/SPLIT.parquet",
    "Flow": "manifests/flow.parquet",
    "ClipPose": "manifests/pose.parquet",
    "Trajectories": "manifests/trajectories.parquet",
    "Outcome": "ledger.db, table attempts",
    "Prediction": "runs/RUN/predictions.parquet",
}


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages."""
    pages = {
        "reference/commands.md": commands(),
        "reference/settings.md": settings(),
        "reference/models.md": models(),
    }
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        pages[f"notebooks/{path.stem}.md"] = notebook(path)
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in the tables of the page of files, and the drawing of the layers."""
    markdown = markdown.replace("<!-- picture: layers -->", layers(MAY_IMPORT))
    return re.sub(r"^<!-- table: (\w+) -->$", lambda m: table_of(m[1]), markdown, flags=re.MULTILINE)


def notebook(path: Path) -> str:
    """A notebook with its outputs."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text)
            continue
        parts.append(f"```python\n{text}\n```")
        for output in cell["outputs"]:
            data = {"text/plain": output["text"]} if "text" in output else output["data"]
            if "text/html" in data:
                # The theme draws tables that bring no style of their own.
                html = re.sub(r"<style.*?</style>", "", "".join(data["text/html"]), flags=re.DOTALL)
                parts.append(html.replace(' border="1" class="dataframe"', ""))
            else:
                parts.append(f"```text\n{''.join(data['text/plain']).rstrip()}\n```")
    parts.append(f"[Download this page as a notebook]({path.name})")
    return "\n\n".join(parts) + "\n"


def commands() -> str:
    """Every command with its flags, from the live help."""
    lines = ["# Commands", "", "Written from the commands themselves: what `dance COMMAND --help` says.", ""]
    for name in registry.COMMANDS:
        command = loader.load(name)
        summary, _, rest = inspect.cleandoc(command.help or "").partition("\n")
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
        words = " ".join(p.metavar or str(p.name).upper() for p in arguments)
        lines += [f"## dance {name}", "", summary, "", rest.strip(), ""]
        lines += ["```text", f"dance {name} {words + ' ' if words else ''}[FLAGS]", "```", ""]
        lines += ["| flag | meaning |", "|---|---|"]
        lines += [f"| `{p.metavar or p.name}` | {cell(p.help)} |" for p in arguments]
        lines += [f"| {flags(p)} | {cell(p.help)}{default(p)} |" for p in options]
        lines.append("")
    return "\n".join(lines)


def settings() -> str:
    """A whole `dance.toml`, and the rules."""
    return "\n".join(
        (
            "# Settings",
            "",
            "`dance.toml` in the workspace sets the default of any flag: one table per command, one key per",
            "flag without its dashes. The command line overrides the file, the file the built-in default.",
            "An unknown table or key is an error that names the nearest known one.",
            "",
            "This is the file that a new workspace begins with; take a `#` away to set a key.",
            "",
            "```toml",
            default_settings().strip(),
            "```",
            "",
        )
    )


def models() -> str:
    """The zoo, and the recipes with their keys."""
    lines = [
        "# Models and recipes",
        "",
        "## Models",
        "",
        "What `--pretrain` takes, beside the path of any MMAction2 config. Accuracies are the authors' own,",
        "on the dataset that the weights were trained on.",
        "",
        "| name | model | dataset | top-1 / top-5, % | views | M parameters | GFLOPs a view |",
        "|---|---|---|---|---|---|---|",
    ]
    for entry in read_zoo().values():
        accuracy = f"{entry.top1:g} / {entry.top5:g}" if entry.top1 else ""
        cells = (
            entry.title,
            entry.dataset,
            accuracy,
            entry.views,
            f"{entry.params_m:g}",
            f"{entry.gflops:g}",
        )
        lines.append(f"| `{entry.name}` | {' | '.join(cells)} |")
    lines += ["", "## Recipes", "", "What `--recipe` takes, beside the path of a TOML file.", ""]
    lines += [f"- `{name}`: {read_recipe(name).description}" for name in recipe_names()]
    lines += ["", "### Keys", "", "| key | type | default | meaning |", "|---|---|---|---|"]
    meanings, hints = attributes(Recipe), get_type_hints(Recipe)
    for field in dataclasses.fields(Recipe):
        shown = "" if field.default is None else f"`{field.default!r}`"
        lines.append(
            f"| `{field.name}` | {cell(kind(hints[field.name]))} | {shown} | {meanings.get(field.name, '')} |"
        )
    return "\n".join(lines) + "\n"


def table_of(name: str) -> str:
    """One table of a manifest: its columns, from the record's class."""
    record = getattr(records, name)
    meanings, hints = attributes(record), get_type_hints(record)
    lines = [f"`{TABLES[name]}`: {(inspect.getdoc(record) or '').splitlines()[0]}", ""]
    lines += ["| column | type | meaning |", "|---|---|---|"]
    for field in dataclasses.fields(record):
        lines.append(
            f"| `{field.name}` | {cell(kind(hints[field.name]))} | {cell(meanings.get(field.name, ''))} |"
        )
    return "\n".join(lines)


def attributes(record: type) -> dict[str, str]:
    """Read the `Attributes:` of a class's docstring; several names may share a line."""
    _, _, text = (inspect.getdoc(record) or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    for match in re.finditer(r"^    (\w[\w, ]*): (.*(?:\n {8}.*)*)", text, re.MULTILINE):
        for name in match[1].split(","):
            found[name.strip()] = re.sub(r"\s+", " ", match[2])
    return found


def kind(hint: Any) -> str:
    """Write a type as a reader says it."""
    return (
        getattr(hint, "__name__", "")
        if isinstance(hint, type)
        else str(hint).replace("dancecli.core.records.", "")
    )


def flags(option: Any) -> str:
    """All spellings of a flag, with what it takes."""
    names = ", ".join(f"`{word}`" for word in (*option.opts, *option.secondary_opts))
    takes = option.metavar or ("" if option.is_flag else option.display_type(None).upper())
    takes = {"<INT RANGE>": "N", "<FLOAT RANGE>": "X", "<PATH>": "FILE"}.get(takes, takes.strip("<>"))
    return f"{names} {takes.replace('|', '&#124;')}".strip()


def default(option: Any) -> str:
    """The default, where it says something."""
    if option.default in (None, False, True) or "[default" in (option.help or ""):
        return ""
    return f" Default: `{option.default}`."


def cell(text: str | None) -> str:
    """Make a text fit a table's cell; what stands in backquotes needs no escape but for the bar."""
    parts = re.sub(r"\s+", " ", text or "").replace("|", "&#124;").split("`")
    plain = [part.replace("<", "&lt;").replace("[default", "\\[default") for part in parts[::2]]
    parts[::2] = plain
    parts[1::2] = [part.replace("&#124;", "\\|") for part in parts[1::2]]
    return "`".join(parts)


def walk() -> Iterator[tuple[str, Any]]:
    """Every command with each of its parameters, for the test that all are documented."""
    for name in registry.COMMANDS:
        for parameter in loader.load(name).params:
            yield name, parameter

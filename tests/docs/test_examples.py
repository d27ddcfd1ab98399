"""Every example in the docs is used: files are read by our own readers, programs are run, shell is parsed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from helpers.builders import fill, make_clip
from helpers.fake_run import make_run

from dancecli.cli import loader, registry
from dancecli.core.labels import LabelMap, LabelSet
from dancecli.core.recipe import Recipe, read_recipe
from dancecli.dataset.ingest.folder_list import read_list
from dancecli.model.networks.hub.zero_shot import read_prompts
from dancecli.model.tuning.search_space import read_space
from dancecli.report.results.attributes import read_attributes
from dancecli.report.results.slices import read_hierarchy
from dancecli.sources.kinetics import read_lists
from dancecli.storage.workspace import Workspace

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LABELS = LabelSet(("baking cookies", "frying eggs"))
VIDEOS = ("0aX9bcDEfgh", "1bY8cdEFghi")
FAMILIES = ("salsa dancing", "tango dancing", "breakdancing")


@dataclass(frozen=True)
class Example:
    """A fenced block: its language, the title that says how it is used, and what is in it."""

    page: str
    language: str
    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.title or self.language}"


def examples() -> Iterator[Example]:
    for page in PAGES:
        for language, title, text in FENCE.findall(page.read_text(encoding="utf-8")):
            yield Example(str(page.relative_to(ROOT)), language, title, text)


ALL = list(examples())


def read_settings(path: Path) -> object:
    """Read a `dance.toml` as every command does."""
    return [loader.load(name).defaults(Workspace(path.parent)) for name in registry.COMMANDS]


def read_annotations(path: Path) -> None:
    """Read a list, in which no row may be refused."""
    for refused in read_lists([path], LABELS).refused:
        raise AssertionError(refused)


def read_files(path: Path) -> None:
    """Read the list of a folder, in which nothing may be unclear."""
    listed = read_list(path)
    assert listed is not None
    for note in listed.notes:
        raise AssertionError(note)


def read_attribute_table(path: Path) -> None:
    """Read a table of attributes, every row of which names a video of the workspace."""
    workspace = Workspace(path.parent)
    fill(workspace, [make_clip(3 * i, video_id=name) for i, name in enumerate(VIDEOS)], ["tap dancing"])
    (note,) = read_attributes(workspace, [path]).notes
    assert note == f"{path.name}: camera, costume of 2 rows", note


# How an example of a title is read; each raises what a user would be told.
READERS: dict[str, Callable[[Path], object]] = {
    "labels.txt": lambda path: LabelSet.read(path) == LABELS or pytest.fail("other labels"),
    "cooking.txt": LabelSet.read,
    "annotations.csv": read_annotations,
    "annotations.json": read_annotations,
    "files.csv": read_files,
    "label-map.csv": lambda path: LabelMap.read(path, LABELS),
    "recipe.toml": lambda path: read_recipe(str(path)),
    "space.toml": lambda path: read_space(str(path), Recipe()),
    "dance.toml": read_settings,
    "prompts.toml": lambda path: read_prompts(path, ("moon walking",)),
    "attributes.csv": read_attribute_table,
    "families.csv": lambda path: read_hierarchy(path, FAMILIES),
}


@pytest.mark.parametrize("example", [e for e in ALL if e.title and e.language != "python"], ids=str)
def test_a_file_is_read_by_what_reads_it(example: Example, tmp_path: Path) -> None:
    path = tmp_path / example.title
    path.write_text(example.text, encoding="utf-8")
    READERS[example.title](path)
    # A line that does not belong there is refused, so that the readers above do look.
    path.write_text(example.text.replace("=", "!").replace('"', "").replace("\n", "\nbaking cookies\n", 3))
    with pytest.raises(Exception, match=re.escape(example.title)):
        READERS[example.title](path)


def test_whatever_is_no_shell_and_no_sketch_has_a_title() -> None:
    untitled = [str(e) for e in ALL if not e.title and e.language not in ("sh", "console", "text")]
    assert untitled == []
    assert len([e for e in ALL if e.title]) >= len(READERS)


@pytest.mark.parametrize("example", [e for e in ALL if e.language == "sh"], ids=str)
def test_shell_is_shell(example: Example) -> None:
    done = subprocess.run(["bash", "-n"], input=example.text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def worked(tmp_path: Path) -> Path:
    """A folder in which the programs of the docs find what they speak of."""
    make_run(tmp_path, ("wave", "spin", "robot"), test=30, skill=1.0)
    dataset = Workspace(tmp_path / "dataset")
    fill(dataset, [make_clip(i) for i in range(60)], ["tap dancing"])
    return tmp_path


# The programs of the Python API's page are run by test_python_api.py.
PROGRAMS = [e for e in ALL if e.language == "python" and not e.page.endswith("python-api.md")]


@pytest.mark.parametrize("example", PROGRAMS, ids=str)
def test_a_program_runs(example: Example, worked: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", example.text], cwd=worked, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = {
        "mistakes.py": r"\d+ clips of \w+ were predicted \w+",
        "steps.py": r"'train': \d+, .* [0-9a-f]{64}",
    }
    assert re.search(said[example.title], done.stdout)


def test_json_in_the_pages_of_files_is_what_is_written(worked: Path) -> None:
    """The keys that the page of files names are those of a run's record."""
    page = (ROOT / "docs" / "reference" / "files.md").read_text(encoding="utf-8")
    record = json.loads((worked / "runs" / "inception-demo-1" / "run.json").read_text())
    sentence = page[page.index("`run.json` says what was run") : page.index("`config.py` is a complete")]
    for key in (
        "model",
        "weights",
        "split",
        "views",
        "optim",
        "seed",
        "cache",
        "versions",
        "seconds",
        "results",
    ):
        assert f"`{key}`" in sentence
        assert key in record

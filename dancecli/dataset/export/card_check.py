"""Check the documents of an export against the workspace: `dance verify --card`.

The document is derived again, and what differs is named: a cell of a table, a value of the JSON, or a
line. What a publisher adds is not held against it: sections, answers in the datasheet, and further
properties of the dataset in the JSON. Nor is what is the publisher's to decide: the title, and in the header
of a card all but what was counted. A file beside the document is held against the checksum that it states.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Any

from dancecli.core.csv_files import read_text
from dancecli.core.errors import InputError
from dancecli.core.hashing import sha256_file
from dancecli.dataset.export.datasheet import OPEN
from dancecli.dataset.export.export import (
    CARD,
    CROISSANT,
    DATASHEET,
    DOCUMENTS,
    Documents,
    ExportSettings,
    Form,
    documents_of,
)
from dancecli.storage.workspace import Workspace

_COMMAND = re.compile(r"dance export --split ([\w.-]+) --format ([a-z]+)( --augmented)?")
# Headings, and the questions of a datasheet.
_TITLE = re.compile(r"#+ .*|\*\*.*\*\*")
# Keys of a card's header that state what was counted; a publisher sets the license, title and tags.
_COUNTED = ("size_categories", "configs")
_CELLS = re.compile(r"(?<!\\)\|")
ABSENT = "(nothing)"
# A file in the document's folder or below it: no address, and no path that leads elsewhere.
_LOCAL = re.compile(r"(?!.*\.\.)[^/\\:\0][^\\:\0]*")
# Digits of a checksum.
_SHOWN = 12


@dataclass(frozen=True)
class Difference:
    """A fact that the document and the workspace, or a file beside the document, do not agree on.

    Attributes:
        fact: its name, such as `Clips by class: zumba: train`.
        says: what the document says.
        gives: what the workspace gives, or the file has.
        of_file: whether it is of a file beside the document, whose name is the fact.
    """

    fact: str
    says: str
    gives: str
    of_file: bool = False

    @property
    def text(self) -> str:
        """The difference in words."""
        other = f"the workspace gives {self.gives}"
        if self.of_file:
            other = "the file is missing" if self.gives == ABSENT else f"the file has {self.gives}"
        return f"{self.fact}: the card says {self.says}, {other}"


@dataclass(frozen=True)
class CardResult:
    """What a check found.

    Attributes:
        file: the document.
        command: the command line that makes it.
        num_facts: facts that were derived again.
        differences: those that are not as the document says.
    """

    file: Path
    command: str
    num_facts: int
    differences: tuple[Difference, ...]


def check_card(workspace: Workspace, path: Path) -> CardResult:
    """Derive every fact of a document of an export again, and hash the files whose checksum it states.

    Raises:
        InputError: the file is no such document.
        WorkspaceError: there is no split of the name that it gives.
    """
    text = read_text(path, "card")
    made = _COMMAND.search(text)
    if not made or made[2] not in set(Form):
        raise InputError.at(
            path, None, "does not say which dance export made it", f"give an export's {CARD} or {CROISSANT}"
        )
    documents = documents_of(workspace, Form(made[2]), made[1], augmented=bool(made[3]))
    says, gives = _facts(documents, path, text)
    files = dict(_stated_checksums(path, text))
    found = (*differences(says, gives), *_changed_files(path.parent, files))
    return CardResult(path, made[0], len(gives) + len(files), found)


def _stated_checksums(path: Path, text: str) -> Iterator[tuple[str, str]]:
    """Yield the files beside the metadata whose checksum it states, with that; none of other documents."""
    listed = _parsed(path, text).get("distribution") if text.lstrip().startswith("{") else None
    for item in listed if isinstance(listed, list) else ():
        if not isinstance(item, Mapping) or item.get("@type") != "cr:FileObject":
            continue
        place, digest = item.get("contentUrl"), item.get("sha256")
        if isinstance(place, str) and isinstance(digest, str) and _LOCAL.fullmatch(place):
            yield place, digest


def _changed_files(folder: Path, stated: Mapping[str, str]) -> Iterator[Difference]:
    for name, digest in stated.items():
        path = folder / name
        now = sha256_file(path) if path.is_file() else None
        if now != digest.lower():
            gives = f"sha256 {now[:_SHOWN]}..." if now else ABSENT
            yield Difference(name, f"sha256 {digest[:_SHOWN]}...", gives, of_file=True)


def outdated_documents(workspace: Workspace, settings: ExportSettings, folder: Path) -> tuple[str, ...]:
    """Name the documents of an export that state what the workspace no longer gives.

    They are not written again by themselves, since a publisher may have added to them.
    """
    split = workspace.find_split(settings.split)
    documents = documents_of(workspace, settings.form, split, augmented=settings.augmented)
    found = []
    for path in (folder / name for name in DOCUMENTS):
        if path.exists():
            says, gives = _facts(documents, path, read_text(path, "card"))
            found += [path.name] if any(differences(says, gives)) else []
    return tuple(found)


def _facts(documents: Documents, path: Path, text: str) -> tuple[dict[str, str], dict[str, str]]:
    """The facts of a document, by name: as it says, and as they are."""
    if text.lstrip().startswith("{"):
        like = json.loads(documents.text(CROISSANT))
        return facts_in_json(_parsed(path, text), like), facts_in_json(like, like)
    is_sheet = path.name == DATASHEET or text.lstrip().startswith("# Datasheet")
    like = documents.text(DATASHEET if is_sheet else CARD)
    return facts_in_markdown(text, like), facts_in_markdown(like, like)


def differences(says: Mapping[str, str], gives: Mapping[str, str]) -> Iterator[Difference]:
    """Compare the facts of a document with those that the workspace gives, both by name."""
    unknown = [name for name in says if name not in gives]
    for name, value in gives.items():
        if name in says:
            if says[name] != value:
                yield Difference(name, says[name], value)
        else:
            # A line of text has no name but itself.
            near = get_close_matches(name, unknown, 1) if not value else []
            yield Difference(name, near[0] if near else ABSENT, value or name)
    for name in unknown:
        if says[name]:
            yield Difference(name, says[name], ABSENT)


def facts_in_json(document: Mapping[str, Any], like: Mapping[str, Any]) -> dict[str, str]:
    """Name every value of the metadata by its path.

    Args:
        document: the metadata.
        like: metadata of the same kind; properties of the dataset that it has not are left out.
    """
    return dict(_leaves("", {name: value for name, value in document.items() if name in like}))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(f"{path}: {key}" if path else str(key), inner)
    elif isinstance(value, list) and value:
        for i, inner in enumerate(value):
            name = inner.get("@id", i) if isinstance(inner, Mapping) else i
            yield from _leaves(f"{path}: {name}", inner)
    else:
        yield path, json.dumps(value, ensure_ascii=False)


def facts_in_markdown(text: str, like: str) -> dict[str, str]:
    """Name every cell of a table by its title, row and column; other lines by themselves, without value.

    Args:
        text: the document.
        like: a document of the same kind; answers and tables that it has not are left out.
    """
    found: dict[str, str] = {}
    titles = {line.lstrip("# ") for line in like.splitlines() if line.startswith("###")}
    title, columns = "", list[str]()
    for line in _without_answers(_without_decisions(text), like):
        if not line.startswith("|"):
            columns = []
            title = line.strip("#* ") if _TITLE.fullmatch(line) else title
            if line:
                found[f"{title}: {line}"] = ""
            continue
        if title not in titles:
            continue
        cells = [cell.strip() for cell in _CELLS.split(line)[1:-1]]
        if not columns:
            columns = cells
            found[f"{title}: columns"] = ", ".join(cells)
        elif set(line) - set("|-: "):
            for column, cell in zip(columns[1:], cells[1:], strict=False):
                found[f"{title}: {cells[0]}: {column}"] = cell
    return found


def _without_decisions(text: str) -> Iterator[str]:
    """Yield the lines of a document but for its title, and of its header only what was counted."""
    in_header, counted = False, True
    for i, line in enumerate(text.strip().splitlines()):
        if line.strip() == "---" and (in_header or i == 0):
            in_header = not in_header
            continue
        if in_header and line[:1].isalpha():
            counted = line.partition(":")[0] in _COUNTED
        if (counted or not in_header) and not line.startswith("# "):
            yield line.strip()


def _without_answers(lines: Iterable[str], like: str) -> Iterator[str]:
    """Yield the lines but for those that stand where `like` leaves an answer to the publisher.

    An answer reaches to the next question or section of `like`, so that it may be any Markdown.
    """
    own = [line for line in like.splitlines() if line]
    places = {line for line in own if line.startswith(("**", "## "))}
    left = {line for line, following in pairwise(own) if following == OPEN}
    answering = False
    for line in lines:
        answering = line in left if line in places else answering
        if line in places or not answering:
            yield line


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError.at(path, None, f"is not valid JSON: {error}") from None
    return found

"""Corrections that people made elsewhere: a CSV, or an export of Label Studio or CVAT."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from dancecli.core.csv_files import parse_csv, read_text
from dancecli.core.errors import InputError
from dancecli.core.labels import LabelSet
from dancecli.core.records import Clip
from dancecli.dataset.clip_lookup import KEY_COLUMNS, ClipLookup, NamedFile
from dancecli.sources.list_format import fold_label, spellings_of
from dancecli.storage.corrections import Correction, Field, current

# Fields that a foreign list may set; cutting needs the app, which shows what it does.
_FIELDS = (Field.LABEL, Field.EXCLUDE, Field.SECOND_LABEL, Field.CONFIRMED, Field.GROUP, Field.NOTE)
# Label Studio puts this before the name of an uploaded file.
_UPLOADED = re.compile(r"^(.*/)?[0-9a-f]{8}-")
_YES = frozenset({"yes", "true", "1", "x"})
_NO = frozenset({"", "no", "false", "0"})
_UNKNOWN = "no clip of this workspace has this name"
_LABELS_SHOWN = 10


@dataclass(frozen=True)
class Change:
    """One value of a foreign list.

    Attributes:
        where: where it stands in the file, such as `line 4` or `task 17`.
        name: what the list calls the clip.
        field: what is corrected, a value of `Field` unless the list is wrong.
        new: the value.
        who, when_utc, why: who set it, when (ISO 8601) and why; empty if the list does not say.
        superseded: a later row of the list gives another value or takes it back, or this row does so.
    """

    where: str
    name: str
    field: str
    new: str
    who: str = ""
    when_utc: str = ""
    why: str = ""
    superseded: bool = False


# The values that stand or fall together: those of one line of a table, or of one choice.
Row = tuple[Change, ...]


@dataclass(frozen=True)
class LabelList:
    """The corrections that a list brings.

    Attributes:
        rows: corrections that change something.
        unchanged: values that are in force already.
        superseded: values that are not in force in their own list: changed or taken back there.
        refused: rows of which nothing is taken, as a value cannot be: where, name and all reasons.
    """

    rows: tuple[Correction, ...]
    unchanged: int
    superseded: int
    refused: tuple[tuple[str, str, str], ...]


def read_changes(path: Path) -> list[Row]:
    """Read a list, by row: `.json` is an export of Label Studio, `.xml` of CVAT, all else a CSV.

    Raises:
        InputError: the file cannot be read, or is none of these.
    """
    text = read_text(path, "list of corrections")
    start = text.lstrip()[:1]
    if start in ("[", "{"):
        return list(_label_studio(path, text))
    if start == "<":
        return list(_cvat(path, text))
    return list(_csv(path, text))


def match_changes(
    listed_rows: Iterable[Row],
    clips: Sequence[Clip],
    labels: LabelSet,
    before: Sequence[Correction],
    copies: Sequence[NamedFile],
) -> LabelList:
    """Find the clips of a list, and the corrections that bring them to what it says.

    Args:
        listed_rows: the list; of a row, all values are taken or none.
        clips: the workspace's original clips.
        labels: the labels that a clip may have.
        before: the corrections so far.
        copies: files that hold the same as a clip; their names count where no clip has them.
    """
    known_copies = ClipLookup(copies)
    lookup, listed = ClipLookup(clips), {clip.clip_id: clip.label for clip in clips}
    spellings = spellings_of(labels)
    now: dict[str, dict[str, str]] = {clip_id: dict(fields) for clip_id, fields in current(before).items()}
    rows, refused, unchanged, superseded = list[Correction](), [], 0, 0
    for row in listed_rows:
        changes = [change for change in row if not change.superseded]
        superseded += len(row) - len(changes)
        if not changes:
            continue
        where, name = changes[0].where, changes[0].name
        checked = [_checked(change, labels, spellings) for change in changes]
        names = (name, _UPLOADED.sub("", name))
        found = (index.find_anywhere(one) for index in (lookup, known_copies) for one in names)
        ids = next(filter(None, found), ())
        reasons = [*(reason for _, reason in checked if reason), *([] if ids else [_UNKNOWN])]
        if reasons:
            refused.append((where, name, "; ".join(dict.fromkeys(reasons))))
            continue
        for (change, (new, _)), clip_id in product(zip(changes, checked, strict=True), ids):
            correction = _correction(change, new, now.setdefault(clip_id, {}), clip_id, listed[clip_id])
            rows += [correction] if correction else []
            unchanged += correction is None
    return LabelList(tuple(rows), unchanged, superseded, tuple(refused))


def _correction(
    change: Change, new: str, mine: dict[str, str], clip_id: str, listed: str
) -> Correction | None:
    """Bring a field of a clip to a value; None if it has it already.

    Args:
        change: who says so, and why.
        new: the value.
        mine: the clip's corrections in force, which get it.
        clip_id: the clip.
        listed: its label without corrections.
    """
    is_label = change.field == Field.LABEL
    old = mine.get(change.field, listed if is_label else "")
    if old == new:
        return None
    mine[change.field] = new
    # A label that equals the listed one takes an earlier correction back.
    written = "" if is_label and new == listed else new
    return Correction(clip_id, change.field, old, written, change.who, change.when_utc, change.why)


def _checked(change: Change, labels: LabelSet, spellings: Mapping[str, str]) -> tuple[str, str]:
    """Return the value as it is stored, and why it cannot be taken; empty if it can."""
    text = " ".join(change.new.split())
    if change.field not in _FIELDS:
        given = "is given in dance app alone" if change.field in set(Field) else "is no field"
        return "", f"{change.field!r} {given}; a list may have {', '.join(_FIELDS)}"
    if not text.isprintable():
        return "", "the value holds control characters"
    if change.field in (Field.EXCLUDE, Field.CONFIRMED):
        if text.casefold() in _YES:
            return "yes", ""
        return "", "" if text.casefold() in _NO else f"{change.field} must be yes or no, not {text!r}"
    if change.field in (Field.LABEL, Field.SECOND_LABEL) and text:
        found = text if text in labels.names else spellings.get(fold_label(text), "")
        return found, "" if found else f"{text!r} is not a label of this dataset, which has {_some(labels)}"
    return text, "" if text or change.field != Field.LABEL else "the label is empty"


def _some(labels: LabelSet) -> str:
    more = len(labels.names) - _LABELS_SHOWN
    return ", ".join(labels.names[:_LABELS_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _csv(path: Path, text: str) -> Iterator[Row]:
    table = parse_csv(path, text)
    key = table.first_of(KEY_COLUMNS)
    # The columns of labels.csv: one row per value.
    tall = {"field", "new"} <= set(table.columns)
    fields = [field for field in _FIELDS if field in table.columns]
    if not key or not (tall or fields):
        known = ", ".join(_FIELDS)
        raise InputError.at(
            path, 1, "needs a column that names clips and one to correct", f"clip_id and one of: {known}"
        )
    # A history: of a value that was set and taken back, neither row counts.
    last = {(row.cells[key], row.cells["field"]): row.line for row in table.rows} if tall else {}
    first = {(row.cells[key], row.cells["field"]): row.line for row in reversed(table.rows)} if tall else {}
    for row in table.rows:
        cells, where = row.cells, f"line {row.line}"
        whose = (cells.get("who", ""), cells.get("when_utc", ""), cells.get("why", ""))
        if tall:
            value = (cells[key], cells["field"])
            takes_back = not cells["new"] and first[value] != row.line
            superseded = last[value] != row.line or takes_back
            yield (Change(where, *value, cells["new"], *whose, superseded=superseded),)
        else:
            # An empty cell of a wide table says nothing about this clip.
            given = (field for field in fields if cells[field])
            yield tuple(Change(where, cells[key], field, cells[field], *whose) for field in given)


def _label_studio(path: Path, text: str) -> Iterator[Row]:
    """Read tasks with choices: the first choice is the label, a second one the second label."""
    try:
        tasks = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError.at(path, None, "is not JSON") from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise InputError.at(path, None, "is no export of Label Studio", "export as JSON or JSON-MIN")
    for number, task in enumerate(tasks, 1):
        where = f"task {task.get('id', number)}"
        data = task["data"] if isinstance(task.get("data"), dict) else task
        name = next((str(data[key]) for key in KEY_COLUMNS if data.get(key)), "")
        for choices, who, when in _choices(task):
            pairs = zip((Field.LABEL, Field.SECOND_LABEL), choices, strict=False)
            yield tuple(Change(where, _file_name(name), field, choice, who, when) for field, choice in pairs)


def _choices(task: Mapping[str, Any]) -> Iterator[tuple[list[str], str, str]]:
    """Give the choices of a task's latest annotation that was not skipped, with who and when."""
    if "annotations" not in task:
        # JSON-MIN: the choice stands beside the data, under the name of the control.
        value = task.get("choice", task.get("label", ""))
        chosen = value.get("choices", []) if isinstance(value, dict) else [value] if value else []
        yield [str(one) for one in chosen], str(task.get("annotator", "")), str(task.get("updated_at", ""))
        return
    done = [one for one in task["annotations"] if isinstance(one, dict) and not one.get("was_cancelled")]
    if not done:
        return
    latest = max(done, key=lambda one: str(one.get("updated_at", "")))
    person = latest.get("completed_by", "")
    who = str(person.get("email", "")) if isinstance(person, dict) else str(person)
    for result in latest.get("result", []):
        chosen = result.get("value", {}).get("choices", []) if isinstance(result, dict) else []
        if chosen:
            yield [str(one) for one in chosen], who, str(latest.get("updated_at", ""))


def _cvat(path: Path, text: str) -> Iterator[Row]:
    """Read the tags of `CVAT for images`, and those of a task over one video."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError.at(path, None, "declares entities, which no export of CVAT does")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - without entities nothing can expand
    except ElementTree.ParseError as error:
        raise InputError.at(path, error.position[0], "is not XML") from None
    if root.tag != "annotations":
        raise InputError.at(path, None, "is no export of CVAT", "export as CVAT for images, or for video")
    when = root.findtext("meta/dumped") or ""
    for image in root.iter("image"):
        name = image.get("name", "")
        yield _tagged(
            f"image {image.get('id', '')}", name, [tag.get("label", "") for tag in image.iter("tag")], when
        )
    source = root.findtext("meta/task/source") or root.findtext("meta/source") or ""
    tags = list(dict.fromkeys(tag.get("label", "") for tag in root.findall("tag")))
    yield _tagged(f"task {root.findtext('meta/task/id') or ''}".strip(), source, tags, when)


def _tagged(where: str, name: str, labels: Sequence[str], when_utc: str) -> Row:
    pairs = zip((Field.LABEL, Field.SECOND_LABEL), labels, strict=False)
    return tuple(Change(where, _file_name(name), field, label, "", when_utc) for field, label in pairs)


def _file_name(address: str) -> str:
    """Give the path in an address such as `/data/upload/3/ab12-ID.mp4?d=x` or `s3://bucket/ID.mp4`."""
    return address.partition("?d=")[2] or address.partition("?")[0]

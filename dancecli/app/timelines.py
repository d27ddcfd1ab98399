"""Timelines of recordings as people edit them: what `dance predict` found, and each change since.

The changes of one recording are rows of `timelines/NAME.jsonl` in the workspace, which is only ever added to:
first the stretches as they were predicted, then what each edit replaced. Taking an edit back adds a row too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Any

from dancecli.core.errors import DanceError, InputError, WorkspaceError
from dancecli.core.records import TIER
from dancecli.core.text import shown
from dancecli.core.video_files import (
    is_video_name,
    recording_id,
    recording_stem,
    result_stems,
    timeline_name,
)
from dancecli.model.inference.timeline_files import checksum
from dancecli.sources.list_format import RowError, read_times
from dancecli.sources.timelines import Stretch, read_stretches
from dancecli.storage.files import append_durably, file_state, whole_lines
from dancecli.storage.workspace import Workspace

_SCHEMA = 1
_MOST_SPANS = 20_000
_LONGEST_LABEL = 200
# A container's length and the last frame's time differ by a little.
_BEYOND_MS = 1000


class StaleEditError(WorkspaceError):
    """Somebody else changed the timeline since it was read."""


@dataclass(frozen=True, slots=True)
class Span:
    """What is danced from one moment of a recording to another.

    Attributes:
        start_ms, end_ms: milliseconds from its start.
        label: the style, or any other word.
        probability: of the prediction; None for what a person said.
        checked: whether a person looked at it.
    """

    start_ms: int
    end_ms: int
    label: str
    probability: float | None = None
    checked: bool = False


@dataclass(frozen=True)
class Recording:
    """A recording that `dance predict` made a timeline of.

    Attributes:
        name: names it in addresses and files.
        title: its file, as the prediction names it.
        path: where it was; None if an earlier version did not say.
        num_bytes: the size of the file.
        sha256: of the file.
        seconds, fps: its length and frame rate.
        labels: of the model.
        run: whose weights; empty for a checkpoint file.
        spans: what was predicted.
        windows: start and end in seconds, likeliest label and its probability, in order.
        files: the timeline as `dance predict` wrote it, each with its checksum as it was written.
    """

    name: str
    title: str
    path: Path | None
    num_bytes: int
    sha256: str
    seconds: float
    fps: float
    labels: tuple[str, ...]
    run: str
    spans: tuple[Span, ...]
    windows: tuple[tuple[float, float, str, float], ...] = field(repr=False)
    files: tuple[tuple[Path, str], ...] = ()

    @property
    def video(self) -> Path | None:
        """Its file; None if it is gone, another one is in its place, or it is a folder of frames."""
        path = self.path
        # To hash hours of film takes minutes; a card that is filled anew has films of other sizes.
        if path is None or not is_video_name(path.name) or file_state(path)[0] != self.num_bytes:
            return None
        return path if path.is_file() else None


@dataclass(frozen=True)
class Timeline:
    """A timeline as it is now.

    Attributes:
        spans: in order, without overlaps.
        revision: rows of the file; 0 before the first edit.
        last: who made the last edit that is in force and why, to be taken back; empty if there is none.
        earlier: what its stretches were at any time, also before edits that were taken back.
    """

    spans: tuple[Span, ...]
    revision: int = 0
    last: tuple[str, str] | tuple[()] = ()
    earlier: tuple[tuple[Span, ...], ...] = ()


@dataclass(frozen=True)
class ChangedFile:
    """A timeline on disk that holds what the app's never was.

    Attributes:
        path: the file.
        changed_utc: when it was written.
        problem: why it cannot be imported; empty if it can.
    """

    path: str
    changed_utc: str
    problem: str


class Recordings:
    """The recordings of a workspace; predictions are read again when their files change."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._read: dict[Path, tuple[tuple[int, int], tuple[Recording, ...]]] = {}

    def all(self) -> dict[str, Recording]:
        """Find them, by name; of two predictions of one recording the latest counts."""
        files = []
        for path in self._workspace.predictions():
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            files.append((stat.st_mtime_ns, stat.st_size, path))
        found: dict[str, Recording] = {}
        for *state, path in sorted(files):
            known = self._read.get(path)
            if known is None or known[0] != tuple(state):
                known = self._read[path] = ((state[0], state[1]), tuple(_read_prediction(path)))
            found |= {recording.name: recording for recording in known[1]}
        return dict(sorted(found.items(), key=lambda pair: pair[1].title.casefold()))


def _read_prediction(path: Path) -> Iterator[Recording]:
    """Give the recordings of one result that have a timeline; none of one that is damaged."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        labels = tuple(str(label) for label in document["labels"])
        for row, stem in zip(document["videos"], result_stems(document["videos"]), strict=True):
            if row["error"] or len(row["windows"]) < 2:
                continue
            yield Recording(
                timeline_name(row["file"], row["sha256"]),
                row["file"],
                Path(row["path"]) if "path" in row else None,
                row.get("num_bytes", 0),
                row["sha256"],
                float(row["seconds"]),
                row["frames"] / row["seconds"],
                labels,
                document["checkpoint"]["run"] or "",
                tuple(
                    Span(round(1000 * s["start_s"]), round(1000 * s["end_s"]), s["label"], s["probability"])
                    for s in row["segments"]
                ),
                tuple(_likeliest(window, labels) for window in row["windows"]),
                tuple(
                    (path.with_name(name), mark)
                    for name, mark in document.get("timelines", {}).items()
                    if re.fullmatch(rf"{re.escape(stem)}(\.new(-[0-9]+)?)?\.(eaf|vtt|csv)", name)
                ),
            )
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ZeroDivisionError):
        return


def _likeliest(window: Mapping[str, Any], labels: Sequence[str]) -> tuple[float, float, str, float]:
    best = max(range(len(labels)), key=window["scores"].__getitem__)
    return window["start_s"], window["end_s"], labels[best], window["scores"][best]


def read_timeline(workspace: Workspace, recording: Recording) -> Timeline:
    """Read what is in force: the prediction and all edits.

    A last line that a killed program left unfinished is not there yet.

    Raises:
        InputError: the file is damaged.
    """
    path = workspace.timeline(recording.name)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Timeline(recording.spans)
    return _replay(_whole_edits(content), path) or Timeline(recording.spans)


def _whole_edits(content: bytes) -> bytes:
    """Leave out a last line that a killed program left unfinished; one that only lacks its end is whole."""
    whole = whole_lines(content)
    try:
        return content if isinstance(json.loads(content[len(whole) :]), dict) else whole
    except ValueError:
        return whole


def _replay(content: bytes, path: Path) -> Timeline | None:
    states: list[tuple[tuple[Span, ...], tuple[str, str] | tuple[()]]] = []
    earlier = []
    number = 0
    for number, line in enumerate(content.splitlines(), 1):
        try:
            row = json.loads(line)
            if row.get("undo") and len(states) > 1:
                states.pop()
                continue
            before = states[-1][0] if states else ()
            added = tuple(Span(*values) for values in row["added"])
            spans = (*before[: row["at"]], *added, *before[row["at"] + row["removed"] :])
            earlier.append(spans)
            states.append((spans, (str(row["who"]), str(row["why"])) if states else ()))
        except (ValueError, LookupError, TypeError, AttributeError):
            raise InputError.at(path, number, "is no edit of a timeline", "restore it from a copy") from None
    if not states:
        return None
    spans, last = states[-1]
    return Timeline(spans, number, last, tuple(earlier))


def edit(
    workspace: Workspace, recording: Recording, base: int, spans: Sequence[Span], who: str, why: str
) -> Timeline:
    """Replace the stretches of a timeline, durably.

    Args:
        workspace: where the file is.
        recording: whose timeline.
        base: the revision that was edited.
        spans: all stretches, as they should be.
        who: the name of the person.
        why: what was done, in words.

    Raises:
        StaleEditError: the timeline has another revision by now; nothing was changed.
        InputError: the stretches overlap, or one has no length or label, or the file is damaged.
        OSError: the disk is full or read-only; nothing was changed.
    """
    check_spans(spans, recording.seconds)
    with _open_edits(workspace, recording, base) as (now, rows):
        before = now.spans
        at = _common(before, spans)
        tail = _common(before[at:][::-1], tuple(spans[at:])[::-1])
        removed, added = len(before) - at - tail, spans[at : len(spans) - tail]
        if removed or added:
            rows.append({"at": at, "removed": removed, "added": [astuple(span) for span in added],
                         **_signed(who, why)})  # fmt: skip
    return read_timeline(workspace, recording)


def undo(workspace: Workspace, recording: Recording, base: int, who: str) -> Timeline:
    """Take back the last edit that is in force; see `edit`.

    Raises:
        WorkspaceError: there is none.
    """
    with _open_edits(workspace, recording, base) as (now, rows):
        if not now.last:
            raise WorkspaceError("there is nothing to undo")
        rows.append({"undo": True, **_signed(who, f"undo: {now.last[1]}")})
    return read_timeline(workspace, recording)


def check_spans(spans: Sequence[Span], seconds: float) -> None:
    """Refuse stretches that are no timeline.

    Raises:
        InputError: see `edit`.
    """
    if len(spans) > _MOST_SPANS:
        raise InputError(f"a timeline has at most {_MOST_SPANS:,} stretches")
    for span in spans:
        at = f"the stretch at {span.start_ms / 1000:.2f} s"
        if not 0 <= span.start_ms < span.end_ms <= 1000 * seconds + _BEYOND_MS:
            raise InputError(f"{at} is not within the recording")
        label = span.label
        if not label or len(label) > _LONGEST_LABEL or not label.isprintable() or label != label.strip():
            raise InputError(f"{at} has no label of one line, or one of more than {_LONGEST_LABEL} letters")
        if span.probability is not None and not 0 <= span.probability <= 1:
            raise InputError(f"{at} has a probability that is none")
    for one, other in pairwise(spans):
        if one.end_ms > other.start_ms:
            raise InputError(
                f"two stretches overlap at {other.start_ms / 1000:.2f} s", "a timeline has one track"
            )


@contextmanager
def _open_edits(
    workspace: Workspace, recording: Recording, base: int
) -> Iterator[tuple[Timeline, list[dict[str, Any]]]]:
    """Hold the file of a timeline; rows that the block adds to the list are written at its end."""
    path, rows = workspace.timeline(recording.name), list[dict[str, Any]]()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Another edit takes a moment.
    lock = workspace.lock(f"timeline-{recording.name}", on_wait=lambda: None)
    with lock, path.open("ab+") as file:
        file.seek(0)
        whole = _whole_edits(file.read())
        now = _replay(whole, path)
        if (now.revision if now else 0) != base:
            raise StaleEditError("somebody else changed this timeline meanwhile", "look at it again")
        yield now or Timeline(recording.spans), rows
        if not rows:
            return
        if now is None:
            source = {"schema": _SCHEMA, "video": recording.title, "sha256": recording.sha256}
            added = [astuple(span) for span in recording.spans]
            first = {"at": 0, "removed": 0, "added": added, **_signed("", f"predicted by {recording.run}")}
            rows.insert(0, source | first)
        text = "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows)
        append_durably(file, whole, text.encode())


def _signed(who: str, why: str) -> dict[str, str]:
    return {"who": who, "when_utc": datetime.now(UTC).isoformat(timespec="milliseconds"), "why": why}


def _common(one: Sequence[Span], other: Sequence[Span]) -> int:
    """Count the stretches that two lists begin with."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


def parse_spans(rows: object) -> list[Span]:
    """Read the stretches that a page sends: start, end, label, probability, checked.

    Raises:
        DanceError: they are none.
    """
    if not isinstance(rows, list):
        raise DanceError("stretches must be a list")
    found = []
    for row in rows:
        match row:
            case [int(start), int(end), str(label), None | float() | int() as probability, bool(checked)]:
                found.append(Span(start, end, label, probability, checked))
            case _:
                raise DanceError("a stretch must be start, end, label, probability and checked")
    return found


def import_spans(recording: Recording, before: Sequence[Span], text: str, path: Path) -> list[Span]:
    """Read a timeline that another program wrote; stretches that it left as they were stay what they are.

    Of an ELAN file with several tiers that named `dance` is read: the others hold remarks.

    Raises:
        InputError: the file is no timeline, it is one of another recording, it has several tiers and none
            of them is named so, or one of its rows has no label or no times.
    """
    known = {(span.start_ms, span.end_ms, span.label): span for span in before}
    file = PurePath(recording.title).name
    # A folder of frames may have a dot in its name, which ELAN files give as a suffix.
    own, found = {recording_id(name) for name in (recording_stem(file), PurePath(file).stem)}, []
    for stretch in _of_one_tier(list(read_stretches(text, path)), path):
        if stretch.video and recording_id(stretch.video) not in own:
            raise InputError(
                f"{path}: is a timeline of {stretch.video!r}, and this is {recording.title!r}",
                "import it at its own recording; a renamed one is linked again in ELAN",
            )
        try:
            start, end = read_times(stretch.start, stretch.end, stretch.units)
        except RowError as error:
            raise InputError(f"{path}: {stretch.place}: {error}", error.hint) from None
        key = (start, end, stretch.label)
        found.append(known.get(key) or Span(*key, checked=True))
    if not found:
        raise InputError.at(path, None, "has no stretches")
    return sorted(found, key=lambda span: span.start_ms)


def changed_files(recording: Recording, now: Timeline) -> list[ChangedFile]:
    """Find the files of a timeline that were changed since `dance predict` wrote them.

    A file that was imported, or holds the prediction, has nothing that the timeline never had.
    """
    found = []
    for path, mark in recording.files:
        try:
            text = path.read_bytes().decode(errors="replace")
            written = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
        except FileNotFoundError:
            continue
        if checksum(text) == mark:
            continue
        problem = ""
        try:
            spans = import_spans(recording, (), text, path)
            check_spans(spans, recording.seconds)
            if any(_words(spans) == _words(known) for known in (recording.spans, now.spans, *now.earlier)):
                continue
        except InputError as error:
            problem = error.message
        found.append(ChangedFile(shown(path), written, problem))
    return found


def _words(spans: Sequence[Span]) -> list[tuple[int, int, str]]:
    return [(span.start_ms, span.end_ms, span.label) for span in spans]


def _of_one_tier(stretches: list[Stretch], path: Path) -> list[Stretch]:
    tiers = list(dict.fromkeys(stretch.tier for stretch in stretches))
    if len(tiers) < 2:
        return stretches
    if TIER not in tiers:
        names = ", ".join(repr(tier) for tier in tiers)
        raise InputError(
            f"{path}: has the tiers {names}, and none that is named {TIER!r}",
            f"name the tier of the dances {TIER!r} in ELAN",
        )
    return [stretch for stretch in stretches if stretch.tier == TIER]


def as_segments(spans: Sequence[Span]) -> list[dict[str, Any]]:
    """Give stretches as `timeline_files` writes them."""
    return [
        {
            "start_s": span.start_ms / 1000,
            "end_s": span.end_ms / 1000,
            "label": span.label,
            "probability": span.probability,
        }
        for span in spans
    ]

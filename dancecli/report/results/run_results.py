"""What a run left behind, read and checked against the split that it says it was made on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dancecli.core.errors import InputError, WorkspaceError
from dancecli.core.records import Clip, Prediction, SplitClip, Subset
from dancecli.core.text import pluralize
from dancecli.storage import tables
from dancecli.storage.corrections import newer_corrections
from dancecli.storage.removals import missing_of, removal_note, removed_of
from dancecli.storage.runs import RunFolder, read_record
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

    from dancecli.report.statistics.metrics import Floats, Ints
# Scores are stored as float32 by some evaluators, so their sum is 1 only nearly.
SUM_TOLERANCE = 1e-3
# Where a clip came from if its video's id is YouTube's, which has eleven characters.
YOUTUBE_ID, YOUTUBE_SOURCES = 11, frozenset({"youtube", "mirror"})


@dataclass(frozen=True)
class SubsetScores:
    """The scores of one subset, ordered by clip id.

    Attributes:
        clips: n clip ids.
        groups: for each clip what it stands and falls with: its source video.
        truth: n class indices.
        scores: n x classes.
    """

    clips: tuple[str, ...]
    groups: tuple[str, ...]
    truth: Ints
    scores: Floats


@dataclass(frozen=True)
class RunResults:
    """A run, checked.

    Attributes:
        run: its `run.json`.
        labels: class names in order.
        subsets: scores of the subsets that were evaluated and are not empty, `val` before `test`.
        train_counts: clips of each class that it was trained on; of a cross-validation all clips, of
            which each model was trained on those of the other folds. All 0 if nobody knows: of an
            evaluation they are those of the run that was trained, and its split may be gone.
        shared_groups: for each of `subsets`, how many of its source videos are in the training set
            too, or in several folds; anything but 0 is a leak, and None is not known.
        files: for each of `subsets` the checksum of each clip's file, as the split knows it.
        history: the rows of `metrics.jsonl`.
        config: the text of its configuration; empty if it kept none.
        links: for each clip of `subsets` whose path is known, where its file lies from a report's folder.
        predictions: the metadata of `predictions.parquet`.
        removed: for each of `subsets` how many of its clips were removed by request since the split was
            made; no figure counts them.
        missing: for each of `subsets` how many clips its lock names that were not here at the split.
        youtube: the clips of `subsets` whose source is a video of YouTube.
        corrections: what was corrected since the split was made, in words; empty if nothing was.
    """

    run: Mapping[str, Any]
    labels: tuple[str, ...]
    subsets: Mapping[str, SubsetScores]
    train_counts: tuple[int, ...]
    shared_groups: Mapping[str, int | None]
    files: Mapping[str, tuple[str, ...]]
    history: tuple[Mapping[str, Any], ...]
    config: str
    links: Mapping[str, str]
    predictions: Mapping[str, str]
    removed: Mapping[str, int] = field(default_factory=dict)
    missing: Mapping[str, int] = field(default_factory=dict)
    youtube: frozenset[str] = frozenset()
    corrections: str = ""

    def removal_note(self, subset: str) -> str:
        """Say how much of a subset is left (`17 of 20 clips, 3 removed by request`); empty for all of it."""
        removed = self.removed.get(subset, 0)
        missing = self.missing.get(subset, 0)
        return removal_note(len(self.subsets[subset].clips), removed, missing) if removed else ""


def read_run_results(workspace: Workspace, run: str) -> RunResults:
    """Read a run's files and check that they belong together.

    Raises:
        WorkspaceError: the run, its predictions, or the split it was made on are not there, or are
            from a newer version.
        InputError: a file is damaged, or contradicts another.
    """
    folder = workspace.run(run)
    record = _read_record(workspace, run)
    path = folder / "predictions.parquet"
    if not path.exists():
        raise WorkspaceError(
            f"run {run!r} has no predictions yet (it is {record['status']!r})",
            f"resume it: dance finetune --name {run} --resume; or choose another: dance report --run NAME",
        )
    results = results_of(record, path, lambda: _read_split(workspace, record, path))
    meta = tables.read_meta(workspace.split(record["split"]["name"]))
    links, youtube = _read_links(workspace, {clip for of in results.subsets.values() for clip in of.clips})
    return replace(
        results,
        removed={name: count for name, count in removed_of(meta).items() if name in results.subsets},
        missing={name: count for name, count in missing_of(meta).items() if name in results.subsets},
        history=_read_history(folder / "metrics.jsonl"),
        config=_read_text(folder / "config.py"),
        links=links,
        youtube=youtube,
        corrections=newer_corrections(workspace, record["split"]["name"]),
    )


def results_of(
    record: Mapping[str, Any], predictions: Path, read_split: Callable[[], Sequence[SplitClip]]
) -> RunResults:
    """Read predictions and check them against the run's record and the split, without any other file.

    Args:
        record: the run's record.
        predictions: the table of its scores.
        read_split: reads the rows of the split.

    Raises:
        WorkspaceError: a table is from a newer version.
        InputError: a file is damaged, or contradicts another.
    """
    labels = tuple(record["labels"])
    table = tables.read_table(predictions, Prediction)
    meta = tables.read_meta(predictions)
    _check_meta(predictions, meta, record)
    rows = read_split()
    subsets = _subsets(predictions, table, labels, rows)
    folds = any(row.folds for row in rows)
    own = {Subset.TRAIN, Subset.VAL} if record["split"].get("val_in_train") else {Subset.TRAIN}
    trained = [row for row in rows if folds or row.subset in own]
    train_groups = _torn(rows) if folds else {row.group for row in trained}
    sums = {row.clip_id: row.sha256 for row in rows}
    return RunResults(
        run=record,
        labels=labels,
        subsets=subsets,
        train_counts=_train_counts(record, labels, Counter(row.label for row in trained)),
        shared_groups={name: _shared(record, name, train_groups, subset) for name, subset in subsets.items()},
        files={name: tuple(sums[clip] for clip in subset.clips) for name, subset in subsets.items()},
        history=(),
        config="",
        links={},
        predictions=meta,
    )


def _train_counts(
    record: Mapping[str, Any], labels: Sequence[str], own: Mapping[str, int]
) -> tuple[int, ...]:
    """Count the training clips of each class: those of its own split, unless it is trained elsewhere."""
    evaluated, unknown = record.get("evaluated"), (0,) * len(labels)
    if evaluated:
        counts = (evaluated.get("trained") or {}).get("counts") or unknown
        return tuple(int(n) for n in counts) if len(counts) == len(labels) else unknown
    if any("overlap" in part for part in record.get("members") or ()):
        return unknown
    return tuple(own.get(label, 0) for label in labels)


def _torn(rows: Sequence[SplitClip]) -> set[str]:
    """Find the groups that have clips in several folds."""
    first: dict[str, str] = {}
    return {row.group for row in rows if first.setdefault(row.group, row.folds) != row.folds}


def _shared(record: Mapping[str, Any], name: str, train_groups: set[str], subset: SubsetScores) -> int | None:
    """Count the videos of a subset that were trained on, on whatever split; None if the run does not know."""
    if evaluated := record.get("evaluated"):
        return _videos(evaluated.get("overlap"), name)
    # Of an ensemble, members may have been trained on this split, and others evaluated on it.
    parts = [_videos(part["overlap"], name) for part in record.get("members") or () if "overlap" in part]
    return most_shared([len(train_groups.intersection(subset.groups)), *parts])


def _videos(overlap: Mapping[str, Mapping[str, int]] | None, name: str) -> int | None:
    return None if overlap is None else overlap.get(name, {}).get("videos")


def most_shared(counts: Sequence[int | None]) -> int | None:
    """Return the highest of several counts of videos that were trained on; None if one is not known."""
    known = [count for count in counts if count is not None]
    return max(known) if len(known) == len(counts) else None


def leak_text(videos: int | None) -> str:
    """Say how many source videos were trained on too: `2 videos`, `none`, or `unknown`."""
    if videos is None:
        return "unknown"
    return pluralize(videos, "video") if videos else "none"


def _read_record(workspace: Workspace, run: str) -> dict[str, Any]:
    record = read_record(workspace, run)
    path = RunFolder(workspace.run(run)).record
    if record.get("name") != run:
        raise InputError.at(
            path, None, f"is the record of run {record.get('name')!r}, not of {run!r}", "make the run again"
        )
    check_record(path, record)
    return record


def check_record(path: Path, record: Mapping[str, Any]) -> None:
    """Refuse a run's record that lacks what every result needs.

    Raises:
        InputError: it has no labels, or does not name its split.
    """
    labels, split, hint = record.get("labels"), record.get("split"), "make the run again"
    if not (isinstance(labels, list) and labels and all(isinstance(name, str) for name in labels)):
        raise InputError.at(path, None, "the run record has no labels", hint)
    if not (isinstance(split, dict) and isinstance(split.get("name"), str) and split.get("hash")):
        raise InputError.at(path, None, "the run record does not name its split", hint)


def _check_meta(path: Path, meta: Mapping[str, str], record: Mapping[str, Any]) -> None:
    expected = {
        "run.name": record["name"],
        "split.hash": record["split"]["hash"],
        "test.hash": record["split"].get("test_hash"),
    }
    for key, value in expected.items():
        if value is not None and meta.get(key) != value:
            raise InputError.at(
                path,
                None,
                f"its {key} is {meta.get(key, '')[:40]!r}, that of run.json {value[:40]!r}",
                "the two are not of the same run: evaluate the run again",
            )
    if json.loads(meta.get("labels", "null")) != record["labels"]:
        raise InputError.at(path, None, "its labels are not those of run.json", "evaluate the run again")


def _read_split(workspace: Workspace, record: Mapping[str, Any], predictions: Path) -> list[SplitClip]:
    name, digest = record["split"]["name"], record["split"]["hash"]
    path = workspace.split(name)
    rows = tables.read(path, SplitClip)
    now = tables.read_meta(path).get("split.hash", "")
    if now != digest:
        raise InputError.at(
            predictions,
            None,
            f"was made on split {name!r} as it was (hash {digest[:12]}), and that is now {now[:12]}",
            "train and evaluate on the split as it is, or make the old one again",
        )
    return rows


def _subsets(
    path: Path, table: pa.Table, labels: tuple[str, ...], rows: Sequence[SplitClip]
) -> dict[str, SubsetScores]:
    """Cut the table into subsets, and hold each against the split: the same clips, the same labels."""
    import numpy as np

    lists = table.column("scores").combine_chunks()
    _check_widths(path, lists, len(labels))
    width = len(labels)
    # Not `flatten`, which imports pyarrow's functions: a twentieth of a second.
    values = lists.values.slice(lists.offsets[0].as_py(), len(lists) * width)
    scores = tables.numbers(values).reshape(-1, width)
    if not np.isfinite(scores).all() or (scores < 0).any():
        raise InputError.at(path, None, "holds scores that are no probabilities", "evaluate the run again")
    off = np.abs(scores.sum(axis=1) - 1) > SUM_TOLERANCE
    if off.any():
        raise InputError.at(
            path, int(off.argmax()) + 1, "the scores do not sum to 1", "evaluate the run again"
        )
    truth = tables.numbers(table.column("label_index").combine_chunks())
    ids, names = table.column("clip_id").to_pylist(), table.column("subset").to_pylist()
    found: dict[str, SubsetScores] = {}
    for subset in (Subset.VAL, Subset.TEST):
        want = {row.clip_id: row for row in rows if row.subset == subset}
        places = sorted((i for i, name in enumerate(names) if name == subset), key=lambda i: ids[i])
        have = [ids[i] for i in places]
        _check_clips(path, subset, have, want)
        for i in places:
            label = labels[truth[i]] if 0 <= truth[i] < width else f"class {truth[i]}"
            if label != want[ids[i]].label:
                raise InputError.at(
                    path,
                    i + 1,
                    f"{ids[i]} is {label!r} here and {want[ids[i]].label!r} in the split",
                    "evaluate the run again",
                )
        if places:
            groups = tuple(want[clip].group for clip in have)
            found[subset] = SubsetScores(tuple(have), groups, truth[places], scores[places])
    return found


def _check_widths(path: Path, lists: pa.ListArray, width: int) -> None:
    import numpy as np

    widths = np.diff(tables.numbers(lists.offsets))
    if (off := widths != width).any():
        row = int(off.argmax())
        raise InputError.at(
            path, row + 1, f"has {widths[row]} scores for {width} classes", "evaluate the run again"
        )


def _check_clips(path: Path, subset: str, have: list[str], want: Mapping[str, SplitClip]) -> None:
    if not have and subset == Subset.VAL:
        return  # evaluating on validation is optional; leaving out some of its clips is not
    odd = sorted(set(have) - set(want)) or sorted(clip for clip, n in Counter(have).items() if n > 1)
    if odd:
        why = "is not a clip of that subset, or stands twice"
        raise InputError.at(path, None, f"{subset}: {odd[0]} {why}", "evaluate the run again")
    missing = sorted(set(want) - set(have))
    if missing:
        raise InputError.at(
            path,
            None,
            f"{subset}: {len(missing)} of {len(want)} clips have no prediction, the first is {missing[0]}",
            "evaluate the run again: a subset has to be evaluated completely",
        )


def _read_history(path: Path) -> tuple[Mapping[str, Any], ...]:
    """Read the training log; a last line cut short by a stop is left out."""
    lines = _read_text(path).splitlines()
    rows: list[Mapping[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            if number == len(lines):
                break
            raise InputError.at(path, number, "is not JSON", "remove the line") from None
        if isinstance(row, dict):
            rows.append(row)
    return tuple(rows)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise InputError.at(path, None, "is not UTF-8 text", "make the run again") from None


def _read_links(workspace: Workspace, wanted: Set[str]) -> tuple[dict[str, str], frozenset[str]]:
    """Read where these clips' files lie from a report's folder, and which of them are of YouTube."""
    columns = ("clip_id", "path", "video_id", "source", "dataset")
    links, youtube = {}, []
    for clip, path, video, source, dataset in tables.read_columns(workspace.clips, Clip, columns):
        if clip not in wanted:
            continue
        if link := link_to(path):
            links[clip] = link
        if len(video) == YOUTUBE_ID and (source in YOUTUBE_SOURCES or dataset.startswith("kinetics")):
            youtube.append(clip)
    return links, frozenset(youtube)


def link_to(path: str) -> str:
    """Give a workspace path as a link from `reports/<name>/`; empty if it leads out of the workspace."""
    # A split is all that is needed, and a `PurePosixPath` of each of many thousand clips takes seconds.
    if not path or path.startswith("/") or ".." in path.split("/"):
        return ""
    return "../../" + quote(path)

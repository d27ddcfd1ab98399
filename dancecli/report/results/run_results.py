"""What a run left behind, read and checked against the split that it says it was made on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dancecli.core.errors import InputError, WorkspaceError
from dancecli.core.records import Clip, Prediction, SplitClip, Subset
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

    from dancecli.report.statistics.metrics import Floats, Ints

RUN_SCHEMA = 1
# Scores are stored as float32 by some evaluators, so their sum is 1 only nearly.
SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class PartScores:
    """The scores of one part, ordered by clip id.

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
class Evidence:
    """A run, checked.

    Attributes:
        run: its `run.json`.
        labels: class names in order.
        parts: scores of the parts that were evaluated and are not empty, `val` before `test`.
        train_counts: clips of each class that it was trained on.
        shared_groups: for each of `parts`, how many of its source videos are in the training part
            too; anything but 0 is a leak.
        files: for each of `parts` the checksum of each clip's file, as the split knows it.
        history: the rows of `metrics.jsonl`.
        config: the text of its configuration; empty if it kept none.
        links: for each clip whose path is known, where its file lies from a report's folder.
        predictions: the metadata of `predictions.parquet`.
    """

    run: Mapping[str, Any]
    labels: tuple[str, ...]
    parts: Mapping[str, PartScores]
    train_counts: tuple[int, ...]
    shared_groups: Mapping[str, int]
    files: Mapping[str, tuple[str, ...]]
    history: tuple[Mapping[str, Any], ...]
    config: str
    links: Mapping[str, str]
    predictions: Mapping[str, str]


def read_evidence(workspace: Workspace, run: str) -> Evidence:
    """Read a run's files and check that they belong together.

    Raises:
        WorkspaceError: the run, its predictions, or the split it was made on are not there, or are
            from a newer version.
        InputError: a file is damaged, or contradicts another.
    """
    folder = workspace.run(run)
    card = _read_card(workspace, run)
    labels = tuple(card["labels"])
    path = folder / "predictions.parquet"
    if not path.exists():
        raise WorkspaceError(
            f"run {run!r} has no predictions yet (it is {card['status']!r})",
            f"end it first: dance finetune --name {run} --resume; or name another: dance report --run NAME",
        )
    table = tables.read_table(path, Prediction)
    meta = tables.read_meta(path)
    _check_meta(path, meta, card)
    rows = _read_split(workspace, card, path)
    parts = _parts(path, table, labels, rows)
    trained = [row for row in rows if row.subset == Subset.TRAIN]
    train_groups, train_labels = {row.group for row in trained}, Counter(row.label for row in trained)
    sums = {row.clip_id: row.sha256 for row in rows}
    return Evidence(
        run=card,
        labels=labels,
        parts=parts,
        train_counts=tuple(train_labels[label] for label in labels),
        shared_groups={name: _shared(card, name, train_groups, part) for name, part in parts.items()},
        files={name: tuple(sums[clip] for clip in part.clips) for name, part in parts.items()},
        history=_read_history(folder / "metrics.jsonl"),
        config=_read_text(folder / "config.py"),
        links=_read_links(workspace),
        predictions=meta,
    )


def _shared(card: Mapping[str, Any], name: str, train_groups: set[str], part: PartScores) -> int:
    """Count the videos of a part that were trained on: on another split, if the run says so."""
    overlap = (card.get("evaluated") or {}).get("overlap") or {}
    known: int | None = overlap.get(name, {}).get("videos")
    return len(train_groups.intersection(part.groups)) if known is None else known


def _read_card(workspace: Workspace, run: str) -> dict[str, Any]:
    path = workspace.run(run) / "run.json"
    if not path.exists():
        known = workspace.runs()
        raise WorkspaceError(
            f"there is no run {run!r} in {workspace.root}",
            f"there are: {', '.join(known[-8:])}" if known else "make one: dance finetune",
        )
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError.at(path, None, f"is not JSON ({error})", "make the run again") from None
    if not isinstance(card, dict) or not isinstance(card.get("schema"), int):
        raise InputError.at(path, None, "is not the record of a run", "make the run again")
    if card["schema"] > RUN_SCHEMA:
        raise WorkspaceError(
            f"{path}: written by a newer dance (schema {card['schema']}, this one reads {RUN_SCHEMA})",
            "upgrade: pip install -U dancecli",
        )
    labels, split = card.get("labels"), card.get("split")
    if card.get("name") != run:
        raise InputError.at(path, None, f"is the record of run {card.get('name')!r}, not of {run!r}")
    if not (isinstance(labels, list) and labels and all(isinstance(name, str) for name in labels)):
        raise InputError.at(path, None, "lists no labels", "make the run again")
    if not (isinstance(split, dict) and isinstance(split.get("name"), str) and split.get("hash")):
        raise InputError.at(path, None, "does not say which split it was made on", "make the run again")
    return {"status": "unknown", **card}


def _check_meta(path: Path, meta: Mapping[str, str], card: Mapping[str, Any]) -> None:
    expected = {
        "run.name": card["name"],
        "split.hash": card["split"]["hash"],
        "test.hash": card["split"].get("test_hash"),
    }
    for key, value in expected.items():
        if value is not None and meta.get(key) != value:
            raise InputError.at(
                path,
                None,
                f"its {key} is {meta.get(key, '')[:40]!r}, that of run.json {value[:40]!r}",
                "the two are not of the same run: evaluate the run again",
            )
    if json.loads(meta.get("labels", "null")) != card["labels"]:
        raise InputError.at(path, None, "its labels are not those of run.json", "evaluate the run again")


def _read_split(workspace: Workspace, card: Mapping[str, Any], predictions: Path) -> list[SplitClip]:
    name, digest = card["split"]["name"], card["split"]["hash"]
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


def _parts(
    path: Path, table: pa.Table, labels: tuple[str, ...], rows: list[SplitClip]
) -> dict[str, PartScores]:
    """Cut the table into parts, and hold each against the split: the same clips, the same labels."""
    import numpy as np

    _check_widths(path, table, len(labels))
    width = len(labels)
    scores = table.column("scores").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    scores = scores.reshape(-1, width)
    if not np.isfinite(scores).all() or (scores < 0).any():
        raise InputError.at(path, None, "holds scores that are no probabilities", "evaluate the run again")
    off = np.abs(scores.sum(axis=1) - 1) > SUM_TOLERANCE
    if off.any():
        raise InputError.at(
            path, int(off.argmax()) + 1, "the scores do not sum to 1", "evaluate the run again"
        )
    truth = table.column("label_index").to_numpy()
    ids, names = table.column("clip_id").to_pylist(), table.column("subset").to_pylist()
    found: dict[str, PartScores] = {}
    for part in (Subset.VAL, Subset.TEST):
        want = {row.clip_id: row for row in rows if row.subset == part}
        places = sorted((i for i, name in enumerate(names) if name == part), key=lambda i: ids[i])
        have = [ids[i] for i in places]
        _check_clips(path, part, have, want)
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
            found[part] = PartScores(tuple(have), groups, truth[places], scores[places])
    return found


def _check_widths(path: Path, table: pa.Table, width: int) -> None:
    import pyarrow.compute as pc

    for row, found in enumerate(pc.list_value_length(table.column("scores")).to_pylist(), start=1):
        if found != width:
            raise InputError.at(
                path, row, f"has {found} scores for {width} classes", "evaluate the run again"
            )


def _check_clips(path: Path, part: str, have: list[str], want: Mapping[str, SplitClip]) -> None:
    if not have and part == Subset.VAL:
        return  # evaluating on validation is optional; leaving out some of its clips is not
    odd = sorted(set(have) - set(want)) or sorted(clip for clip, n in Counter(have).items() if n > 1)
    if odd:
        why = "is not a clip of that part, or stands twice"
        raise InputError.at(path, None, f"{part}: {odd[0]} {why}", "evaluate the run again")
    missing = sorted(set(want) - set(have))
    if missing:
        raise InputError.at(
            path,
            None,
            f"{part}: {len(missing)} of {len(want)} clips have no prediction, the first is {missing[0]}",
            "evaluate the run again: a part is judged whole or not at all",
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


def _read_links(workspace: Workspace) -> dict[str, str]:
    table = tables.read_table(workspace.clips, Clip)
    ids, paths = (table.column(name).to_pylist() for name in ("clip_id", "path"))
    return {clip: link for clip, path in zip(ids, paths, strict=True) if (link := link_to(path))}


def link_to(path: str) -> str:
    """Give a workspace path as a link from `reports/<name>/`; empty if it leads out of the workspace."""
    # A split is all that is needed, and a `PurePosixPath` of each of many thousand clips takes seconds.
    if not path or path.startswith("/") or ".." in path.split("/"):
        return ""
    return "../../" + quote(path)

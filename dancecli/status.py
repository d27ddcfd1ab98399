"""What a workspace holds, what is missing in it, and the command that goes on from there."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dancecli.core.errors import InputError
from dancecli.core.records import Clip, OutcomeClass, Segment, SplitClip
from dancecli.storage import ledger, tables
from dancecli.storage.workspace import Workspace

# Of these the same fetch can still have a clip; the others are gone for good.
_TO_BE_HAD = (OutcomeClass.SESSION, OutcomeClass.TRANSIENT)


@dataclass(frozen=True)
class Stage:
    """One stage of the chain, as it stands.

    Attributes:
        what: `segments`, `clips`, `splits`, `runs`, `reports` or `studies`.
        found: what is there, in words.
    """

    what: str
    found: str


@dataclass(frozen=True)
class Advice:
    """A command that makes sense now, and why."""

    command: str
    why: str


@dataclass(frozen=True)
class Status:
    """A workspace at a glance; the first advice is the next sensible step."""

    stages: tuple[Stage, ...]
    advice: tuple[Advice, ...]


def status(workspace: Workspace) -> Status:
    """Look at what is in a workspace; files of media are not opened.

    Raises:
        InputError: a manifest or a run's record is broken.
        WorkspaceError: one is from a newer version.
    """
    asked = _column(workspace, Segment, "label")
    stages: list[Stage] = []
    advice: list[Advice] = []
    if asked is not None:
        stages.append(Stage("segments", f"{len(asked):,} asked for, in {_count(len(set(asked)), 'class')}"))
    clips = _clips(workspace)
    if clips is not None:
        originals, copies, num_bytes = clips
        size = f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.0f} MB"
        there = f"{len(originals):,} ({size})"
        stages.append(Stage("clips", there + (f", and {copies:,} augmented copies" if copies else "")))
    advice += _fetch_advice(workspace, asked)
    if clips is None or not clips[0]:
        return Status(tuple(stages), (*advice, *([] if asked else _BEGINNING)))
    for part in (_splits(workspace, clips[0]), _runs(workspace), _studies(workspace)):
        stages += part[0]
        advice += part[1]
    return Status(tuple(stages), tuple(advice))


_BEGINNING = (
    Advice("dance demo --workspace demo", "see the whole chain, offline, in a few minutes"),
    Advice("dance plan", "what a fetch would cost in hours and gigabytes"),
    Advice("dance fetch", "lists -> verified clips"),
    Advice("dance import DIR", "take in clips that are on disk already"),
)


def _fetch_advice(workspace: Workspace, asked: list[Any] | None) -> Iterator[Advice]:
    if not asked:
        return
    tried = ledger.latest(workspace.root)
    open_ones = sum(found.outcome in _TO_BE_HAD for found in tried.values())
    untried = len(asked) - len(tried)
    if tried and untried > 0:
        yield Advice("dance fetch", f"{untried:,} segments were not tried yet")
    elif open_ones:
        yield Advice("dance fetch --retry transient", f"{open_ones:,} clips may still be had")


def _clips(workspace: Workspace) -> tuple[set[str], int, int] | None:
    """Ids of the originals, the number of copies, bytes of all; None before any fetch."""
    if not workspace.clips.exists():
        return None
    table = tables.read_table(workspace.clips, Clip)
    ids, parents = table.column("clip_id").to_pylist(), table.column("parent_id").to_pylist()
    originals = {clip_id for clip_id, parent in zip(ids, parents, strict=True) if not parent}
    return originals, len(ids) - len(originals), sum(table.column("num_bytes").to_pylist())


def _splits(workspace: Workspace, clips: set[str]) -> tuple[list[Stage], list[Advice]]:
    names = workspace.splits()
    if not names:
        return [], [Advice("dance split", "divide the clips by source video; --subset 525 takes a part")]
    path = workspace.split(names[-1])
    counts = json.loads(tables.read_meta(path).get("split.counts", "{}"))
    sizes = "/".join(f"{n:,}" for n in counts.values())
    others = f", after {', '.join(names[:-1])}" if names[:-1] else ""
    gone = sum(i not in clips for i in tables.read_table(path, SplitClip).column("clip_id").to_pylist())
    advice = (
        [Advice(f"dance annotate --split {names[-1]}", f"{gone:,} of its clips are gone")] if gone else []
    )
    return [Stage("splits", f"{names[-1]} ({sizes} in {'/'.join(counts)}){others}")], advice


def _runs(workspace: Workspace) -> tuple[list[Stage], list[Advice]]:
    names = workspace.runs()
    if not names:
        first = (
            [Advice("dance finetune", "train a model on the split made last")] if workspace.splits() else []
        )
        return [], first
    records = {name: _record(workspace, name) for name in names}
    kinds = Counter(record.get("status", "?") for record in records.values())
    stages = [Stage("runs", ", ".join(f"{n} {kind}" for kind, n in kinds.items()) + f"; last: {names[-1]}")]
    advice = [
        Advice(f"dance finetune --resume --name {name}", f"it was {record['status']} before its end")
        for name, record in records.items()
        if record.get("status") in ("interrupted", "failed") and "settings" in record
    ]
    done = [name for name, record in records.items() if record.get("status") == "done"]
    drawn = [name for name in done if (workspace.report(name) / "index.html").exists()]
    if done and done[-1] not in drawn:
        advice.append(Advice(f"dance report --run {done[-1]}", "its page is not drawn yet"))
    tests = [records[name].get("split", {}).get("test_hash") for name in done]
    if len(done) > 1 and len(set(tests)) < len(tests):
        advice.append(Advice("dance board", f"set {len(done)} runs side by side"))
    if drawn:
        stages.append(Stage("reports", f"{workspace.report(drawn[-1]) / 'index.html'}"))
    return stages, advice


def _studies(workspace: Workspace) -> tuple[list[Stage], list[Advice]]:
    names = sorted(path.stem for path in (workspace.root / "studies").glob("*.db"))
    return [Stage("studies", ", ".join(names))] if names else [], []


def _record(workspace: Workspace, name: str) -> dict[str, Any]:
    path = workspace.run(name) / "run.json"
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise InputError.at(path, None, "is not a readable record of a run", "move the folder away") from None
    return record


def _column(workspace: Workspace, record: type[Segment], name: str) -> list[Any] | None:
    if not workspace.segments.exists():
        return None
    values: list[Any] = tables.read_table(workspace.segments, record).column(name).to_pylist()
    return values


def _count(n: int, word: str) -> str:
    return f"{n} {word}" if n == 1 else f"{n} {word}es"

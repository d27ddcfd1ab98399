"""What a workspace contains, what is missing, and which command comes next."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dancecli.core.errors import InputError, WorkspaceError
from dancecli.core.labels import LabelSet
from dancecli.core.records import Clip, OutcomeClass, Segment, SplitClip
from dancecli.core.text import pluralize
from dancecli.dataset.clips import read_imports, workspace_labels
from dancecli.dataset.fetch.settings import choose
from dancecli.dataset.groups import count_not_compared
from dancecli.sources import LOCAL
from dancecli.sources.kinetics import read_lists
from dancecli.sources.layouts import Layout
from dancecli.storage import ledger, tables
from dancecli.storage.removals import still_here
from dancecli.storage.runs import DONE, FAILED, INTERRUPTED, read_records
from dancecli.storage.workspace import Workspace

# Clips with these outcomes may still be retrieved; the others are unavailable.
_RETRIEVABLE = (OutcomeClass.SESSION, OutcomeClass.TRANSIENT)
# What clips of an import name as their origin; lists that are fetched may be called `kinetics`, too.
_IMPORTED = frozenset(Layout) - {Layout.KINETICS}


@dataclass(frozen=True)
class Stage:
    """State of one stage of the pipeline.

    Attributes:
        what: `segments`, `clips`, `splits`, `runs`, `unreadable` (a damaged run), `reports`, `studies`, or
            `board` (a leaderboard without clips).
        found: what exists, in words.
    """

    what: str
    found: str


@dataclass(frozen=True)
class Advice:
    """A recommended command, and why."""

    command: str
    why: str


@dataclass(frozen=True)
class Status:
    """State of a workspace; the first advice is the recommended next step."""

    stages: tuple[Stage, ...]
    advice: tuple[Advice, ...]


def status(workspace: Workspace) -> Status:
    """Summarize a workspace from its manifests and records; media files are not opened.

    Raises:
        InputError: a manifest is broken.
        WorkspaceError: the folder does not exist, or a manifest is of a newer version.
    """
    if not workspace.root.is_dir():
        raise WorkspaceError(f"{workspace.root}: folder not found", "check --workspace and $DANCE_WORKSPACE")
    labels = _labels(workspace)
    stages: list[Stage] = []
    if labels is not None:
        stages.append(
            Stage("segments", f"{len(labels):,} requested, in {pluralize(len(set(labels)), 'class')}")
        )
    clips = _clips(workspace)
    if clips is not None:
        originals, num_augmented, num_bytes = clips
        size = f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.0f} MB"
        augmented = f", and {pluralize(num_augmented, 'augmented clip')}" if num_augmented else ""
        stages.append(Stage("clips", f"{len(originals):,} ({size}){augmented}"))
    advice, later = _fetch_advice(workspace, clips[0] if clips is not None else ())
    if (clips is None or not clips[0]) and (hosted := _hosted(workspace)):
        return Status((hosted,), (_HOSTING,))
    if clips is None or not clips[0]:
        return Status(tuple(stages), (*advice, *later, *([] if labels else _BEGINNING)))
    advice = [*_removal_advice(workspace, clips[0]), *advice, *_dedup_advice(workspace)]
    for more_stages, more_advice in (_splits(workspace, clips[0]), _runs(workspace), _studies(workspace)):
        stages += more_stages
        advice += more_advice
    return Status(tuple(stages), (*advice, *later))


_BEGINNING = (
    Advice("dance demo --workspace demo", "run the whole pipeline offline in a few minutes"),
    Advice("dance plan", "estimate the hours and gigabytes of a fetch"),
    Advice("dance fetch", "download the videos of the annotation lists and cut their clips"),
    Advice("dance import DIR", "import clips that are already on disk"),
)


_HOSTING = Advice("dance board --add FILE", "check results of dance submit, and add them")


def _hosted(workspace: Workspace) -> Stage | None:
    """Describe a leaderboard whose host has lock files and no clips; None if there is none."""
    if workspace.segments.exists() or not (locks := workspace.split_locks()):
        return None
    count = pluralize(len(workspace.submissions()), "submission")
    return Stage("board", f"{count}, for the lock of {', '.join(locks)}")


def _fetch_advice(workspace: Workspace, there: Container[str]) -> tuple[list[Advice], list[Advice]]:
    """Advise a fetch or an import for requested clips that are missing, whichever asked for them.

    The ledger also has rows of other clips.

    Returns:
        What is recommended, and what may be done of clips that no command known here brings.
    """
    if not workspace.segments.exists():
        return [], []
    tried = ledger.latest(workspace.root)
    imports = read_imports(workspace)
    waiting: Counter[str] = Counter()
    untried, retrievable = list[str](), 0
    for clip_id, dataset in _requested(workspace):
        is_untried = clip_id not in tried
        if not is_untried and tried[clip_id].outcome not in _RETRIEVABLE:
            continue
        if dataset in imports or dataset in _IMPORTED:
            # Without its ledger an import's clips are there all the same.
            waiting[_import_command(imports.get(dataset, []))] += clip_id not in there
        elif is_untried:
            untried.append(clip_id)
        else:
            retrievable += 1
    advice = [
        Advice(command, f"{pluralize(count, 'clip')} of an import missing; it resumes")
        for command, count in waiting.items()
        if count
    ]
    options = json.loads(tables.read_meta(workspace.segments).get("fetch.options", "[]"))
    command = shlex.join(["dance", "fetch", *options])
    in_folder = ("--source", LOCAL) in _pairs(options)
    asked = _asked(workspace, options) if tried and untried and in_folder else None
    lost = [clip_id for clip_id in untried if asked is not None and clip_id not in asked]
    if tried and len(untried) > len(lost):
        # Where a folder is searched, what it lacks is not tried; it has no row in the ledger.
        what = "not in the folder, or not tried yet" if in_folder else "not tried yet"
        advice.append(Advice(command, f"{pluralize(len(untried) - len(lost), 'segment')} {what}"))
    elif retrievable:
        why = f"{pluralize(retrievable, 'clip')} may still be available"
        advice.append(Advice(f"{command} --retry transient", why))
    return advice, _lost_advice(lost)


def _asked(workspace: Workspace, options: Sequence[str]) -> set[str] | None:
    """Read what the lists of a fetch ask for; None for the official archive, or if a list cannot be read."""
    given = _pairs(options)
    lists = [Path(value) for name, value in given if name == "--annotations"]
    values = dict(given)
    try:
        labels = (
            LabelSet.read(Path(values["--labels"])) if "--labels" in values else workspace_labels(workspace)
        )
        if not lists or labels is None:
            return None
        limit = int(values["--limit"]) if "--limit" in values else None
        return {segment.clip_id for segment in choose(read_lists(lists, labels).segments, limit)}
    except InputError:
        return None


def _pairs(options: Sequence[str]) -> list[tuple[str, str]]:
    """Give the options of a fetch with their values: all that are stored have one."""
    return list(zip(options[::2], options[1::2], strict=True))


def _lost_advice(lost: Sequence[str]) -> list[Advice]:
    if not lost:
        return []
    why = (
        f"{pluralize(len(lost), 'segment')} of earlier lists not there, and the latest fetch asks for none "
        "of them, as after a name was corrected; fetch their list again, or strike them: dance remove"
    )
    return [Advice(shlex.join(["dance", "history", lost[0]]), why)]


def _removal_advice(workspace: Workspace, there: set[str]) -> Iterator[Advice]:
    """Advise to remove what somebody else's list of removals names and is still here."""
    if left := still_here(workspace, there):
        yield Advice(left.command, str(left))


def _requested(workspace: Workspace) -> Iterator[tuple[str, str]]:
    """Yield the clip id and the dataset of all segments that were requested."""
    names = ("video_id", "start_ms", "end_ms", "dataset")
    columns = tables.read_table(workspace.segments, Segment, names).select(names).columns
    rows = zip(*(column.to_pylist() for column in columns), strict=True)
    return ((f"{video_id}_{start_ms}_{end_ms}", dataset) for video_id, start_ms, end_ms, dataset in rows)


def _import_command(imports: Sequence[Sequence[str]]) -> str:
    """The command of the import that stopped; of several folders it cannot be told which one's did."""
    return shlex.join(["dance", "import", *(imports[0] if len(imports) == 1 else ["DIR"])])


def _clips(workspace: Workspace) -> tuple[set[str], int, int] | None:
    """Ids of the originals, number of augmented clips, bytes of all; None before any fetch."""
    if not workspace.clips.exists():
        return None
    table = tables.read_table(workspace.clips, Clip, ("clip_id", "parent_id", "num_bytes"))
    ids, parents = table.column("clip_id").to_pylist(), table.column("parent_id").to_pylist()
    originals = {clip_id for clip_id, parent in zip(ids, parents, strict=True) if not parent}
    return originals, len(ids) - len(originals), sum(table.column("num_bytes").to_pylist())


def _dedup_advice(workspace: Workspace) -> Iterator[Advice]:
    """Advise a dedup if clips exist that none has compared: a split cannot know their near-duplicates."""
    rows = tables.read_columns(workspace.clips, Clip, ("clip_id", "sha256", "parent_id"))
    checksum_of = {clip_id: sha256 for clip_id, sha256, parent_id in rows if not parent_id}
    count = count_not_compared(workspace, checksum_of)
    if count:
        why = "group near-duplicates, so that a split keeps them in one subset"
        new = f"{pluralize(count, 'clip')} of {len(checksum_of):,} not compared yet"
        yield Advice("dance dedup", why if count == len(checksum_of) else new)


def _splits(workspace: Workspace, clips: set[str]) -> tuple[list[Stage], list[Advice]]:
    names = workspace.splits()
    copies = [
        Stage("unreadable", f"{path}: no split can have this name: rename or move it")
        for path in workspace.split_tables()
        if path.stem not in names
    ]
    if not names:
        why = "divide the clips by source video; --subset 525 draws a subset"
        return copies, [Advice("dance split", why)]
    latest = names[-1]
    path = workspace.split(latest)
    counts = json.loads(tables.read_meta(path).get("split.counts", "{}"))
    sizes = "/".join(f"{n:,}" for n in counts.values())
    others = f"; earlier: {', '.join(names[:-1])}" if names[:-1] else ""
    members = tables.read_table(path, SplitClip, ("clip_id",)).column("clip_id").to_pylist()
    lost = sum(clip_id not in clips for clip_id in members)
    advice = (
        [Advice(f"dance annotate --split {latest}", f"{pluralize(lost, 'clip')} of it missing")]
        if lost
        else []
    )
    return [Stage("splits", f"{latest} ({sizes} in {'/'.join(counts)}){others}"), *copies], advice


def _runs(workspace: Workspace) -> tuple[list[Stage], list[Advice]]:
    names = workspace.runs()
    if not names:
        splits = workspace.splits()
        return [], [_first_training(workspace, splits[-1])] if splits else []
    records, unreadable = read_records(workspace)
    kinds = Counter(record["status"] for record in records.values())
    kinds.update(["unreadable"] * len(unreadable))
    stages = [Stage("runs", ", ".join(f"{n} {kind}" for kind, n in kinds.items()) + f"; latest: {names[-1]}")]
    stages += [Stage("unreadable", f"{error.message}: {error.hint}") for error in unreadable.values()]
    advice = [
        Advice(f"dance finetune --resume --name {name}", f"the run {_STOPPED[record['status']]}")
        for name, record in records.items()
        if record.get("status") in _STOPPED and "settings" in record
    ]
    done = [name for name, record in records.items() if record.get("status") == DONE]
    reported = [name for name in done if (workspace.report(name) / "index.html").exists()]
    if done and done[-1] not in reported:
        advice.append(Advice(f"dance report --run {done[-1]}", "the run has no report yet"))
    tests = [records[name].get("split", {}).get("test_hash") for name in done]
    if len(done) > 1 and len(set(tests)) < len(tests):
        advice.append(Advice("dance board", f"compare {len(done)} runs"))
    if reported:
        stages.append(Stage("reports", f"{workspace.report(reported[-1]) / 'index.html'}"))
    return stages, advice


def _first_training(workspace: Workspace, split: str) -> Advice:
    """Advise to train on the latest split; one of cross-validation has no train subset."""
    rows = tables.read_columns(workspace.split(split), SplitClip, ("folds",))
    if any(folds for (folds,) in rows):
        return Advice("dance finetune --folds", "train a model for each fold of the latest split")
    return Advice("dance finetune", "train a model on the latest split")


_STOPPED = {INTERRUPTED: "was interrupted", FAILED: "failed"}


def _studies(workspace: Workspace) -> tuple[list[Stage], list[Advice]]:
    names = sorted(path.stem for path in (workspace.root / "studies").glob("*.db"))
    return [Stage("studies", ", ".join(names))] if names else [], []


def _labels(workspace: Workspace) -> list[str] | None:
    """Labels of the requested segments; None before any fetch."""
    if not workspace.segments.exists():
        return None
    labels: list[str] = tables.read_table(workspace.segments, Segment, ("label",)).column("label").to_pylist()
    return labels

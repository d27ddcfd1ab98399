"""List and free what a workspace does not need: leftovers, files that nothing names, caches.

Nothing of a user's own is touched: of the files in `clips/` and its like only those count that lie where
dance would put them, under a name that it gives, and a clip that a fetch or an import would register again
is not counted.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from dancecli.core.errors import UsageError
from dancecli.core.records import Clip, ClipPose, Flow, Trajectories
from dancecli.core.video_files import clip_path
from dancecli.dataset.clips import read_segments
from dancecli.dataset.export.export import lock_of
from dancecli.dataset.upkeep.running import refuse_running
from dancecli.dataset.upkeep.traces import size_of, states_of
from dancecli.storage import ledger, tables
from dancecli.storage.features import KEY, feature_folders
from dancecli.storage.files import stale_temp
from dancecli.storage.runs import computes_features, read_records
from dancecli.storage.workspace import MEDIA_FOLDERS, PREVIEWS, Workspace, clips_lock

_DAY_S = 86_400
_OWN_NAME = re.compile(r"[\w-]+_\d+_\d+(\..+)?\.[a-z0-9]+")
# Folders beside what they make, in which commands make it.
_HALF_MADE = (".preview", ".tmp")
# Commands that keep half-made files in the workspace.
_STEPS = ("augment", "flow", "pose", "trajectories", "dedup", "verify")


class Kind(StrEnum):
    """What can be freed.

    `UNFINISHED` is what killed commands left half-made, `ORPHANS` files of clips that no table and no
    ledger names. `FEATURES` are those of frozen backbones, `THUMBNAILS` what `dance app` keeps: both are
    made again when they are needed.
    """

    UNFINISHED = "unfinished"
    ORPHANS = "orphans"
    FEATURES = "features"
    THUMBNAILS = "thumbnails"


@dataclass(frozen=True)
class CleanSettings:
    """What to free.

    Attributes:
        kinds: kinds to look at; none: all.
        older_days: only what was written at least so many days ago.
        run: of the features, only those that this run used.
        remove: free it; else it is only listed.
    """

    kinds: tuple[Kind, ...] = ()
    older_days: float = 0.0
    run: str | None = None
    remove: bool = False


@dataclass(frozen=True)
class CleanItem:
    """A file or folder that can be freed.

    Attributes:
        path: relative to the workspace.
        num_bytes: its size.
        age_days: since it was last written.
        runs: of features, the names of the runs that used them.
    """

    kind: Kind
    path: str
    num_bytes: int
    age_days: float
    runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class CleanResult:
    """What can be freed, or was.

    Attributes:
        items: the largest first, by kind.
        removed: whether they were removed.
        foreign: files in the folders of clips that dance did not write; they stay.
    """

    items: tuple[CleanItem, ...]
    removed: bool
    foreign: tuple[str, ...]

    @property
    def num_bytes(self) -> int:
        """Size of all items."""
        return sum(item.num_bytes for item in self.items)


def clean(workspace: Workspace, settings: CleanSettings) -> CleanResult:
    """List what a workspace does not need, and free it if the settings say so.

    Raises:
        UsageError: the age is negative, or a run is given for other kinds than features.
        WorkspaceError: there is no such run; or something is to be freed while a command is at work
            that may need it.
    """
    kinds = settings.kinds or ((Kind.FEATURES,) if settings.run else tuple(Kind))
    if settings.run and set(kinds) != {Kind.FEATURES}:
        raise UsageError("--run selects features", "give features alone, or omit --run")
    if settings.older_days < 0:
        raise UsageError(f"--older {settings.older_days} is below 0")
    with ExitStack() as held:
        if settings.remove:
            _hold(workspace, kinds, held)
        found, foreign = _find(workspace, kinds, settings)
        if settings.remove:
            for item in found:
                _delete(workspace.root / item.path)
    return CleanResult(tuple(found), settings.remove, tuple(foreign))


def _hold(workspace: Workspace, kinds: Sequence[Kind], held: ExitStack) -> None:
    """Keep out the commands whose files are to be freed, or refuse."""
    if {Kind.UNFINISHED, Kind.ORPHANS} & set(kinds):
        held.enter_context(clips_lock(workspace, "clean"))
        for step in _STEPS:
            held.enter_context(workspace.lock(step))
        for stage in _stages(workspace):
            held.enter_context(workspace.lock(lock_of(_place_of(stage))))
    if Kind.FEATURES in kinds:
        refuse_running(workspace)


def _find(
    workspace: Workspace, kinds: Sequence[Kind], settings: CleanSettings
) -> tuple[list[CleanItem], list[str]]:
    foreign: list[str] = []
    finders: dict[Kind, Callable[[], Iterable[tuple[Path, tuple[str, ...]]]]] = {
        Kind.UNFINISHED: lambda: ((path, ()) for path in _unfinished(workspace)),
        Kind.ORPHANS: lambda: ((path, ()) for path in _orphans(workspace, foreign)),
        Kind.FEATURES: lambda: _features(workspace, settings.run),
        Kind.THUMBNAILS: lambda: ((path, ()) for path in _made_for_app(workspace)),
    }
    now, items = time.time(), []
    for kind in Kind:
        if kind not in kinds:
            continue
        of_kind = [
            CleanItem(kind, path.relative_to(workspace.root).as_posix(), size_of(path), age, runs)
            for path, runs in finders[kind]()
            # What a command at work has removed meanwhile has no age.
            if (age := _age_days(path, now)) is not None and age >= settings.older_days
        ]
        items += sorted(of_kind, key=lambda item: (-item.num_bytes, item.path))
    return items, foreign


def _age_days(path: Path, now: float) -> float | None:
    """Return the days since a file, or the newest file of a folder, was written; None if it is gone."""
    times = [state.st_mtime for state in states_of(path)]
    return max(0.0, (now - max(times)) / _DAY_S) if times else None


def _unfinished(workspace: Workspace) -> Iterator[Path]:
    """Yield what killed commands left: half-made files, and exports that were not completed."""
    root = workspace.root
    if workspace.temp.is_dir():
        yield workspace.temp
    halves = (root / name / hidden for name in MEDIA_FOLDERS for hidden in _HALF_MADE)
    yield from (path for path in halves if path.is_dir())
    yield from _stages(workspace)
    # Weights that an engine's nodes read while they compute features.
    if not computes_features(workspace):
        yield from sorted(root.glob("cache/features/weights-*.pth"))
    for where, folders, _ in os.walk(root):
        # Those are whole folders above, or hold no such files.
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "tmp")
        yield from stale_temp(Path(where))


def _stages(workspace: Workspace) -> list[Path]:
    return sorted(path for path in workspace.root.glob("exports/.*.part") if path.is_dir())


def _place_of(stage: Path) -> Path:
    """Return the folder that an unfinished export is renamed to in the end."""
    return stage.with_name(stage.name.removeprefix(".").removesuffix(".part"))


def _orphans(workspace: Workspace, foreign: list[str]) -> Iterator[Path]:
    """Yield files of clips that nothing names; those that dance did not write go to `foreign`."""
    named = _named_paths(workspace)
    segments = read_segments(workspace).keys()
    for folder in MEDIA_FOLDERS:
        for where, folders, files in os.walk(workspace.root / folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                path = Path(where) / name
                relative = path.relative_to(workspace.root).as_posix()
                if relative in named or name.startswith(".") or name in PREVIEWS:
                    continue
                # A phone names films as dance names clips, so the place decides.
                if not _OWN_NAME.fullmatch(name) or relative != clip_path(folder, name):
                    foreign.append(relative)
                elif folder != "clips" or path.stem not in segments:
                    yield path


def _named_paths(workspace: Workspace) -> set[str]:
    stored: tuple[tuple[Path, type[Clip] | type[Flow] | type[ClipPose] | type[Trajectories]], ...]
    stored = (
        *((workspace.clips, Clip), (workspace.flows, Flow)),
        *((workspace.poses, ClipPose), (workspace.trajectories, Trajectories)),
    )
    found = {path for _, path, _ in ledger.done_files(workspace.root)}
    for table, record in stored:
        if table.exists():
            found |= {path for (path,) in tables.read_columns(table, record, ("path",))}
    return found


def _made_for_app(workspace: Workspace) -> Iterator[Path]:
    yield from workspace.root.glob("cache/thumbnails/*/*.jpg")
    yield from workspace.root.glob("cache/app/*")


def _features(workspace: Workspace, run: str | None) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Yield the stores of features with the runs that used them: all, or those of one run."""
    if run is not None and not (workspace.run(run) / "run.json").exists():
        raise UsageError(f"there is no run {run!r} in {workspace.root}", "dance board lists the runs")
    records = read_records(workspace)[0]
    for folder in feature_folders(workspace):
        runs = tuple(name for name, record in sorted(records.items()) if _used(folder, record))
        if run is None or run in runs:
            yield folder, runs


def _used(folder: Path, record: dict[str, Any]) -> bool:
    """Return whether a run used a store: it has its weights, its stage and its precision."""
    try:
        key = json.loads((folder / KEY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    cache, weights = record.get("cache") or {}, record.get("weights") or {}
    return bool(
        cache.get("used")
        and (cache.get("stage"), cache.get("dtype")) == (key.get("stage"), key.get("dtype"))
        and str(key.get("weights", "")).partition(" ")[0] == (weights.get("sha256") or "random")
    )


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)

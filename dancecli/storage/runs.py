"""The records of runs and studies, and the other files of a run's folder.

`run.json` and `study.json` are read and written here only. A record is a JSON object with a
`schema`; a record that is truncated, empty, not JSON or of a newer version is one `DanceError`
with file and hint for every command that meets it. A record that says `running` is only believed
while a process holds the lock of the run or of a trial of the study.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dancecli.core.errors import DanceError, InputError, WorkspaceError
from dancecli.core.recipe import ATTENTIVE, FULL
from dancecli.core.records import Control, SplitClip, Subset
from dancecli.storage import tables
from dancecli.storage.files import atomic_file
from dancecli.storage.workspace import Workspace

SCHEMA = 1
# They all hold the same module.
_OPENCV = (
    "opencv-contrib-python",
    "opencv-python",
    "opencv-contrib-python-headless",
    "opencv-python-headless",
)
# Names listed where one is not known.
_SHOWN = 8
RUNNING, DONE, FAILED, INTERRUPTED = "running", "done", "failed", "interrupted"


@dataclass(frozen=True)
class RunFolder:
    """The paths of one run."""

    root: Path

    @property
    def record(self) -> Path:
        """`run.json`."""
        return self.root / "run.json"

    @property
    def config(self) -> Path:
        """The config, which MMAction2's own tools accept."""
        return self.root / "config.py"

    @property
    def metrics(self) -> Path:
        """One JSON object per line: the loss of each step, the validation of each epoch."""
        return self.root / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.root / "checkpoints"

    @property
    def resume_file(self) -> Path:
        """The training state after the last complete epoch; removed when the run is done."""
        return self.checkpoints / "resume.pth"

    @property
    def best_so_far(self) -> Path:
        """The trained weights of the best epoch while the run is training."""
        return self.checkpoints / "best-so-far.pth"

    @property
    def predictions(self) -> Path:
        """The scores of every clip of val and test."""
        return self.root / "predictions.parquet"

    def controlled(self, control: Control) -> Path:
        """The scores of the test clips under a control, see `dance evaluate --control`."""
        return self.controlled_folder / f"{control}.parquet"

    @property
    def controlled_folder(self) -> Path:
        """The folder of the scores under controls."""
        return self.root / "controls"

    @property
    def score_tables(self) -> list[Path]:
        """The tables of scores that exist: the predictions, and those under controls."""
        return [
            path
            for path in (self.predictions, *sorted(self.controlled_folder.glob("*.parquet")))
            if path.exists()
        ]

    @property
    def detector(self) -> Path:
        """What tells clips of no known class, with the distances of held-out clips; it names none of them."""
        return self.root / "unknown.pth"

    @property
    def trajectory_model(self) -> Path:
        """The model of `dance train --model idt` and `--model bag`, which is no network."""
        return self.root / "trajectories.npz"

    @property
    def log(self) -> Path:
        """The log of mmengine."""
        return self.root / "log"


@dataclass(frozen=True)
class RunResult:
    """The run that a command made or found: of `finetune`, `train`, `evaluate` and their kin.

    Attributes:
        name: the run.
        record: its `run.json`.
        notes: remarks for the user, one line each.
        fresh: False if the run was complete already and nothing ran.
        members: records of the runs that it was made of, such as the streams of `train`, by name.
    """

    name: str
    record: dict[str, Any]
    notes: tuple[str, ...] = ()
    fresh: bool = True
    members: Mapping[str, dict[str, Any]] = field(default_factory=dict)


def free_run_name(workspace: Workspace, pretrain: str, split: str) -> str:
    """Return `<pretrain>-<split>-<n>` with the first free number."""
    n = 1
    # The name of a group of seeds occurs only in the names of its runs.
    while any(workspace.run(f"{pretrain}-{split}-{n}{seed}").exists() for seed in ("", "-seed0")):
        n += 1
    return f"{pretrain}-{split}-{n}"


def read_record(workspace: Workspace, name: str) -> dict[str, Any]:
    """Read the `run.json` of a run; the status of a run whose process died is `interrupted`.

    Raises:
        WorkspaceError: there is no such run, or a newer version wrote it.
        InputError: the file is damaged.
    """
    path = RunFolder(workspace.run(name)).record
    if not path.exists():
        if runs := runs_of_group(workspace, name):
            hint = f"{name!r} is a group of {', '.join(runs)}: name one of them"
            raise WorkspaceError(f"there is no run {name!r} in {workspace.root}", hint)
        raise _missing(workspace, "run", name, workspace.runs(), "dance finetune")
    record = _read(path, "run")
    if record["status"] == RUNNING and not _is_locked(workspace, f"run-{re.escape(name)}"):
        record["status"] = INTERRUPTED
    return record


def recorded(folder: RunFolder) -> dict[str, Any]:
    """Read the `run.json` of any folder as it is written; see `read_record`.

    Raises:
        WorkspaceError: a newer version wrote it.
        InputError: the file is damaged.
    """
    return _read(folder.record, "run")


def read_records(workspace: Workspace) -> tuple[dict[str, dict[str, Any]], dict[str, DanceError]]:
    """Read the records of all runs, the latest last; runs that cannot be read are returned apart.

    Returns:
        The records by name, and the errors of the unreadable runs by name.
    """
    return _read_all(workspace, workspace.run_folders(), read_record)


def runs_of_group(workspace: Workspace, group: str) -> list[str]:
    """Name the runs of a group in the order of their seeds; empty if there is none."""
    # An unreadable run is reported when the run itself is named.
    found = [
        (record.get("seed") or 0, name)
        for name, record in read_records(workspace)[0].items()
        if record.get("group") == group
    ]
    return [name for _, name in sorted(found)]


def ignores_seed(record: Mapping[str, Any]) -> bool:
    """Return whether another seed would have given the same run: its head was solved, not trained.

    An attentive probe is trained, published protocols draw clips by the seed, and so do folds.
    """
    probe = record.get("probe")
    return (
        isinstance(probe, Mapping)
        and probe.get("protocol") == FULL
        and probe.get("head") != ATTENTIVE
        and "cross_validation" not in record
    )


def write_record(folder: RunFolder, record: Mapping[str, Any]) -> None:
    """Write `run.json` atomically."""
    _write(folder.record, record)


def study_path(workspace: Workspace, name: str) -> Path:
    """Return the path of a study's `study.json`."""
    return workspace.study_folder(name) / "study.json"


def read_study(workspace: Workspace, name: str) -> dict[str, Any]:
    """Read the `study.json` of a study; the status of one whose processes died is `interrupted`.

    Raises:
        WorkspaceError: there is no such study, or a newer version wrote it.
        InputError: the file is damaged.
    """
    path = study_path(workspace, name)
    if not path.exists():
        raise _missing(workspace, "study", name, workspace.studies(), "dance tune")
    record = _read(path, "study")
    # Each process at work on a study holds a lock with a random name of its own.
    if record["status"] == RUNNING and not _is_locked(workspace, rf"study-{re.escape(name)}-[0-9a-f]{{12}}"):
        record["status"] = INTERRUPTED
    return record


def read_studies(workspace: Workspace) -> tuple[dict[str, dict[str, Any]], dict[str, DanceError]]:
    """Read the records of all studies, the latest last; unreadable ones are returned apart."""
    return _read_all(workspace, workspace.study_folders(), read_study)


def write_study(path: Path, record: Mapping[str, Any]) -> None:
    """Write `study.json` atomically."""
    _write(path, record)


def process_record() -> dict[str, Any]:
    """Return the host and the process that write a record."""
    return {"host": platform.node(), "pid": os.getpid()}


def _read(path: Path, what: str) -> dict[str, Any]:
    hint = f"restore the file from a copy, or move {path.parent} away"
    try:
        text = path.read_text(encoding="utf-8")
        record = json.loads(text)
    except UnicodeDecodeError:
        raise InputError.at(path, None, f"the {what} record is not UTF-8 text", hint) from None
    except json.JSONDecodeError as error:
        problem = f"not valid JSON ({error})" if text.strip() else "empty"
        raise InputError.at(path, None, f"the {what} record is {problem}", hint) from None
    if not isinstance(record, dict) or not isinstance(record.get("schema"), int):
        raise InputError.at(path, None, f"is not a {what} record", hint)
    if record["schema"] > SCHEMA:
        raise WorkspaceError(
            f"{path}: written by a newer dance (schema {record['schema']}, this one reads {SCHEMA})",
            "upgrade: pip install -U dancecli",
        )
    if not isinstance(record.get("status"), str):
        raise InputError.at(path, None, f"the {what} record has no status", hint)
    return record


def _read_all(
    workspace: Workspace, folders: Iterable[Path], read: Callable[[Workspace, str], dict[str, Any]]
) -> tuple[dict[str, dict[str, Any]], dict[str, DanceError]]:
    records: dict[str, dict[str, Any]] = {}
    unreadable: dict[str, DanceError] = {}
    for name in (folder.name for folder in folders):
        try:
            records[name] = read(workspace, name)
        except DanceError as error:
            unreadable[name] = error
    return records, unreadable


def _missing(workspace: Workspace, what: str, name: str, known: list[str], command: str) -> WorkspaceError:
    """Say that there is no such run or study, with what there is: near names, then the latest."""
    message = f"there is no {what} {name!r} in {workspace.root}"
    if not known:
        return WorkspaceError(message, f"make one: {command}")
    near = get_close_matches(name, known)
    # A workspace may hold hundreds.
    shown = [*near, *[other for other in known if other not in near][len(near) - _SHOWN :]]
    more = f", and {len(known) - len(shown)} more" if len(known) > len(shown) else ""
    guess = f"did you mean {near[0]!r}? " if near else ""
    return WorkspaceError(message, f"{guess}known: {', '.join(shown)}{more}")


def _write(path: Path, record: Mapping[str, Any]) -> None:
    with atomic_file(path) as file:
        json.dump(record, file, indent=2, ensure_ascii=False)
        file.write("\n")


def split_of_run(workspace: Workspace, record: Mapping[str, Any]) -> list[SplitClip] | None:
    """Read the split that a run was trained on; None if it has changed or is gone."""
    path = workspace.split(record["split"]["name"])
    if not path.exists() or tables.read_meta(path)["split.hash"] != record["split"]["hash"]:
        return None
    return tables.read(path, SplitClip)


def training_clips(workspace: Workspace, record: Mapping[str, Any]) -> list[SplitClip] | None:
    """Name the clips that a run was trained on, without augmented ones; None if its split has changed."""
    clips = split_of_run(workspace, record)
    own = (Subset.TRAIN, Subset.VAL) if record["split"].get("val_in_train") else (Subset.TRAIN,)
    # The checkpoint of a cross-validation is trained on all its clips.
    return None if clips is None else [clip for clip in clips if clip.folds or clip.subset in own]


def computes_features(workspace: Workspace) -> bool:
    """Return whether a process computes features: it holds the lock of their store."""
    return _is_locked(workspace, "features-.*")


def _is_locked(workspace: Workspace, pattern: str) -> bool:
    """Return whether a process holds a lock whose name matches the pattern."""
    import filelock

    for path in (workspace.root / ".locks").glob("*.lock"):
        if re.fullmatch(pattern, path.stem):
            lock = filelock.FileLock(path)
            try:
                lock.acquire(blocking=False)
            except filelock.Timeout:
                return True
            except OSError:  # a read-only workspace: nothing can be known
                return True
            lock.release()
    return False


def now_utc() -> str:
    """Return the current time to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions(*more: str) -> dict[str, str]:
    """Return the versions of the packages that a result depends on: those of every run, and more."""
    from importlib import metadata

    found = {}
    for name in ("dancecli", "torch", "mmaction2", "mmengine", "mmcv-lite", "scikit-learn", *more):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = ""
    # Any of its packages may be installed, even several, of which one is imported.
    for name in _OPENCV:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    ours = found.pop("dancecli")
    return {"dancecli": ours, "python": platform.python_version(), **found, "platform": platform.platform()}


def append_metrics(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add lines to `metrics.jsonl`."""
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def trim_metrics(path: Path, epochs: int) -> float:
    """Drop the lines after this many epochs, and a truncated last line: these epochs are repeated.

    Returns:
        Training time of the remaining epochs, in seconds.
    """
    if not path.exists():
        return 0.0
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            break
        if row["epoch"] <= epochs:
            kept.append(row)
    with atomic_file(path) as file:
        file.writelines(json.dumps(row) + "\n" for row in kept)
    return max((float(row.get("time_s", 0.0)) for row in kept), default=0.0)

"""The folder of a run: `run.json`, the record of its settings and results, and its other files."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dancecli.core.errors import InputError, WorkspaceError
from dancecli.storage.files import atomic_file
from dancecli.storage.workspace import Workspace

SCHEMA = 1
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

    @property
    def log(self) -> Path:
        """The log of mmengine."""
        return self.root / "log"


def free_run_name(workspace: Workspace, pretrain: str, split: str) -> str:
    """Return `<pretrain>-<split>-<n>` with the first free number."""
    n = 1
    # The name of a group of seeds occurs only in the names of its runs.
    while any(workspace.run(f"{pretrain}-{split}-{n}{seed}").exists() for seed in ("", "-seed0")):
        n += 1
    return f"{pretrain}-{split}-{n}"


def read_record(workspace: Workspace, name: str) -> dict[str, Any]:
    """Read a run's `run.json`.

    Raises:
        WorkspaceError: there is no such run.
        InputError: the file is broken.
    """
    path = RunFolder(workspace.run(name)).record
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(workspace.runs()) or "none"
        raise WorkspaceError(
            f"there is no run {name!r} in {workspace.root}", f"known runs: {known}"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise InputError.at(path, None, "is not a readable record of a run") from None
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise InputError.at(
            path, None, f"is not a record of schema {SCHEMA}", "upgrade: pip install -U dancecli"
        )
    return record


def write_record(folder: RunFolder, record: Mapping[str, Any]) -> None:
    """Write `run.json` whole, or leave the one before."""
    with atomic_file(folder.record) as file:
        json.dump(record, file, indent=2, ensure_ascii=False)
        file.write("\n")


def now_utc() -> str:
    """Return the current time to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Return the versions of the packages that a result depends on."""
    from importlib import metadata

    names = ("dancecli", "torch", "mmaction2", "mmengine", "mmcv-lite")
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = ""
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

"""What steps have in common that store one file per original clip, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from dancecli.core.errors import InputError, MediaError, WorkspaceError
from dancecli.core.records import Clip, SplitClip
from dancecli.core.video_files import sizes_in
from dancecli.dataset.cutting import DISK_FULL
from dancecli.dataset.job_log import JobLog, JobOutcome
from dancecli.engine.pool import Finished
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace


class StoredFile(Protocol):
    """The record of a clip's file: `ClipPose` and its like."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def clip_id(self) -> str:
        """Id of the clip."""

    @property
    def path(self) -> str:
        """Of the file, relative to the workspace; empty if there is none."""

    @property
    def num_bytes(self) -> int:
        """Size of the file."""

    @property
    def of_sha256(self) -> str:
        """Checksum of the clip's file."""

    @property
    def reason(self) -> str:
        """Why there is no file; empty if there is."""


Row = TypeVar("Row", bound=StoredFile)
AnyClipJob = TypeVar("AnyClipJob", bound="ClipJob")


class ClipJob(Protocol):
    """A job about one clip."""

    @property
    def clip(self) -> Clip:
        """Its record."""


@dataclass(frozen=True, slots=True)
class FileOutcome(Generic[Row]):
    """The outcome of a job.

    Attributes:
        made: the record of the file, or of the reason why the clip has none; None if it failed.
        reason: why it failed, so that it is tried again.
        disk_full: it stopped because there is no space.
    """

    made: Row | None = None
    reason: str = ""
    disk_full: bool = False


def work_on(making: Generator[int, None, Row]) -> Generator[int, None, FileOutcome[Row]]:
    """Run what makes a clip's file, in a worker; yield as it does.

    Args:
        making: yields the units done since the last yield, and returns the record.
    """
    try:
        return FileOutcome((yield from making))
    except (MediaError, InputError) as error:
        return FileOutcome(reason=error.message)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        return FileOutcome(disk_full=True)


def outcome_of(finished: Finished[AnyClipJob, FileOutcome[Row]]) -> JobOutcome[Row]:
    """Return what the log notes of a finished job."""
    clip_id, result = finished.job.clip.clip_id, finished.result
    if result is None:
        return JobOutcome(failed=((clip_id, finished.detail or finished.lost),))
    if result.made:
        return JobOutcome(made=(result.made,), empty=bool(result.made.reason))
    if result.disk_full:
        return JobOutcome(disk_full=True)
    return JobOutcome(failed=((clip_id, result.reason),))


def log_of(workspace: Workspace, record: type[Row], folder: str) -> JobLog[Row]:
    """Return the log of a step, `manifests/FOLDER.jsonl`."""
    return JobLog(
        path=workspace.root / "manifests" / f"{folder}.jsonl",
        key_of=lambda row: row.clip_id,
        to_json=asdict,
        from_json=lambda row: record(**row),
    )


def original_clips(workspace: Workspace, split: str | None, purpose: str) -> list[Clip]:
    """Return the original clips of the workspace, or of a split.

    Args:
        workspace: where they are.
        split: its name; None for all clips.
        purpose: what they are for, for the message: `find poses in`.

    Raises:
        WorkspaceError: there are no clips, or there is no such split.
    """
    clips = tables.read(workspace.clips, Clip) if workspace.clips.exists() else []
    originals = [clip for clip in clips if not clip.parent_id]
    if not originals:
        raise WorkspaceError(
            f"{workspace.root}: there are no clips to {purpose}", "run dance fetch or dance import"
        )
    if split is None:
        return originals
    ids = {clip.clip_id for clip in tables.read(workspace.split(workspace.find_split(split)), SplitClip)}
    return [clip for clip in originals if clip.clip_id in ids]


def is_current(row: StoredFile | None, clip: Clip, sizes: Mapping[str, int]) -> bool:
    """Whether a clip has a file made of its present one, or a reason for none.

    Args:
        row: its record.
        clip: the clip.
        sizes: of the files in the step's folder, by name.
    """
    if row is None or row.of_sha256 != clip.sha256:
        return False
    return bool(row.reason) or sizes.get(Path(row.path).name) == row.num_bytes


def settle(
    workspace: Workspace,
    record: type[Row],
    folder: str,
    log: JobLog[Row],
    logged: Mapping[str, Row],
    failed: Mapping[str, str],
    *,
    changed: bool,
) -> None:
    """Bring the manifest `manifests/FOLDER.parquet` and the log to what exists now.

    Args:
        workspace: where they are.
        record: the class of the rows.
        folder: of the step's files.
        log: of the step.
        logged: what was made, by clip.
        failed: the clips for which it could not be made.
        changed: whether the log was added to.
    """
    clips = {clip.clip_id: clip for clip in tables.read(workspace.clips, Clip)}
    sizes = sizes_in(workspace.root / folder)
    current = [
        row
        for key, row in sorted(logged.items())
        if key not in failed and key in clips and is_current(row, clips[key], sizes)
    ]
    table = workspace.root / "manifests" / f"{folder}.parquet"
    if not table.exists() or tables.read(table, record) != current:
        tables.write(table, record, current)
    if changed or len(current) < len(logged):
        log.rewrite(current, sorted(failed.items()))

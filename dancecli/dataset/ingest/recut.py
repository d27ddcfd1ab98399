"""Cut clips again whose start or end somebody corrected.

The clip that was corrected stays as it is, excluded; the new one is named after its new times and takes
over its label, its group and its other corrections. It is cut from the source video where that is kept,
else from the clip itself, which holds all of it if both ends moved inwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from dancecli.core.errors import WorkspaceError
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import Clip, Segment, clip_id_of
from dancecli.dataset.clips import clips_there, workspace_labels
from dancecli.dataset.corrections import BY_COMMAND
from dancecli.dataset.cutting import ClipRules
from dancecli.dataset.ingest.importer import ImportOptions, import_clips
from dancecli.dataset.ingest.worker import ImportJob
from dancecli.sources.youtube import SourceInfo
from dancecli.storage import tables
from dancecli.storage.corrections import Correction, Field, append_corrections, current, read_corrections
from dancecli.storage.removals import read_removals
from dancecli.storage.workspace import Workspace
from dancecli.video.ffmpeg import STANDARD_FORMAT

# What the new clip takes over; the rest says where the old one begins and ends, and that it is gone.
_KEPT = (Field.SECOND_LABEL, Field.CONFIRMED, Field.GROUP, Field.NOTE)


@dataclass(frozen=True)
class RecutResult:
    """What became of the clips with new times.

    Attributes:
        made: new clip by the one that it replaces; of a dry run, those that would be made.
        refused: why a clip was not cut again, by clip.
    """

    made: Mapping[str, str]
    refused: Mapping[str, str]


def waiting(changes: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return the clips that are to be cut again, by the corrections in force."""
    ends = {Field.START_MS, Field.END_MS}
    return [i for i, mine in changes.items() if mine.keys() & ends and Field.EXCLUDE not in mine]


def recut(
    workspace: Workspace, *, workers: int = 0, dry_run: bool = False, reporter: Reporter = SILENT
) -> RecutResult:
    """Cut again what has a new start or end; the same call completes one that was killed.

    Raises:
        WorkspaceError: there are no clips, another command writes clips here, or the disk is full.
        MissingDependencyError: there is no ffmpeg.
    """
    labels = workspace_labels(workspace)
    if labels is None or not workspace.clips.exists():
        raise WorkspaceError(f"{workspace.root}: there are no clips yet", "run dance fetch or dance import")
    changes = current(read_corrections(workspace))
    wanted = set(waiting(changes))
    clips = [clip for clip in tables.read(workspace.clips, Clip) if clip.clip_id in wanted]
    jobs: dict[str, ImportJob] = {}
    refused = dict.fromkeys(wanted - {clip.clip_id for clip in clips}, "there is no such clip any more")
    for clip in clips:
        planned = _plan(workspace, clip, changes[clip.clip_id])
        if isinstance(planned, str):
            refused[clip.clip_id] = planned
        else:
            jobs[clip.clip_id] = planned
    if not dry_run and jobs:
        found = import_clips(
            workspace, list(jobs.values()), (), labels, ImportOptions(workers=workers), reporter
        )
        failed = {
            old: job.segment.clip_id for old, job in jobs.items() if job.segment.clip_id in found.failed
        }
        refused |= {old: found.failed[new].text for old, new in failed.items()}
        jobs = {old: job for old, job in jobs.items() if old not in failed}
        append_corrections(
            workspace, [row for old, job in jobs.items() for row in _handed_over(old, job, changes[old])]
        )
    made = {old: job.segment.clip_id for old, job in jobs.items()}
    return RecutResult(dict(sorted(made.items())), dict(sorted(refused.items())))


def _plan(workspace: Workspace, clip: Clip, mine: Mapping[str, str]) -> ImportJob | str:
    """Return how a clip is cut again, or why it cannot be."""
    times = _new_times(clip, mine)
    if isinstance(times, str):
        return times
    start_ms, end_ms = times
    if read_removals(workspace).find(clip.video_id, start_ms, end_ms):
        return "what it would show was removed by request"
    media, offset_ms = _kept_source(workspace, clip.video_id), 0
    if media is None:
        if start_ms < clip.start_ms or end_ms > clip.end_ms:
            return "it would show more than the clip, and the source video is not kept (fetch --keep-source)"
        if clip.clip_id not in clips_there(workspace):
            return "its file is gone"
        media, offset_ms = workspace.root / clip.path, clip.start_ms
    label = mine.get(Field.LABEL, clip.label)
    # As large as it was; all clips of a workspace should be.
    form = replace(STANDARD_FORMAT, short_side=min(clip.width, clip.height))
    return ImportJob(
        workspace.root,
        Segment(clip.video_id, start_ms, end_ms, label, clip.official_split, clip.dataset),
        media,
        keep_audio=clip.has_audio,
        rules=ClipRules(form=form),
        stretch_ms=(start_ms - offset_ms, end_ms - offset_ms),
        info=SourceInfo(**{field.name: getattr(clip, field.name) for field in fields(SourceInfo)}),
    )


def _new_times(clip: Clip, mine: Mapping[str, str]) -> tuple[int, int] | str:
    """Return where a clip is to begin and to end in its video, or why that cannot be."""
    times = mine.get(Field.START_MS, str(clip.start_ms)), mine.get(Field.END_MS, str(clip.end_ms))
    # People edit that table by hand, too.
    if strange := next((text for text in times if not (text.isascii() and text.isdigit())), None):
        return f"labels.csv gives it the time {strange!r}: write whole milliseconds"
    start_ms, end_ms = map(int, times)
    if start_ms >= end_ms:
        return f"its start, {start_ms} ms, is not before its end, {end_ms} ms"
    if (start_ms, end_ms) == (clip.start_ms, clip.end_ms):
        return "its times are those that it has"
    return start_ms, end_ms


def _kept_source(workspace: Workspace, video_id: str) -> Path | None:
    return next((path for path in workspace.root.glob("sources/*") if path.stem == video_id), None)


def _handed_over(old: str, job: ImportJob, mine: Mapping[str, str]) -> Sequence[Correction]:
    """Return the rows by which a new clip takes the place of an old one."""
    new = clip_id_of(job.segment.video_id, job.segment.start_ms, job.segment.end_ms)
    kept = [
        Correction(new, field, "", mine[field], BY_COMMAND, why=f"cut from {old}")
        for field in _KEPT
        if field in mine
    ]
    return [*kept, Correction(old, Field.EXCLUDE, "", "yes", BY_COMMAND, why=f"cut again as {new}")]

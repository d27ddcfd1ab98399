"""Import poses that people have, for the clips that they name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from dancecli.core.errors import InputError
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import Clip, ClipPose
from dancecli.core.text import shown
from dancecli.dataset.clip_lookup import ClipLookup
from dancecli.dataset.derived.pose import IMPORTED, job_of, requested_clips, settle_poses
from dancecli.dataset.derived.pose_worker import commit_pose
from dancecli.sources.pose_formats import ForeignPose, RefusedPose, files_of, read_poses
from dancecli.storage.pose_files import COCO, Pose, fault_of
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CAMERA = re.compile(r"_c(\d\d)_")
# A frame more or less comes from rounding; more means another frame rate.
_SAME_LENGTH = 2
# So many times the frames of a clip are those of a recording, not those of a clip of a higher rate.
_CLEARLY_MORE = 1.5
_LARGEST_OUTSIDE = 2.0


@dataclass(frozen=True)
class PoseImport:
    """What an import did.

    Attributes:
        imported: number of clips that got poses, by format.
        without: number of original clips that have no poses after it.
        resampled: clips whose poses came with another number of frames and were spread over the clip.
        refused: what was left out: the file or its entry, and the reason.
    """

    imported: tuple[tuple[str, int], ...]
    without: int
    resampled: int
    refused: tuple[tuple[str, str], ...]


def import_poses(
    workspace: Workspace, source: Path, *, dry_run: bool = False, reporter: Reporter = SILENT
) -> PoseImport:
    """Import the poses of a file or folder; they replace those that a clip has.

    Args:
        workspace: whose clips; entries name them by clip id, source video or file.
        source: a file or a folder of files.
        dry_run: change nothing.
        reporter: told after every file.

    Raises:
        InputError: there is nothing to import at the path.
        WorkspaceError: there are no clips, or another `dance pose` is at work.
    """
    clips = {clip.clip_id: clip for clip in requested_clips(workspace, None)}
    files, step, lookup = files_of(source), job_of(workspace), ClipLookup(clips.values())
    imported: Counter[str] = Counter()
    refused: list[tuple[str, str]] = []
    resampled: set[str] = set()
    made: dict[str, ClipPose] = {}
    with step.exclusively():
        logged = step.log.read()
        try:
            for done, file in enumerate(files, start=1):
                for found in _entries(file, clips, lookup):
                    if isinstance(found, RefusedPose):
                        refused.append((f"{shown(file.name)}: {found.name}", found.reason))
                        continue
                    clip, entry = found
                    pose = fitted(entry, clip)
                    if fault := fault_of(pose):
                        refused.append((f"{shown(file.name)}: {entry.name}", fault))
                        continue
                    imported[entry.kind] += 1
                    if abs(entry.keypoints.shape[1] - clip.num_frames) > _SAME_LENGTH:
                        resampled.add(clip.clip_id)
                    if not dry_run:
                        method = f"{IMPORTED}, {entry.kind}"
                        row = commit_pose(workspace.root, clip, pose, method=method, engine=shown(file.name))
                        made[clip.clip_id] = row
                reporter.progress(done, len(files), f"{sum(imported.values())} imported")
        finally:
            if not dry_run:
                settle_poses(workspace, step.log, logged | made, {}, changed=bool(made))
    known = {key for key, row in (logged | made).items() if not row.reason}
    return PoseImport(
        tuple(sorted(imported.items())), len(clips.keys() - known), len(resampled), tuple(refused)
    )


def _entries(
    file: Path, clips: Mapping[str, Clip], lookup: ClipLookup
) -> Iterator[tuple[Clip, ForeignPose] | RefusedPose]:
    """Yield the poses of a file with the clips that they are of; a broken file is one refusal."""
    try:
        for entry in read_poses(file):
            if isinstance(entry, RefusedPose):
                yield entry
                continue
            named = [clips[clip_id] for clip_id in lookup.find_anywhere(entry.name)]
            mine = [clip for clip in named if not entry.camera or _camera(clip) == entry.camera]
            if not named:
                yield RefusedPose(entry.name, "names no clip of this workspace")
            of_video = Counter(clip.video_id for clip in mine)
            for clip in mine:
                timed = _timed(entry, clip, several=of_video[clip.video_id] > 1)
                yield timed if isinstance(timed, RefusedPose) else (clip, timed)
    except InputError as error:
        yield RefusedPose(shown(file.name), error.message)


def _timed(entry: ForeignPose, clip: Clip, *, several: bool) -> ForeignPose | RefusedPose:
    """Give poses of a whole recording the recording's frame rate, so that a clip gets its own part of them.

    Poses that a file gives under the clip's own id are of that clip, whatever their number.

    Args:
        entry: the poses.
        clip: one that they name.
        several: they name other clips of that recording, too.
    """
    count = entry.keypoints.shape[1]
    if entry.fps or PurePosixPath(entry.name.replace("\\", "/")).stem == clip.clip_id:
        return entry
    if abs(count - clip.num_frames) <= _SAME_LENGTH and not (several and clip.start_ms):
        return entry
    if clip.source_fps and count / clip.source_fps > clip.duration_s + 1:
        return replace(entry, fps=clip.source_fps)
    is_longer = clip.start_ms > 0 and not clip.source_fps and count > _CLEARLY_MORE * clip.num_frames
    if not several and not is_longer:
        return entry
    return RefusedPose(
        entry.name,
        f"its {count} frames are not of {clip.clip_id} alone ({clip.num_frames} frames), and their rate is "
        "not known: give the file fps, or name the poses of each clip by its id",
    )


def _camera(clip: Clip) -> int:
    found = _CAMERA.search(Path(clip.original_path).name)
    return int(found[1]) if found else 0


def fitted(entry: ForeignPose, clip: Clip) -> Pose:
    """Bring foreign poses to a clip's pixels and frames.

    Pixels are of the picture whose size the file states. Where it states none they are the clip's own,
    or of the clip's source if they reach beyond the clip. Poses at a known rate are placed by time,
    others frame by frame, or evenly over the clip where their number is another.
    """
    import numpy as np

    width, height = entry.size or _size_of(entry, clip)
    scale = np.array([clip.width / width, clip.height / height], np.float32)
    count = entry.keypoints.shape[1]
    numbers = _frame_numbers(entry, clip, count)
    # Of several poses in one frame, the first counts.
    inside = np.flatnonzero(numbers < clip.num_frames)
    frames, firsts = np.unique(numbers[inside], return_index=True)
    places = inside[firsts]
    keypoints, scores = entry.keypoints[:, places] * scale, entry.scores[:, places].copy()
    reach = _LARGEST_OUTSIDE * np.array([clip.width, clip.height])
    scores[(np.abs(keypoints) > reach).any(axis=-1)] = 0
    keypoints[scores == 0] = 0
    return Pose(*(COCO, keypoints, scores, frames.astype(np.int32), clip.height, clip.width, clip.num_frames))


def _size_of(entry: ForeignPose, clip: Clip) -> tuple[int, int]:
    """Tell which picture the pixels are of: the clip's, or its source's if they reach beyond the clip."""
    seen = entry.keypoints[entry.scores > 0]
    beyond = seen.size and bool((seen.max(axis=0) > (1.1 * clip.width, 1.1 * clip.height)).any())
    if beyond and clip.source_width and clip.source_height:
        return clip.source_width, clip.source_height
    return clip.width, clip.height


def _frame_numbers(entry: ForeignPose, clip: Clip, count: int) -> NDArray[np.int64]:
    import numpy as np

    numbers = np.arange(count)
    if abs(count - clip.num_frames) <= _SAME_LENGTH:
        return numbers
    if entry.fps:
        # Clips of a longer recording start within it.
        starts_s = clip.start_ms / 1000 if count / entry.fps > clip.duration_s + 1 else 0.0
        seconds = numbers / entry.fps - starts_s
        placed: NDArray[np.int64] = np.rint(seconds * clip.fps_num / clip.fps_den).astype(np.int64)
        placed[placed < 0] = clip.num_frames
        return placed
    spread: NDArray[np.int64] = np.rint(numbers * (clip.num_frames / count)).astype(np.int64)
    return spread

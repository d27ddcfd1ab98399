"""A preview of poses: some frames of a few clips with the skeletons drawn, and one clip."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from dancecli.core.errors import InputError, MediaError
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import Clip
from dancecli.dataset.clips import varied
from dancecli.dataset.derived.pose import PoseSettings, requested_clips
from dancecli.storage.pose_files import Pose, pose_of, read_pose
from dancecli.storage.workspace import Workspace
from dancecli.video.contact_sheet import Cell, write_sheet
from dancecli.video.pose.drawing import drawn_frames, write_drawn_clip
from dancecli.video.pose.estimate import estimator_of
from dancecli.video.pose.weights import find_weights

_NUM_CLIPS, _NUM_FRAMES = 6, 5


@dataclass(frozen=True)
class PosePreview:
    """What was drawn.

    Attributes:
        sheet: the contact sheet: one row per clip.
        clip: a clip with the skeletons drawn on it; None if no clip of the sheet has poses.
        without: clips of the sheet without poses, with the reason.
    """

    sheet: Path
    clip: Path | None
    without: tuple[tuple[str, str], ...]


def preview(workspace: Workspace, settings: PoseSettings, reporter: Reporter = SILENT) -> PosePreview:
    """Draw `pose/preview.png` and `pose/preview.mp4` of clips of different labels.

    Stored poses are drawn where there are some; those of other clips are found, and not stored.

    Raises:
        WorkspaceError: there are no clips, or there is no such split.
        MissingDependencyError: OpenCV or the weights are missing.
    """
    from PIL import Image

    chosen = varied(requested_clips(workspace, settings.split), _NUM_CLIPS)
    folder = workspace.root / "pose"
    folder.mkdir(exist_ok=True)
    rows: list[list[Cell]] = []
    without: dict[str, str] = {}
    drawn_clip: Path | None = None
    for done, clip in enumerate(chosen, start=1):
        source, name = workspace.root / clip.path, f"{clip.label}: {clip.clip_id}"
        try:
            pose = _pose_of(workspace, clip, settings)
            count = len(pose.frame_index)
            places = sorted({(2 * i + 1) * count // (2 * _NUM_FRAMES) for i in range(_NUM_FRAMES)})
            pictures = [Image.fromarray(picture) for picture in drawn_frames(source, pose, places)]
            rows.append([Cell(picture, name if i == 0 else "") for i, picture in enumerate(pictures)])
            if drawn_clip is None:
                drawn_clip = folder / "preview.mp4"
                write_drawn_clip(source, pose, Fraction(clip.fps_num, clip.fps_den), drawn_clip)
        except MediaError as error:
            without[clip.clip_id] = error.message
            rows.append([Cell(source, f"{name} ({error.message})")])
        reporter.progress(done, len(chosen))
    write_sheet(folder / "preview.png", rows)
    return PosePreview(folder / "preview.png", drawn_clip, tuple(without.items()))


def _pose_of(workspace: Workspace, clip: Clip, settings: PoseSettings) -> Pose:
    try:
        return read_pose(pose_of(workspace.root / clip.path))
    except InputError:
        estimator = estimator_of(find_weights(settings.weights))
    fps = Fraction(clip.fps_num, clip.fps_den)
    found = estimator.estimate(workspace.root / clip.path, clip.num_frames, fps, settings.people)
    while True:
        try:
            next(found)
        except StopIteration as end:
            pose: Pose = end.value.pose
            return pose

"""`evaluate --control` of a run on trajectories: points are tracked anew in the changed frames of a clip.

A clip of one picture has no trajectories, so that under `one-frame` and `still` each clip gets the answer
to a clip in which nothing moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import InputError, MediaError, ModelError, WorkspaceError
from dancecli.core.hashing import sha256_file
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import Control, Prediction, Subset
from dancecli.model.dataloading.controls import BY_POSE, only, person_boxes, shuffled, without
from dancecli.model.dataloading.split_data import Example, load_split
from dancecli.model.encoding.clips import TrackedSplit, tracked_split
from dancecli.model.encoding.model_file import PROTOCOL, TrajectoryClassifier
from dancecli.model.encoding.tracking import TracksOf
from dancecli.model.evaluation.controls import ControlledModel, ControlResult, score_controls
from dancecli.model.runs.trajectories import read_model
from dancecli.model.training.scoring import as_predictions
from dancecli.storage.pose_files import Pose, pose_of, read_pose
from dancecli.storage.runs import read_record
from dancecli.storage.trajectory_files import no_descriptors
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Gray = NDArray[np.uint8]

_STILLS = (Control.ONE_FRAME, Control.STILL)


def evaluate_trajectory_controls(
    workspace: Workspace,
    run: str,
    controls: Sequence[Control],
    tracks_of: TracksOf,
    reporter: Reporter = SILENT,
    *,
    dry_run: bool = False,
) -> ControlResult:
    """Score a run's test clips under controls, into `controls/` of the run's folder.

    People are left out of the camera's motion in the clips in which they were when the run was evaluated.

    Args:
        workspace: where the run, its split, the trajectories, and for some controls the poses are.
        run: of `train --model idt` or `bag`.
        controls: at least one.
        tracks_of: opens a clip for tracking.
        reporter: in clips.
        dry_run: only check, and tell what would be evaluated.

    Raises:
        WorkspaceError: there is no such run, or its split or the trajectories have changed.
        ModelError: its model is missing, a control needs poses that some clips have not, or a clip cannot be
            tracked.
    """
    record, found = read_record(workspace, run), read_model(workspace, run)
    tracked = tracked_split(workspace, load_split(workspace, record["split"]["name"]))
    if tracked.digest != record["trajectories"]["trajectories_sha256"]:
        raise WorkspaceError(
            f"the trajectories have changed since run {run} was evaluated on them",
            f"controls are compared with the run's own predictions: evaluate a run of dance train --model "
            f"{found.model.kind} on the trajectories as they are",
        )
    evidence = {
        "checkpoint.sha256": found.sha256,
        "view.protocol": PROTOCOL,
        "trajectories.sha256": tracked.digest,
    }

    def score(control: Control, examples: Sequence[Example]) -> list[Prediction]:
        if control in _STILLS:
            reporter.message(f"{control}: nothing moves in a still, so that all clips get the same answer")
        rows: list[tuple[float, ...]] = []
        for example in examples:
            reporter.progress(len(rows), len(examples), f"{control} · tracking")
            described = _describe(workspace, tracked, found.model, control, example, tracks_of)
            rows.append(found.model.score(described))
        reporter.progress(len(rows), len(examples), f"{control} · tracking")
        return as_predictions(rows, Subset.TEST.value, examples)

    model = ControlledModel(run, tracked.data, evidence, lambda: score)
    return score_controls(workspace, model, record, controls, reporter, dry_run=dry_run)


def _describe(
    workspace: Workspace,
    tracked: TrackedSplit,
    model: TrajectoryClassifier,
    control: Control,
    example: Example,
    tracks_of: TracksOf,
) -> Any:
    """Give the descriptors of a clip under a control, for each kind [n, width]."""
    if control in _STILLS:
        return no_descriptors()
    path = workspace.root / example.path
    try:
        pose = _people(path, tracked.rows[example.clip_id].of_poses)
        video = tracks_of(path, model.method)
        frames = [(start_s * video.rate, picture) for start_s, _, picture in video.frames()]
        pictures, order = controlled_pictures(control, path, frames)
        return video.describe(pictures, pose, order)
    except (InputError, MediaError) as error:
        raise ModelError(error.message, error.hint) from None


def _people(clip: Path, sha256: str) -> Pose | None:
    """Read the poses that a clip was tracked with; None if it was tracked without.

    Raises:
        InputError: they are missing, broken or others now.
    """
    if not sha256:
        return None
    path = pose_of(clip)
    pose = read_pose(path)
    if sha256_file(path) != sha256:
        raise InputError.at(path, None, "has changed since the clip was tracked", "train again: dance train")
    return pose


def controlled_pictures(
    control: Control, clip: Path, frames: Sequence[tuple[float, Gray]]
) -> tuple[list[Gray], list[int]]:
    """Order the pictures of a clip anew, or take the people or the rest out of them.

    Args:
        control: any but those of a single picture.
        clip: the path of its file.
        frames: for each picture its place among the frames of the clip, and the picture [height, width].

    Returns:
        The pictures, and of each its place among those that were given.

    Raises:
        ModelError: the control needs the clip's poses, which are missing or broken.
    """
    import numpy as np

    order = list(range(len(frames)))
    if control is Control.REVERSED:
        order.reverse()
    elif control is Control.SHUFFLED:
        order = shuffled(len(frames), clip.stem)
    pictures = [frames[i][1] for i in order]
    if control not in BY_POSE:
        return pictures, order
    boxes, numbers = person_boxes(clip, pictures[0].shape[:2])
    if control is Control.BACKGROUND:
        whole = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
        return [without(picture, whole) for picture in pictures], order
    nearest = [int(np.abs(numbers - place).argmin()) for place, _ in frames]
    return [only(picture, boxes[i]) for picture, i in zip(pictures, nearest, strict=True)], order

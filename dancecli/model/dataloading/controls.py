"""Controls: views from which the order of the frames, the motion, the dancer or the background is taken away.

The frames are chosen and ordered before they are decoded, and pictures are changed before they are
resized and cropped. Whatever is drawn depends on the clip's name alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import InputError, ModelError
from dancecli.core.hashing import keyed_digest
from dancecli.core.records import Control
from dancecli.model.networks.mmaction import TRANSFORMS
from dancecli.storage.pose_files import nearest_places, pose_of, read_pose

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Boxes = NDArray[np.float64]
    Frame = NDArray[np.uint8]

# Stills of which the scores are averaged under `still`.
STILLS = 4
# Controls that need to know where people are.
BY_POSE = frozenset({Control.BACKGROUND, Control.PERSON})
# Joints end inside a body: a box around them is made wider and higher by this share of its longer side,
# on each side.
_MARGIN = 0.15
_GRAY = 128


def controlled(steps: Sequence[Mapping[str, Any]], control: Control, part: int = 0) -> list[dict[str, Any]]:
    """Convert an evaluation pipeline on frames into the one of a control.

    Args:
        steps: as `pipelines.test_pipeline` gives them.
        control: what is taken away.
        part: which still, of `STILLS`; 0 for every other control.
    """
    found: list[dict[str, Any]] = []
    for step in steps:
        if step["type"] == "ClipDecode" and control not in BY_POSE:
            found.append({"type": "ControlledFrames", "control": control.value, "part": part})
        found.append(dict(step))
        if step["type"] == "ClipDecode" and control in BY_POSE:
            found.append({"type": "ControlledPicture", "control": control.value})
    return found


def parts_of(control: Control) -> int:
    """Give the number of pipelines whose scores are averaged."""
    return STILLS if control is Control.STILL else 1


@TRANSFORMS.register_module(force=True)
class ControlledFrames:
    """Choose or order the frames of each view anew, before they are decoded.

    A view is a run of `clip_len` frames; of a network of single frames, all its frames.

    Args:
        control: `one-frame`: the middle frame of the clip in all places; `still`: one frame of the view
            in all places; `shuffled`: the frames in a random order; `reversed`: from the last to the first.
        part: which frame of the view is the still one, counted in `STILLS` equal parts of it.
    """

    def __init__(self, control: str, part: int = 0) -> None:
        self.control, self.part = Control(control), part

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change `frame_inds`, of any shape; takes `filename`, `total_frames`, `clip_len` and `num_clips`."""
        import numpy as np

        indices = np.asarray(results["frame_inds"])
        length = results["clip_len"] if results["clip_len"] > 1 else indices.size
        views = indices.reshape(-1, length)
        if self.control is Control.ONE_FRAME:
            views = np.full_like(views, results["total_frames"] // 2)
        elif self.control is Control.STILL:
            place = (2 * self.part + 1) * length // (2 * STILLS)
            views = np.repeat(views[:, place : place + 1], length, axis=1)
        elif self.control is Control.REVERSED:
            views = views[:, ::-1]
        else:
            views = views[:, shuffled(length, Path(results["filename"]).stem)]
        results["frame_inds"] = np.ascontiguousarray(views).reshape(indices.shape)
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(control={self.control.value!r}, part={self.part})"


def shuffled(length: int, clip: str) -> list[int]:
    """Give a random order that depends on the clip's name alone."""
    return sorted(range(length), key=lambda i: keyed_digest(f"control/{clip}", str(i)))


@TRANSFORMS.register_module(force=True)
class ControlledPicture:
    """Take the people of a clip, or everything else, out of its pictures, by the boxes of its poses.

    Args:
        control: `background`: the one box that holds the people in all frames of the clip is filled with
            the mirror images of what is beside it; it does not move, as its movement would show the dance.
            `person`: what is outside the people's box of the frame is gray.
    """

    def __init__(self, control: str) -> None:
        self.control = Control(control)

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change `imgs`, frames [height, width, 3] of RGB bytes; takes `filename` and `frame_inds`.

        Raises:
            ModelError: the clip's poses are missing or broken.
        """
        import numpy as np

        frames = results["imgs"]
        boxes, numbers = person_boxes(Path(results["filename"]), frames[0].shape[:2])
        if self.control is Control.BACKGROUND:
            whole = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
            results["imgs"] = [without(frame, whole) for frame in frames]
        else:
            wanted = np.asarray(results["frame_inds"]).reshape(-1)
            nearest = nearest_places(numbers, wanted)
            results["imgs"] = [only(frame, boxes[i]) for frame, i in zip(frames, nearest, strict=True)]
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(control={self.control.value!r})"


def person_boxes(clip: Path, size: tuple[int, int]) -> tuple[Boxes, NDArray[np.int32]]:
    """Give the box around all people of each frame in which some were found.

    Args:
        clip: path of the clip's file.
        size: height and width of the pictures that the boxes are for.

    Returns:
        left, top, right and bottom in pixels, [frame, 4], within the picture; and the frames' numbers.

    Raises:
        ModelError: the clip's poses are missing or broken.
    """
    import numpy as np

    try:
        pose = read_pose(pose_of(clip))
    except InputError as error:
        raise ModelError(error.message, error.hint) from None
    some = pose.found.any(axis=0)
    known = (pose.scores > 0)[:, some, :, None]
    points = pose.keypoints[:, some]
    low = np.where(known, points, np.inf).min(axis=(0, 2))
    high = np.where(known, points, -np.inf).max(axis=(0, 2))
    margin = _MARGIN * (high - low).max(axis=1, keepdims=True)
    scale = np.array([size[1] / pose.width, size[0] / pose.height])
    limit = np.array([size[1], size[0]], dtype=np.float64)
    corners = [np.clip(corner * scale, 0, limit) for corner in (low - margin, high + margin)]
    return np.concatenate(corners, axis=1), pose.frame_index[some]


def without(frame: Frame, box: Boxes) -> Frame:
    """Fill a box of a picture with what is left and right of it, mirrored at its edges.

    The picture is [height, width, 3], or gray, [height, width]. Where the box reaches one edge of the
    picture, the other side fills it; where it reaches both, gray.
    """
    left, top, right, bottom = _pixels(box)
    filled = frame.copy()
    rows, wide = frame[top:bottom], right - left
    inside = filled[top:bottom, left:right]
    if left == 0 and right == frame.shape[1]:
        inside[:] = _GRAY
        return filled
    middle = 0 if left == 0 else wide if right == frame.shape[1] else wide // 2
    if middle:
        inside[:, :middle] = _mirrored(rows[:, :left], middle)
    if middle < wide:
        inside[:, middle:] = _mirrored(rows[:, : right - 1 : -1], wide - middle)[:, ::-1]
    return filled


def _mirrored(side: Frame, wide: int) -> Frame:
    """Continue a picture to the right by its mirror images, so many columns."""
    import numpy as np

    columns = np.arange(wide) % (2 * side.shape[1])
    from_edge = np.where(columns < side.shape[1], columns, 2 * side.shape[1] - 1 - columns)
    return side[:, side.shape[1] - 1 - from_edge]


def only(frame: Frame, box: Boxes) -> Frame:
    """Make a picture, [height, width, 3] or [height, width], gray outside a box."""
    import numpy as np

    left, top, right, bottom = _pixels(box)
    kept = np.full_like(frame, _GRAY)
    kept[top:bottom, left:right] = frame[top:bottom, left:right]
    return kept


def _pixels(box: Boxes) -> tuple[int, int, int, int]:
    import numpy as np

    left, top = (int(v) for v in np.floor(box[:2]))
    right, bottom = (int(v) for v in np.ceil(box[2:]))
    return left, top, right, bottom

"""Skeletons drawn on the frames of a clip: pictures for a contact sheet, and a clip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import MediaError
from dancecli.core.video_files import upright
from dancecli.storage.pose_files import BONES, COCO, Pose, to_coco
from dancecli.video.source import open_media, picture_stream

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

# Left, right and middle of the main dancer's body; others are drawn in one color.
_COLORS = {"left": (255, 149, 0), "right": (0, 174, 255), "middle": (255, 255, 255)}
_OTHER = (214, 92, 255)
# A joint with a lower score is a guess, and is not drawn.
DRAWN_SCORE = 0.3


def draw_skeletons(picture: Picture, pose: Pose, place: int) -> Picture:
    """Return an RGB picture with the skeletons of a frame drawn on it.

    Args:
        picture: the frame.
        pose: the clip's poses.
        place: which of the poses' frames.
    """
    import cv2

    drawn: Picture = picture.copy()
    coco = to_coco(pose)
    width = max(1, round(min(picture.shape[:2]) / 130))
    for person in reversed(range(coco.num_people)):
        points, scores = coco.keypoints[person, place], coco.scores[person, place]
        seen = {
            name: (round(float(x)), round(float(y)))
            for name, (x, y), score in zip(COCO, points, scores, strict=True)
            if score >= DRAWN_SCORE
        }
        for one, two in BONES:
            if one in seen and two in seen:
                color = _COLORS[side_of(one, two)] if person == 0 else _OTHER
                cv2.line(drawn, seen[one], seen[two], (0, 0, 0), width + 2, cv2.LINE_AA)
                cv2.line(drawn, seen[one], seen[two], color, width, cv2.LINE_AA)
        for point in seen.values():
            cv2.circle(drawn, point, width + 1, (0, 0, 0), -1, cv2.LINE_AA)
            cv2.circle(drawn, point, width, _COLORS["middle"], -1, cv2.LINE_AA)
    return drawn


def drawn_frames(clip: Path, pose: Pose, places: Sequence[int]) -> Iterator[Picture]:
    """Decode some of a clip's frames and draw their skeletons.

    Args:
        clip: the clip.
        pose: its poses.
        places: which of the poses' frames, ascending.

    Raises:
        MediaError: the clip does not decode.
    """
    wanted = {int(pose.frame_index[place]): place for place in places}
    with open_media(clip, "does not decode") as container:
        stream = picture_stream(container, clip.name)
        for number, frame in enumerate(container.decode(stream)):
            if number in wanted:
                picture: Any = upright(frame.to_ndarray(format="rgb24"), frame)
                yield draw_skeletons(picture, pose, wanted.pop(number))
            if not wanted:
                break


def write_drawn_clip(clip: Path, pose: Pose, fps: Fraction, target: Path) -> None:
    """Write a clip with the skeletons drawn on it, H.264 without sound.

    Raises:
        MediaError: the clip does not decode, or cannot be written.
    """
    import av

    step = int(pose.frame_index[1] - pose.frame_index[0]) if len(pose.frame_index) > 1 else 1
    try:
        with av.open(str(target), "w") as container:
            stream: Any = None
            for picture in drawn_frames(clip, pose, range(len(pose.frame_index))):
                # H.264 wants even sides.
                height, width = (side // 2 * 2 for side in picture.shape[:2])
                if stream is None:
                    stream = container.add_stream("libx264", rate=fps / step, options={"crf": "20"})
                    stream.height, stream.width = height, width
                    stream.pix_fmt = "yuv420p"
                even: Any = picture[:height, :width]
                container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
            if stream is not None:
                container.mux(stream.encode(None))
    except av.FFmpegError as error:
        raise MediaError(f"{target.name} cannot be written ({error})") from None


def side_of(one: str, two: str) -> str:
    """Return the side of the body that a bone between two joints is on: `left`, `right` or `middle`."""
    for side in ("left", "right"):
        if one.startswith(side) and two.startswith(side):
            return side
    return "middle"

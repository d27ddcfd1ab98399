"""What is drawn over a clip that plays: the skeletons of its stored poses, and optical flow as color."""

from __future__ import annotations

import io
from fractions import Fraction
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import MediaError, WorkspaceError
from dancecli.core.flow_format import FPS, MARK, SHORT_SIDE, FlowMethod, plane_of, to_field
from dancecli.core.records import ClipPose, Flow
from dancecli.core.video_files import upright
from dancecli.storage import tables
from dancecli.storage.files import NO_FILE, file_state
from dancecli.storage.pose_files import BONES, COCO, read_pose, to_coco
from dancecli.storage.workspace import Workspace
from dancecli.video.optical_flow import estimator
from dancecli.video.pose.drawing import DRAWN_SCORE, side_of
from dancecli.video.source import open_media, picture_stream

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Field = NDArray[np.float32]

# Coordinates are sent as whole tenths of a pixel.
_TENTHS = 10
# A movement of so many pixels a frame, of a picture whose short side is 256, is drawn in full color.
_FULL_PX = 8.0
_OPACITY = 0.85


def pose_overlay(workspace: Workspace, clip_id: str, sha256: str) -> dict[str, Any]:
    """Give the stored poses of a clip, as JSON to draw.

    Args:
        workspace: where they are stored.
        clip_id: the clip.
        sha256: of the clip's file; poses of an earlier file are refused.

    Returns:
        `width` and `height` of the picture that they are in; `frames`, the clip's frames that have poses;
        `bones` as `[joint, joint, side]`; `people`, the main dancer first, each with one list per frame: x
        and y of COCO's 17 joints in tenths of a pixel, null for a joint that was not seen.

    Raises:
        WorkspaceError: there are none of this file.
        InputError: their file is damaged.
    """
    import numpy as np

    row = _stored(workspace.poses, ClipPose, clip_id)
    if row is None:
        raise WorkspaceError(f"no poses are stored of {clip_id}", "run dance pose")
    if row["reason"]:
        raise WorkspaceError(f"{clip_id} has no poses: {row['reason']}")
    if row["of_sha256"] != sha256:
        raise WorkspaceError(f"the poses of {clip_id} are of an earlier file", "run dance pose")
    pose = to_coco(read_pose(workspace.root / row["path"]))
    points = np.rint(pose.keypoints * _TENTHS).astype(int)
    seen = pose.scores >= DRAWN_SCORE
    people = [
        [
            [None if not ok else xy for ok, xy in zip(seen[i, j], points[i, j].tolist(), strict=True)]
            for j in range(len(pose.frame_index))
        ]
        for i in range(pose.num_people)
    ]
    return {
        "width": pose.width,
        "height": pose.height,
        "frames": pose.frame_index.tolist(),
        "bones": [[COCO.index(one), COCO.index(two), side_of(one, two)] for one, two in BONES],
        "people": people,
    }


def flow_overlay(workspace: Workspace, clip: Path, clip_id: str, sha256: str, frame: int) -> bytes:
    """Draw the optical flow from a frame of a clip to the next one, as a PNG with transparency.

    Stored flow (`dance flow`) is used where there is some of this file; else DIS flow of the two frames is
    computed. The hue is the direction, the opacity the distance: full at 8 pixels a frame of a picture whose
    short side is 256 pixels.

    Args:
        workspace: where flow may be stored.
        clip: the clip's file.
        clip_id: its id.
        sha256: of its file.
        frame: number of the frame, from 0; of the last frame the flow that leads to it.

    Raises:
        MediaError: the clip does not decode, or has one frame only.
        MissingDependencyError: there is no OpenCV.
    """
    row = _stored(workspace.flows, Flow, clip_id)
    field = None
    if row is not None and row["of_sha256"] == sha256:
        field = _stored_field(workspace.root / row["path"], clip, frame)
    if field is None:
        one, two = _frame_pair(clip, frame)
        field = estimator(FlowMethod.DIS)(one, two)
    return _drawn(field)


def _stored(path: Path, record: Any, clip_id: str) -> dict[str, Any] | None:
    """Return a clip's row of a manifest; None if there is none."""
    import pyarrow.compute as pc

    state = file_state(path)
    if state == NO_FILE:
        return None
    table = _manifest(path, record, state)
    rows = table.filter(pc.equal(table.column("clip_id"), clip_id)).to_pylist()
    return dict(rows[0]) if rows else None


@lru_cache(maxsize=2)
def _manifest(path: Path, record: Any, _: tuple[int, int]) -> pa.Table:
    """Read a manifest, once for each state of its file: a clip that plays asks for every frame."""
    return tables.read_table(path, record)


def _frame_pair(clip: Path, frame: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Decode a frame and the next one as gray pictures, or the last two."""
    with open_media(clip, "does not decode") as container:
        stream = picture_stream(container, clip.name)
        stream.codec_context.thread_count = 1
        rate = Fraction(stream.average_rate or FPS)
        start = stream.start_time or 0
        number_of = partial(_number_of, start=start, per_second=rate * Fraction(stream.time_base or 1))
        # Half a frame early, so that rounding never skips the frame itself.
        container.seek(start + int((frame - 0.5) / rate / Fraction(stream.time_base or 1)), stream=stream)
        kept: list[NDArray[np.uint8]] = []
        for picture in container.decode(stream):
            # The last two: at the end of a clip those that lead to it.
            kept = [*kept[-1:], _gray(picture)]
            if number_of(picture.pts or 0) > frame and len(kept) == 2:
                break
    if len(kept) < 2:
        raise MediaError(f"{clip.name} has no two frames there")
    return kept[0], kept[1]


def _number_of(pts: int, *, start: int, per_second: Fraction) -> int:
    return round((pts - start) * per_second)


def _gray(frame: Any) -> NDArray[np.uint8]:
    picture: NDArray[np.uint8] = frame.to_ndarray(format="gray")
    return upright(picture, frame)


def _stored_field(path: Path, clip: Path, frame: int) -> Field | None:
    """Read the stored field that is nearest in time; None if the file cannot be used."""
    import av

    with open_media(clip, "does not decode") as container:
        rate = Fraction(picture_stream(container, clip.name).average_rate or FPS)
    try:
        with av.open(str(path)) as container:
            if not container.metadata.get("comment", "").startswith(MARK):
                return None
            stream = container.streams.video[0]
            place = min(int(frame * FPS / rate), stream.frames - 1)
            # Every field is a key frame.
            container.seek(int(place / FPS / Fraction(stream.time_base or 1)) + 1, stream=stream)
            field = to_field(plane_of(next(container.decode(stream))))
    except (av.FFmpegError, StopIteration, OSError):
        return None
    # Of 25 a second, where the clip may have more frames or fewer.
    scaled: Field = field * float(FPS / rate)
    return scaled


def _drawn(field: Field) -> bytes:
    import cv2
    import numpy as np
    from PIL import Image

    distance = np.hypot(field[..., 0], field[..., 1])
    share = np.minimum(distance * (SHORT_SIDE / min(distance.shape)) / _FULL_PX, 1.0)
    # OpenCV counts hues of 8-bit pictures from 0 to 179.
    hue = np.degrees(np.arctan2(field[..., 1], field[..., 0])) % 360 / 2
    full = np.full_like(hue, 255)
    colors = cv2.cvtColor(np.stack([hue, full, full], axis=-1).astype(np.uint8), cv2.COLOR_HSV2RGB)
    opacity = (255 * _OPACITY * np.sqrt(share)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(np.dstack([colors, opacity]), "RGBA").save(file, "PNG", compress_level=1)
    return file.getvalue()

"""A clip's movement as a vector of fixed length: statistics of the main dancer's joints over time. Pure.

Two clips have near vectors if the bodies in them move alike, wherever in the picture, however large, at
whatever time of the clip, and whether mirrored or not:

* joints are taken from the middle of the hips and divided by the length of the torso (its median over the
  clip), so place, size and a moving camera do not count; how the hips travel is measured by itself;
* eight angles (elbows, shoulders, hips, knees) and the places of wrists, elbows, knees and ankles are
  series over time, resampled to 15 a second. Of each series the mean, the spread, the mean speed and the
  shares of its power in octaves from 0.25 to 4 Hz are kept, which do not tell at which beat the clip begins;
* of left and right the sum and the absolute difference are kept, and of what points to the side of the
  picture the absolute value: both are the same in a mirror.

Means and spreads of joint angles and of their speeds are the usual summary of motion capture by style
(Aristidou et al., "Folk dance evaluation using Laban movement analysis", JOCCH 8(4), 2015, uses such
statistics over windows); the octaves stand for its rhythm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dancecli.storage.pose_files import COCO, Pose, to_coco, torso_px

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

# Names what the numbers depend on beside the poses: raise it when they change.
VERSION = "movement-1"
_RATE = 15.0
# A joint with a lower score is a guess.
_SEEN_SCORE = 0.3
# Fewer poses than this are no movement.
_FEWEST = 8
_OCTAVES_HZ = (0.25, 0.5, 1.0, 2.0, 4.0)
_LIMBS = ("elbow", "wrist", "knee", "ankle")
# The joint at which an angle is, and the two that it is between.
_ANGLES = (
    ("elbow", "shoulder", "wrist"),
    ("shoulder", "hip", "elbow"),
    ("hip", "shoulder", "knee"),
    ("knee", "hip", "ankle"),
)


def movement_vector(pose: Pose, fps: float) -> Floats | None:
    """Describe the movement of the main dancer.

    Args:
        pose: of a clip.
        fps: frame rate of the clip.

    Returns:
        Of a fixed length, not yet scaled; None if there are fewer than eight poses of the dancer.
    """
    import numpy as np

    coco = to_coco(pose)
    points, seen = coco.keypoints[0].astype(np.float64), coco.scores[0] >= _SEEN_SCORE
    if np.count_nonzero(seen.any(axis=1)) < _FEWEST:
        return None
    seconds = coco.frame_index / fps
    times = np.arange(seconds[0], seconds[-1] + 1e-9, 1 / _RATE)
    if len(times) < _FEWEST:
        return None
    places = _resampled(points, seen, seconds, times)
    torso = max(float(np.median(torso_px(places.astype(np.float32), COCO))), 1e-6)
    hips = places[:, [_at("left_hip"), _at("right_hip")]].mean(axis=1)
    body = (places - hips[:, None]) / torso
    travel = (hips - np.median(hips, axis=0)) / torso
    sides = [_side_series(body, side) for side in ("left", "right")]
    left, right = (np.concatenate([_statistics(one) for one in series]) for series in sides)
    middle = np.concatenate([_statistics(one) for one in _middle_series(body, travel)])
    return np.concatenate([left + right, np.abs(left - right), middle, _together(body)])


def _at(name: str) -> int:
    return COCO.index(name)


def _resampled(points: Floats, seen: npt.NDArray[np.bool_], seconds: Floats, times: Floats) -> Floats:
    """Place each joint at evenly spaced times; where it was not seen, between the times when it was."""
    import numpy as np

    found = np.zeros((len(times), len(COCO), 2))
    for joint in range(len(COCO)):
        known = seen[:, joint]
        # A joint that is never seen has no movement.
        known = known if known.any() else np.ones_like(known)
        for axis in range(2):
            found[:, joint, axis] = np.interp(times, seconds[known], points[known, joint, axis])
    return found


def _side_series(body: Floats, side: str) -> list[Floats]:
    """Give the series of one side of the body: angles, heights, reach, and distance from the middle."""
    import numpy as np

    series = []
    for joint, one, two in _ANGLES:
        at, to_one, to_two = (body[:, _at(f"{side}_{name}")] for name in (joint, one, two))
        first, second = to_one - at, to_two - at
        # Without the sign, which a mirror would turn.
        turn = np.arctan2(
            np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]), (first * second).sum(axis=1)
        )
        series.append(turn)
    for limb in _LIMBS:
        place = body[:, _at(f"{side}_{limb}")]
        series += [place[:, 1], np.linalg.norm(place, axis=1), np.abs(place[:, 0])]
    return series


def _middle_series(body: Floats, travel: Floats) -> list[Floats]:
    """Give the series of the whole: tilt, turn, how the limbs spread, and how the hips travel."""
    import numpy as np

    neck = body[:, [_at("left_shoulder"), _at("right_shoulder")]].mean(axis=1)

    def apart(name: str) -> Floats:
        found: Floats = np.linalg.norm(body[:, _at(f"left_{name}")] - body[:, _at(f"right_{name}")], axis=1)
        return found

    return [
        np.abs(neck[:, 0]),
        neck[:, 1],
        *(apart(name) for name in ("shoulder", "hip", "wrist", "ankle", "knee")),
        travel[:, 1],
        np.abs(travel[:, 0]),
    ]


def _statistics(series: Floats) -> Floats:
    """Summarize a series: mean, spread, mean speed, and the shares of its power by octave."""
    import numpy as np

    spread, speed = series.std(), np.abs(np.diff(series)).mean() * _RATE
    window = np.hanning(len(series))
    power = np.abs(np.fft.rfft((series - series.mean()) * window)) ** 2
    hertz = np.fft.rfftfreq(len(series), 1 / _RATE)
    octave = np.digitize(hertz, _OCTAVES_HZ)
    bands = np.array([power[octave == i].sum() for i in range(1, len(_OCTAVES_HZ))])
    # What hardly moves has no rhythm to speak of.
    shares = bands / (power.sum() + 1e-3 * len(series))
    return np.array([series.mean(), spread, speed, *np.sqrt(shares)])


def _together(body: Floats) -> Floats:
    """Tell which limbs move together: correlations of the heights of wrists and ankles."""
    import numpy as np

    names = ("left_wrist", "right_wrist", "left_ankle", "right_ankle")
    heights = body[:, [_at(name) for name in names], 1]
    spread = heights.std(axis=0)
    centered = heights - heights.mean(axis=0)
    products: Any = centered.T @ centered / len(heights)
    same = products / (np.outer(spread, spread) + 1e-3)
    # Arms, legs, one side of the body, and crosswise.
    return np.array([same[0, 1], same[2, 3], same[0, 2] + same[1, 3], same[0, 3] + same[1, 2]])
